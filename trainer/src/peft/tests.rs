//! Adapters in and out.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use potluck_protocol::tensor::DType;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::small;
use crate::lora::adapter::{Adapter, AdapterTensor, Factor};
use crate::lora::config::{LoraConfig, Targets};
use crate::lora::factors::{Factors, FactorsError};
use crate::tensor::HostTensor;

const QUERY: &str = "model.layers.0.self_attn.q_proj";
const UP: &str = "model.layers.1.mlp.up_proj";

fn adapter(modules: &[(&str, usize, usize)], r: usize, lora_alpha: f32) -> Adapter {
    let mut tensors = BTreeMap::new();
    for (index, &(module, out, inner)) in modules.iter().enumerate() {
        for (factor, shape) in [(Factor::A, [r, inner]), (Factor::B, [out, r])] {
            let values = small::values(index as u64 * 2 + shape[0] as u64, shape[0] * shape[1]);
            tensors.insert(factor.peft_name(module), AdapterTensor { shape, values });
        }
    }
    let names = modules.iter().map(|(module, ..)| (*module).to_owned()).collect();
    Adapter { config: LoraConfig::new(r, lora_alpha, Targets::Names(names)), tensors }
}

fn two() -> Adapter {
    adapter(&[(QUERY, 8, 8), (UP, 12, 8)], 2, 4.0)
}

fn files() -> Files {
    encode(&two(), &small::architecture()).unwrap()
}

fn model(tensors: &BTreeMap<String, HostTensor>) -> Vec<u8> {
    small::safetensors(tensors)
}

fn host(tensors: &Adapter) -> BTreeMap<String, HostTensor> {
    let turn = |(name, tensor): (&String, &AdapterTensor)| {
        (name.clone(), HostTensor::from_f32(tensor.shape.to_vec(), &tensor.values).unwrap())
    };
    tensors.tensors.iter().map(turn).collect()
}

/// Module by module from the file, or else the reason.
fn stored(config: &[u8], model: &[u8]) -> Result<BTreeMap<String, AdapterTensor>, String> {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(CONFIG_FILE), config).unwrap();
    fs::write(root.path().join(MODEL_FILE), model).unwrap();
    let stored = Stored::open(root.path(), &small::architecture()).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for module in stored.modules() {
        let pair = stored.pair(module).map_err(|error| error.to_string())?.unwrap();
        assert_eq!((Some(pair.shape), pair.shape.scale), (stored.shape(module), 1.0));
        let (rank, inner, out) = (stored.rank(), pair.shape.inner, pair.shape.out);
        tensors
            .insert(Factor::A.peft_name(module), AdapterTensor { shape: [rank, inner], values: pair.a.into_owned() });
        tensors.insert(Factor::B.peft_name(module), AdapterTensor { shape: [out, rank], values: pair.b.into_owned() });
    }
    Ok(tensors)
}

/// A file that comes in pieces of that many bytes.
fn inspect(config: &[u8], model: &[u8], piece: usize) -> Result<Inspected, PeftError> {
    let architecture = small::architecture();
    let mut inspection = Inspection::new(config, Some(&architecture), model.len());
    model.chunks(piece).try_for_each(|piece| inspection.feed(piece))?;
    inspection.finish()
}

fn bits(tensors: &BTreeMap<String, AdapterTensor>) -> Vec<(&str, [usize; 2], Vec<u32>)> {
    let bits = |tensor: &AdapterTensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape, bits(tensor))).collect()
}

fn config(change: Value) -> Vec<u8> {
    let mut config = json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none"});
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    config.to_string().into_bytes()
}

#[test]
fn what_is_written_is_read_with_its_scale_in_b() {
    let files = files();
    let read = check(&files.config, &files.model, &small::architecture()).unwrap();
    assert_eq!((read.config.r, read.config.lora_alpha), (2, 2.0));
    let before = two();
    for module in [QUERY, UP] {
        assert_eq!(read.factor(module, Factor::A), before.factor(module, Factor::A));
        let doubled: Vec<f32> = before.factor(module, Factor::B).unwrap().values.iter().map(|v| v * 2.0).collect();
        assert_eq!(read.factor(module, Factor::B).unwrap().values, doubled);
    }
    assert_eq!(encode(&read, &small::architecture()).unwrap(), files, "the portable profile is a fixed point");
}

