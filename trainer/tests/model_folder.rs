//! The files of a model folder: every line of `docs/model-folder.md` (`model_folder/table.rs`, `model_folder/adapter.rs`), folders
//! against transformers (`model_folder/classes.rs`), ends, identity and dropout, and what is said of files that are none.
//! Losses with the tokenizer's begin of text: `texts.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

#[path = "model_folder/classes.rs"]
mod classes;
#[path = "model_folder/adapter.rs"]
mod adapter;
#[path = "model_folder/table.rs"]
mod table;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::base::{Base, BaseError, Place};
use potluck_trainer::generate::{Prompt, generate};
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::model::decoder::Model;
use potluck_trainer::peft::{self, PeftError};
use serde_json::{Value, json};

fn cases() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases")
}

/// A copy of a case's base with a file changed.
fn with(case: &str, file: &str, change: impl Fn(Value) -> Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(cases().join(case).join("base")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = folder.path().join(file);
    let before = fs::read_to_string(&path).map_or(json!({}), |text| serde_json::from_str(&text).unwrap());
    fs::write(path, change(before).to_string()).unwrap();
    folder
}

fn stops(folder: &Path) -> Vec<u32> {
    Base::open(folder).unwrap().tokenizer().stops()
}

#[test]
fn every_end_of_generation_counts() {
    let case = "generation-config-eos-list";
    let base = Base::open(&cases().join(case).join("base")).unwrap();
    let tokenizer = base.tokenizer();
    assert_eq!((tokenizer.stops(), tokenizer.eos()), (vec![1, 3], 1));
    let model = Model::load(CandleBackend::<f32>::new(), &base).unwrap();
    let ids = tokenizer.encode_prompt("hi").unwrap();
    let mut found = Vec::new();
    let alone = Attached::none(base.architecture());
    let prompt = Prompt { ids: &ids, max_new_tokens: 8 };
    let mut take = |token| {
        found.push(token);
        ControlFlow::Continue(())
    };
    generate(&model, &alone, prompt, &tokenizer.stops(), &mut take).unwrap();
    assert_eq!(tokenizer.decode_behind(&ids, &found).unwrap(), " yes", "as transformers' generate");

    let number = with(case, "generation_config.json", |_| json!({"eos_token_id": 3}));
    assert_eq!(stops(number.path()), [1, 3]);
    let same = with(case, "generation_config.json", |_| json!({"eos_token_id": [1]}));
    assert_eq!(stops(same.path()), [1]);
    let config = with(case, "config.json", |mut config| {
        config["eos_token_id"] = Value::Null;
        config
    });
    assert_eq!(stops(config.path()), [1, 3], "generation_config.json alone");
    let beyond = with(case, "generation_config.json", |_| json!({"eos_token_id": [1, 99_999]}));
    assert!(Base::open(beyond.path()).unwrap_err().to_string().contains("99999"));
}

#[test]
fn a_written_folder_keeps_every_end() {
    let base = Base::open(&cases().join("generation-config-eos-list/base")).unwrap();
    let written: Value = serde_json::from_str(&base.tokenizer().generation_json().unwrap()).unwrap();
    assert_eq!(written["eos_token_id"], json!([1, 3]));
    let plain = Base::open(&cases().join("double-begin-of-text/base")).unwrap();
    assert!(plain.tokenizer().generation_json().is_none());
}

#[test]
fn a_bases_id_does_not_depend_on_how_it_is_spoken_to() {
    let case = "generation-config-eos-list";
    let other = with(case, "generation_config.json", |_| json!({"eos_token_id": [1, 2, 3]}));
    let digest = |folder: &Path| Base::open(folder).unwrap().tokenizer().digest();
    assert_eq!(digest(other.path()), digest(&cases().join(case).join("base")));
}

#[test]
fn dropout_is_for_training_a_tokenizer() {
    let dropped = with("double-begin-of-text", "tokenizer.json", |mut tokenizer| {
        tokenizer["model"]["dropout"] = json!(0.5);
        tokenizer
    });
    let ids = |folder: &Path| {
        let base = Base::open(folder).unwrap();
        let text = "seven apples and two dogs, how many?".repeat(20);
        base.tokenizer().encode(&text, Place::Start).unwrap().ids
    };
    assert_eq!(ids(dropped.path()), ids(&cases().join("double-begin-of-text/base")));
}

#[test]
fn good_gguf_files_that_are_not_taken_are_not_called_damaged() {
    let error = |name: &str| Base::open(&cases().join("gguf-hints").join(name)).unwrap_err();
    for (name, said) in [
        ("m-00001-of-00002.gguf", "piece 1 of 2"),
        ("rope-linear.gguf", "`llama.rope.scaling.type` is linear, which is not supported"),
        ("lora.gguf", "`general.type` is adapter"),
    ] {
        let error = error(name);
        assert!(error.to_string().contains(said), "{name}: {error}");
        assert!(matches!(error, BaseError::Gguf { error, .. } if error.is_unsupported()), "{name}");
    }
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 30216\n";

#[test]
fn a_git_lfs_pointer_is_named_in_the_place_of_every_file() {
    let read =
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"];
    for file in read {
        let folder = with("generation-config-eos-list", "tokenizer_config.json", |value| value);
        fs::write(folder.path().join(file), POINTER).unwrap();
        let error = Base::open(folder.path()).unwrap_err();
        assert!(matches!(&error, BaseError::LfsPointer { file: named } if named == file), "{file}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("model.gguf");
    fs::write(&gguf, POINTER).unwrap();
    assert!(matches!(Base::open(&gguf).unwrap_err(), BaseError::LfsPointer { .. }));
    fs::write(folder.path().join("adapter_config.json"), POINTER).unwrap();
    let base = Base::open(&cases().join("double-begin-of-text/base")).unwrap();
    let error = peft::read(folder.path(), base.architecture()).unwrap_err();
    assert!(matches!(error, PeftError::LfsPointer { .. }), "{error}");
}

#[test]
fn what_stands_in_the_place_of_an_adapters_folder_is_named() {
    let base = Base::open(&cases().join("double-begin-of-text/base")).unwrap();
    let read = |path: &Path| peft::read(path, base.architecture()).unwrap_err().to_string();
    let gguf = read(&cases().join("gguf-hints/lora.gguf"));
    assert!(gguf.contains("lora.gguf is a GGUF file, not an adapter's folder"), "{gguf}");
    let weights = read(&cases().join("double-begin-of-text/base/model.safetensors"));
    assert!(weights.contains("is a safetensors file, not"), "{weights}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adapters.safetensors"), "x").unwrap();
    assert!(read(folder.path()).contains("is an adapter of MLX"));
}
