//! Bases in and out: one id whatever the files, and what damaged files get.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use potluck_protocol::safetensors::Layout;
use potluck_protocol::tensor::DType;
use proptest::prelude::*;

use super::gguf::sample;
use super::write::FolderWriter;
use super::*;
use crate::base::sink::{TensorSink, entries};
use crate::tensor::HostTensor;

fn write_folder(path: &Path, files: &[(&str, &BTreeMap<String, HostTensor>)]) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("config.json"), small::config()).unwrap();
    fs::write(path.join("tokenizer.json"), small::TOKENIZER).unwrap();
    for (name, tensors) in files {
        fs::write(path.join(name), small::safetensors(tensors)).unwrap();
    }
}

/// Deals the tensors to `count` files in turn.
fn deal(count: usize) -> Vec<BTreeMap<String, HostTensor>> {
    let mut dealt = vec![BTreeMap::new(); count];
    for (index, (name, tensor)) in small::tensors().into_iter().enumerate() {
        dealt[index % count].insert(name, tensor);
    }
    dealt
}

#[test]
fn the_same_weights_from_one_file_and_from_three_have_one_id() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let dealt = deal(3);
    let names = ["model-1.safetensors", "model-2.safetensors", "model-3.safetensors"];
    let files: Vec<_> = names.into_iter().zip(&dealt).collect();
    write_folder(&at("one"), &[("model.safetensors", &small::tensors())]);
    write_folder(&at("three"), &files);
    write_folder(&at("indexed"), &files);
    let map: BTreeMap<_, _> =
        files.iter().flat_map(|(file, tensors)| tensors.keys().map(move |name| (name, file))).collect();
    fs::write(at("indexed").join("model.safetensors.index.json"), serde_json::json!({"weight_map": map}).to_string())
        .unwrap();
    // What is not in the index is not looked at.
    fs::write(at("indexed").join("other.safetensors"), b"rubbish").unwrap();

    let ids: Vec<_> = ["one", "three", "indexed"].map(|name| Base::open(&at(name)).unwrap().id().unwrap()).into();
    assert_eq!(ids, [small::base().id().unwrap(); 3]);
}

#[test]
fn one_changed_bit_is_another_base() {
    let mut tensors = small::tensors();
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut bytes = tensors[name].bytes().to_vec();
    bytes[5] ^= 1;
    let len = bytes.len();
    tensors.insert(name.to_owned(), HostTensor::new(DType::F32, vec![12, 8], Arc::new(bytes), 0..len).unwrap());
    let changed = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap();
    assert_ne!(changed.id().unwrap(), small::base().id().unwrap());
}

#[test]
fn a_tied_output_may_be_stored_but_not_differ() {
    let with = |name: &str, tensor: HostTensor| {
        let mut tensors = small::tensors();
        tensors.insert(name.to_owned(), tensor);
        Base::from_tensors(small::architecture(), small::tokenizer(), tensors)
    };
    let embedding = small::tensors()["model.embed_tokens.weight"].clone();
    let tied = with("lm_head.weight", embedding).unwrap();
    assert_eq!(tied.id().unwrap(), small::base().id().unwrap());
    let other = HostTensor::from_f32(vec![6, 8], &[0.5; 48]).unwrap();
    assert!(matches!(with("lm_head.weight", other), Err(BaseError::Inventory { error: InventoryError::NotTied, .. })));
    let buffer = HostTensor::from_f32(vec![1], &[1.0]).unwrap();
    let buffered = with("model.layers.0.self_attn.rotary_emb.inv_freq", buffer).unwrap();
    assert_eq!(buffered.id().unwrap(), small::base().id().unwrap());
}

#[test]
fn wrong_tensors_are_named() {
    let check = |change: &dyn Fn(&mut BTreeMap<String, HostTensor>), expected: &str| {
        let mut tensors = small::tensors();
        change(&mut tensors);
        let error = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let f64 = || HostTensor::new(DType::F64, vec![8], Arc::new(vec![0; 64]), 0..64).unwrap();
    let long = || HostTensor::from_f32(vec![9], &[0.0; 9]).unwrap();
    check(&|tensors| drop(tensors.remove("model.norm.weight")), "`model.norm.weight` is missing");
    check(&|tensors| drop(tensors.insert("model.extra.weight".to_owned(), long())), "does not belong");
    check(&|tensors| drop(tensors.insert("model.norm.weight".to_owned(), long())), "shape [9], the config says [8]");
    check(&|tensors| drop(tensors.insert("model.norm.weight".to_owned(), f64())), "F64");
}

#[test]
fn a_tensor_in_two_files_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let all = small::tensors();
    write_folder(root.path(), &[("a.safetensors", &all), ("b.safetensors", &deal(2)[0])]);
    let error = Base::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("b.safetensors") && error.contains("there twice"), "{error}");
}