/// What PEFT is given is a function of what a manifest states, and so nobody's own to write.
#[test]
fn the_settings_of_a_published_adapter_follow_from_rank_modules_and_base() {
    let names = target_modules(&[QUERY.to_owned(), UP.to_owned()].into(), &small::architecture()).names();
    assert_eq!(portable_settings(2, &names, None), files().config);
    let base = potluck_protocol::id::BaseId(potluck_protocol::id::Digest::of(b"base"));
    let of_base: Value = serde_json::from_slice(&portable_settings(2, &names, Some(&base))).unwrap();
    assert_eq!(of_base["base_model_name_or_path"], json!(format!("base/{}", &base.to_string()[..40])));
    let mut of_none = of_base;
    of_none["base_model_name_or_path"] = Value::Null;
    assert_eq!(format!("{of_none:#}\n").into_bytes(), files().config);
}

#[test]
fn target_modules_are_short_where_every_layer_has_them() {
    let text = |modules: &[(&str, usize, usize)]| {
        let files = encode(&adapter(modules, 1, 1.0), &small::architecture()).unwrap();
        serde_json::from_slice::<Value>(&files.config).unwrap()["target_modules"].clone()
    };
    let both = [(QUERY, 8, 8), ("model.layers.1.self_attn.q_proj", 8, 8)];
    assert_eq!(text(&both), json!(["q_proj"]));
    assert_eq!(text(&[(UP, 12, 8)]), json!([UP]));
}

#[test]
fn ranks_and_scales_of_patterns_become_one_rank_and_no_scale() {
    let mut mixed = adapter(&[(QUERY, 8, 8)], 4, 4.0);
    mixed.tensors.extend(adapter(&[(UP, 12, 8)], 2, 2.0).tensors);
    let settings = config(json!({"r": 4, "lora_alpha": 8, "use_rslora": true, "rank_pattern": {"up_proj": 2},
        "alpha_pattern": {"up_proj": 3}}));
    let read = check(&settings, &model(&host(&mixed)), &small::architecture()).unwrap();
    assert_eq!((read.config.r, read.config.lora_alpha), (4, 4.0));
    for (module, rank, scale) in [(QUERY, 4, 4.0), (UP, 2, 3.0 / 2f64.sqrt())] {
        let dense = |adapter: &Adapter, rank: usize, scale: f64| {
            let (a, b) = (adapter.factor(module, Factor::A).unwrap(), adapter.factor(module, Factor::B).unwrap());
            let cell = |row: usize, column: usize| -> f64 {
                (0..rank)
                    .map(|k| scale * f64::from(b.values[row * rank + k]) * f64::from(a.values[k * 8 + column]))
                    .sum()
            };
            (0..b.shape[0])
                .flat_map(|row| (0..8).map(move |column| (row, column)))
                .map(|(r, c)| cell(r, c))
                .collect::<Vec<_>>()
        };
        let (wanted, found) = (dense(&mixed, rank, scale), dense(&read, 4, 1.0));
        assert!(wanted.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-6), "{module}");
    }
}

/// One module of rank 1024 among many of rank 1, over a wide model: 10 MB that would become 1.7 GB.
#[test]
fn a_small_file_cannot_ask_for_a_large_memory() {
    let mut wide = small::architecture();
    (wide.hidden_size, wide.num_hidden_layers) = (2048, 200);
    let mut tensors = BTreeMap::new();
    for layer in 0..wide.num_hidden_layers {
        let (module, rank) = (format!("model.layers.{layer}.self_attn.q_proj"), if layer == 0 { 1024 } else { 1 });
        for (factor, shape) in [(Factor::A, [rank, 2048]), (Factor::B, [8, rank])] {
            let zeros = vec![0.0; shape[0] * shape[1]];
            tensors.insert(factor.peft_name(&module), HostTensor::from_f32(shape.to_vec(), &zeros).unwrap());
        }
    }
    let settings = config(json!({"r": 1, "rank_pattern": {"layers.0.self_attn.q_proj": 1024}}));
    let error = check(&settings, &model(&tensors), &wide).unwrap_err();
    assert!(matches!(error, PeftError::Padding { rank: 1024, .. }), "{error}");
}

#[test]
fn half_precision_factors_are_read() {
    for dtype in [DType::F16, DType::BF16] {
        let halves = host(&two()).into_iter().map(|(name, tensor)| {
            // 1.0 in either type.
            let one = if dtype == DType::F16 { [0x00, 0x3c] } else { [0x80, 0x3f] };
            let bytes = one.repeat(tensor.shape.iter().product());
            let len = bytes.len();
            (name, HostTensor::new(dtype, tensor.shape, Arc::new(bytes), 0..len).unwrap())
        });
        let read = check(&config(json!({})), &model(&halves.collect()), &small::architecture()).unwrap();
        assert_eq!(read.factor(QUERY, Factor::A).unwrap().values, [1.0; 16]);
        assert_eq!(read.factor(QUERY, Factor::B).unwrap().values, [2.0; 16]);
    }
}

