//! Files that other programs wrote (`fixtures/`, each beside the program that made it).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

use std::path::PathBuf;

use potluck_protocol::tensor::DType;
use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::gguf::Gguf;
use potluck_trainer::base::{Base, Tokenizer};
use potluck_trainer::lora::adapter::Factor;
use potluck_trainer::peft;
use potluck_trainer::tensor::dequantise;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn a_folder_of_transformers_opens() {
    let base = Base::open(&fixture("peft/base")).unwrap();
    base.check_finite().unwrap();
    assert_eq!((base.architecture().num_hidden_layers, base.architecture().head_dim), (2, 16));
    assert_eq!(base.tokenizer().special(), &SpecialTokens { bos: Some(0), eos: vec![1] });
    let ids = base.tokenizer().encode_prompt("a\nab b").unwrap();
    assert_eq!(ids.len(), 5);
    assert_eq!(base.tokenizer().decode(&ids).unwrap(), "a\nab b");
}

#[test]
fn an_adapter_of_peft_loads_as_the_portable_profile() {
    let base = Base::open(&fixture("peft/base")).unwrap();
    let adapter = peft::read(&fixture("peft/adapter"), base.architecture()).unwrap();
    assert_eq!((adapter.config.r, adapter.config.lora_alpha, adapter.tensors.len()), (4, 4.0, 20));
    // Its own rank is 2, its scale 6 / sqrt(2): two columns of B and no more.
    let up = adapter.factor("model.layers.0.mlp.up_proj", Factor::B).unwrap();
    assert!(up.values.chunks_exact(4).all(|row| row[0] != 0.0 && row[1] != 0.0 && row[2..] == [0.0, 0.0]));
    let files = peft::encode(&adapter, base.architecture()).unwrap();
    assert_eq!(peft::check(&files.config, &files.model, base.architecture()).unwrap(), adapter);
}

/// gguf-py's file of the same model: rows are back in Hugging Face's order, blocks give its numbers.
#[test]
fn a_gguf_file_is_the_folder_that_it_was_made_of() {
    let (folder, file) = (Base::open(&fixture("peft/base")).unwrap(), Base::open(&fixture("gguf/tiny.gguf")).unwrap());
    file.check_finite().unwrap();
    assert_eq!(folder.architecture(), file.architecture());
    for (name, _) in folder.architecture().tensors() {
        let (wanted, found) = (folder.tensor(&name).unwrap(), file.tensor(&name).unwrap());
        // A step of Q8_0 is the largest of 32 values over 127; F16 has 11 bits.
        let wanted = dequantise::tensor(&wanted);
        let largest = wanted.iter().fold(0f32, |max, value| max.max(value.abs()));
        let bound = match found.dtype {
            DType::F32 => 0.0,
            DType::F16 => largest / 2048.0,
            DType::Q8_0 => largest / 127.0,
            other => panic!("{name} is {other:?}"),
        };
        let found = dequantise::tensor(&found);
        assert!(wanted.iter().zip(&found).all(|(a, b)| (a - b).abs() <= bound), "{name}");
    }
}

/// SmolLM2's tokenizer from GGUF: digits apart, no space before the text.
#[test]
fn smollm2_texts_give_the_ids_of_the_reference() {
    let file = std::fs::read(fixture("gguf/smollm2_vocabulary.gguf")).unwrap();
    let special = SpecialTokens { bos: Some(1), eos: vec![2] };
    let tokenizer = Tokenizer::from_gguf(&Gguf::parse(&file).unwrap(), special.clone(), 49_152).unwrap();
    let exported = Tokenizer::from_json(tokenizer.json(), special, 49_152).unwrap();
    let rows = std::fs::read_to_string(fixture("gguf/smollm2_ids.json")).unwrap();
    let rows: Vec<(String, Vec<u32>)> = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows.len(), 300);
    for (text, ids) in rows {
        assert_eq!(tokenizer.encode_prompt(&text).unwrap(), ids, "{text:?}");
        assert_eq!(exported.encode_prompt(&text).unwrap(), ids, "{text:?}");
        if !text.contains("<|") {
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
}