#[test]
fn nan_and_infinity_are_found_when_asked_for() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut tensors = small::tensors();
        let mut values = small::values(1, 64);
        values[9] = wrong;
        tensors.insert(
            "model.layers.0.self_attn.q_proj.weight".to_owned(),
            HostTensor::from_f32(vec![8, 8], &values).unwrap(),
        );
        let base = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap();
        let error = base.check_finite().unwrap_err().to_string();
        assert!(error.contains("q_proj") && error.contains("row 1"), "{error}");
    }
    small::base().check_finite().unwrap();
}

#[test]
fn a_written_folder_is_the_same_base() {
    let root = tempfile::tempdir().unwrap();
    let (base, path) = (small::base(), root.path().join("out"));
    let mut writer = FolderWriter::create(&path, base.architecture(), base.tokenizer(), Some(64), DType::F32).unwrap();
    for entry in entries(base.architecture(), DType::F32) {
        writer.begin(&entry).unwrap();
        writer.rows(base.tensor(&entry.name).unwrap().bytes()).unwrap();
    }
    assert!(!path.exists(), "nothing under the final name before the end");
    writer.finish().unwrap();
    assert_eq!(Base::open(&path).unwrap().id().unwrap(), base.id().unwrap());
}

#[test]
fn a_folder_without_weights_says_so() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(Base::open(root.path()), Err(BaseError::NotABase { .. })));
    assert!(matches!(Base::open(&root.path().join("none.gguf")), Err(BaseError::NotABase { .. })));
    write_folder(root.path(), &[]);
    fs::write(root.path().join("pytorch_model.bin"), b"\x80\x02").unwrap();
    let error = Base::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("pickle"), "{error}");
}

#[test]
fn truncated_and_oversized_safetensors_are_refused() {
    let file = small::safetensors(&small::tensors());
    let open =
        |bytes: Vec<u8>| Base::from_memory(small::config().as_bytes(), Arc::new(bytes), small::TOKENIZER.as_bytes());
    open(file.clone()).unwrap();
    for len in (0..file.len()).step_by(7) {
        assert!(matches!(open(file[..len].to_vec()), Err(BaseError::Layout { .. })), "{len}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(open(longer), Err(BaseError::Layout { .. })));
    let mut huge = file;
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(open(huge).unwrap_err().to_string().contains("at most"));
}

#[test]
fn wrongly_typed_safetensors_and_json_are_refused() {
    let file = small::safetensors(&small::tensors());
    let text = String::from_utf8_lossy(&file[8..]).into_owned();
    let header = &text[..text.find("]}}").unwrap() + 3];
    let wrong = |from: &str, to: &str| {
        let header = header.replacen(from, to, 1);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + file.len(), 0);
        Base::from_memory(small::config().as_bytes(), Arc::new(bytes), small::TOKENIZER.as_bytes())
    };
    for (from, to) in [("F32", "I8"), ("[8]", "8"), ("[8]", "[-8]"), ("\"dtype\"", "\"type\""), ("{", "[")] {
        assert!(matches!(wrong(from, to), Err(BaseError::Layout { .. })), "{to}");
    }
    let model: Bytes = Arc::new(file);
    for config in ["", "{", "[]", "{\"model_type\": 1}", "{\"a\":1,\"a\":1}"] {
        assert!(Base::from_memory(config.as_bytes(), model.clone(), small::TOKENIZER.as_bytes()).is_err());
    }
    let large = vec![b' '; JSON_MAX + 1];
    let error = Base::from_memory(&large, model, small::TOKENIZER.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("at most"), "{error}");
}

#[test]
fn a_small_gguf_opens_in_hugging_face_layout() {
    let file = sample::llama();
    let base = Base::from_gguf("sample.gguf", Arc::new(file)).unwrap();
    base.check_finite().unwrap();
    let query = base.tensor("model.layers.0.self_attn.q_proj.weight").unwrap();
    assert_eq!((query.dtype, query.shape.as_slice()), (DType::Q8_0, &[32, 32][..]));
    assert!(base.tensor("lm_head.weight").is_err());
    let error = Base::from_gguf("x.gguf", Arc::new(b"GGUF".to_vec())).unwrap_err().to_string();
    assert!(error.starts_with("x.gguf: "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// One bit anywhere: refused, or another base, or the same if it is no part of the weights; never a panic.
    #[test]
    fn a_bit_flipped_base_is_refused_or_another(at in any::<prop::sample::Index>(), bit in 0u8..8, gguf in any::<bool>()) {
        let open = |bytes: Vec<u8>| if gguf {
            Base::from_gguf("sample.gguf", Arc::new(bytes))
        } else {
            Base::from_memory(small::config().as_bytes(), Arc::new(bytes), small::TOKENIZER.as_bytes())
        };
        let whole = if gguf { sample::llama() } else { small::safetensors(&small::tensors()) };
        let (mut flipped, at) = (whole.clone(), at.index(whole.len()));
        flipped[at] ^= 1 << bit;
        if let Ok(base) = open(flipped) {
            let _ = base.check_finite();
            // Free metadata and padding are no part of the weights; in safetensors all data is.
            let data = !gguf && at >= Layout::header_len(&whole, whole.len()).unwrap();
            let same = base.id().unwrap() == open(whole).unwrap().id().unwrap();
            prop_assert!(!same || !data, "changed weights kept their id");
        }
    }
}