#[test]
fn a_rank_or_shape_that_does_not_fit_is_refused() {
    let refused = |change: &dyn Fn(&mut BTreeMap<String, HostTensor>), settings: Value, expected: &str| {
        let mut tensors = host(&two());
        change(&mut tensors);
        let error = check(&config(settings), &model(&tensors), &small::architecture()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    let (a, b) = (Factor::A.peft_name(QUERY), Factor::B.peft_name(QUERY));
    let zeros = |shape: &[usize]| HostTensor::from_f32(shape.to_vec(), &vec![0.0; shape.iter().product()]).unwrap();
    let put = |name: &str, shape: &[usize]| {
        let (name, tensor) = (name.to_owned(), zeros(shape));
        move |tensors: &mut BTreeMap<String, HostTensor>| drop(tensors.insert(name.clone(), tensor.clone()))
    };
    refused(&|_| (), json!({"r": 4}), "has rank 2, adapter_config.json says 4");
    refused(&put(&a, &[2, 9]), json!({}), "[2, 9], this base needs [r, 8]");
    refused(&put(&a, &[16]), json!({}), "this base needs");
    refused(&put(&b, &[8, 3]), json!({}), "as lora_A has rank 2");
    refused(&put(&b, &[2, 8]), json!({}), "as lora_A has rank 2");
    refused(&put(&a, &[0, 8]), json!({}), "rank 0, 1 to 1024");
    refused(&put(&a, &[1025, 8]), json!({}), "rank 1025, 1 to 1024");
    refused(&|tensors| drop(tensors.remove(&a)), json!({}), "has no lora_A");
    refused(&|tensors| drop(tensors.remove(&b)), json!({}), "has no lora_B");
    refused(&|tensors| tensors.clear(), json!({}), "no tensors");
    refused(
        &put(&Factor::A.peft_name("model.layers.2.mlp.up_proj"), &[2, 8]),
        json!({}),
        "no LoRA factor of this base",
    );
    for name in [
        "model.layers.0.mlp.up_proj.lora_A.weight",
        "base_model.model.../../x.lora_A.weight",
        "base_model.model.model.layers.00.mlp.up_proj.lora_A.weight",
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "../../etc/passwd",
    ] {
        refused(&put(name, &[2, 8]), json!({}), "no LoRA factor of this base");
    }
    let double = HostTensor::new(DType::F64, vec![2, 8], Arc::new(vec![0; 128]), 0..128).unwrap();
    refused(&|tensors| drop(tensors.insert(a.clone(), double.clone())), json!({}), "F64");
}

#[test]
fn nan_or_infinity_is_refused() {
    for (factor, wrong) in [(Factor::A, f32::NAN), (Factor::B, f32::NEG_INFINITY), (Factor::B, f32::MAX)] {
        let mut adapter = two();
        let name = factor.peft_name(UP);
        adapter.tensors.get_mut(&name).unwrap().values[3] = wrong;
        // The scale of 2 takes `f32::MAX` beyond.
        let error = check(&config(json!({})), &model(&host(&adapter)), &small::architecture()).unwrap_err();
        let named = matches!(&error, PeftError::Factors(FactorsError::NotFinite { name: found }) if *found == name);
        assert!(named, "{error}");
    }
}

#[test]
fn a_pickle_is_not_opened() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(CONFIG_FILE), files().config).unwrap();
    fs::write(root.path().join("adapter_model.bin"), b"PK\x03\x04").unwrap();
    assert!(matches!(read(root.path(), &small::architecture()), Err(PeftError::Pickle { .. })));
    assert!(check(&files().config, b"PK\x03\x04", &small::architecture()).is_err());
}

#[test]
fn a_folder_is_written_whole_and_read_back() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("adapter");
    write(&two(), &small::architecture(), &path).unwrap();
    let back = read(&path, &small::architecture()).unwrap();
    assert_eq!(encode(&back, &small::architecture()).unwrap(), files());
    let again = write(&two(), &small::architecture(), &path).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    assert!(matches!(read(root.path(), &small::architecture()), Err(PeftError::Io { .. })));
}

#[test]
fn truncated_oversized_and_wrongly_typed_files_are_refused() {
    let Files { config, model } = files();
    let architecture = small::architecture();
    for len in 0..model.len() {
        assert!(matches!(check(&config, &model[..len], &architecture), Err(PeftError::Layout(_))), "{len}");
    }
    for len in 0..config.len() - 2 {
        assert!(check(&config[..len], &model, &architecture).is_err(), "{len}");
    }
    assert!(check(&config, &[&model[..], b"x"].concat(), &architecture).is_err());
    assert!(check(&model, &config, &architecture).is_err());
}

#[test]
fn a_module_that_the_file_lacks_has_no_factors() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("adapter");
    write(&two(), &small::architecture(), &path).unwrap();
    let stored = Stored::open(&path, &small::architecture()).unwrap();
    assert_eq!(stored.modules(), [QUERY, UP]);
    assert!(stored.shape("model.layers.0.mlp.up_proj").is_none());
    assert!(stored.pair("model.layers.0.mlp.up_proj").unwrap().is_none());
    assert_eq!(stored.misfit(&small::architecture()), None);
    // Cut short after it was opened: an error, not zeros.
    fs::OpenOptions::new().write(true).open(path.join(MODEL_FILE)).unwrap().set_len(100).unwrap();
    assert!(matches!(stored.pair(UP), Err(FactorsError::Io { .. })));
}

proptest! {
    /// Ranks, scales and types of patterns: module by module as all at once, bit for bit.
    #[test]
    fn stored_factors_are_those_that_are_read(
        ranks in (1usize..6, 1usize..6), alphas in (0.1f64..9.0, 0.1f64..9.0), rslora in any::<bool>(), half in any::<bool>(),
    ) {
        let mut mixed = adapter(&[(QUERY, 8, 8)], ranks.0, 1.0);
        mixed.tensors.extend(adapter(&[(UP, 12, 8)], ranks.1, 1.0).tensors);
        let settings = config(json!({"r": ranks.0, "lora_alpha": alphas.0, "use_rslora": rslora,
            "rank_pattern": {"up_proj": ranks.1}, "alpha_pattern": {"up_proj": alphas.1}}));
        let mut tensors = host(&mixed);
        if half {
            for tensor in tensors.values_mut() {
                let turned: Vec<u8> = tensor.bytes().chunks_exact(4).flat_map(|value| [value[2], value[3]]).collect();
                let len = turned.len();
                *tensor = HostTensor::new(DType::BF16, tensor.shape.clone(), Arc::new(turned), 0..len).unwrap();
            }
        }
        let file = model(&tensors);
        let read = check(&settings, &file, &small::architecture()).unwrap();
        let stored = stored(&settings, &file).unwrap();
        prop_assert_eq!(bits(&stored), bits(&read.tensors));
    }

    /// A damaged file is refused by both with the same words, or read to the same bits.
    #[test]
    fn stored_factors_are_refused_as_those_that_are_read(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let Files { config, mut model } = files();
        let at = at.index(model.len());
        model[at] ^= 1 << bit;
        match (check(&config, &model, &small::architecture()), stored(&config, &model)) {
            (Ok(read), Ok(stored)) => prop_assert_eq!(bits(&stored), bits(&read.tensors)),
            (read, stored) => prop_assert_eq!(stored.err(), read.err().map(|error| error.to_string())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// One bit anywhere: an error, or a finite adapter of another content; the same whether the file comes whole or in
    /// pieces of any length.
    #[test]
    fn a_bit_flipped_adapter_is_refused_or_another(
        at in any::<prop::sample::Index>(), bit in 0u8..8, piece in 1usize..700,
    ) {
        let Files { config, mut model } = files();
        let at = at.index(model.len());
        model[at] ^= 1 << bit;
        let (checked, inspected) = (check(&config, &model, &small::architecture()), inspect(&config, &model, piece));
        match (&checked, &inspected) {
            (Ok(adapter), Ok(inspected)) => {
                let targets = target_modules(&inspected.modules, &small::architecture());
                prop_assert_eq!(&adapter.config, &LoraConfig::new(inspected.rank, inspected.rank as f32, targets));
            }
            (checked, inspected) => prop_assert_eq!(
                inspected.as_ref().err().map(ToString::to_string),
                checked.as_ref().err().map(ToString::to_string),
            ),
        }
        if let Ok(adapter) = checked {
            prop_assert!(adapter.tensors.values().all(|tensor| tensor.values.iter().all(|value| value.is_finite())));
        }
    }
}
