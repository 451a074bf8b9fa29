//! `docs/model-folder.md` on `adapter_config.json`: each field of each line, on an adapter that PEFT wrote.

use std::fs;
use std::path::PathBuf;

use potluck_trainer::base::Base;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::peft;
use serde_json::{Value, json};

use super::table::lines;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/peft").join(name)
}

/// PEFT's adapter with fields of its settings changed.
fn read(changes: &[(&str, Value)]) -> Result<Adapter, String> {
    let base = Base::open(&fixture("base")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(fixture("adapter").join(file), folder.path().join(file)).unwrap();
    }
    let path = folder.path().join("adapter_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    changes.iter().for_each(|(field, value)| config[*field] = value.clone());
    fs::write(path, config.to_string()).unwrap();
    peft::read(folder.path(), base.architecture()).map_err(|error| error.to_string())
}

/// What becomes of an adapter with a field changed.
enum Becomes {
    /// The same.
    Same,
    /// Other values.
    Other,
    /// An error that has these words.
    Refused(&'static str),
}

/// A change for every field.
fn fields() -> Vec<(&'static str, Value, Becomes)> {
    use Becomes::{Other, Refused, Same};
    vec![
        ("r", json!(7), Refused("rank")),
        ("lora_alpha", json!(1000), Other),
        ("use_rslora", json!("yes"), Refused("use_rslora")),
        ("rank_pattern", json!({"q_proj": 7}), Refused("rank")),
        ("alpha_pattern", json!({".*_proj": 1000}), Other),
        ("target_modules", json!(["no_such_module"]), Refused("aim at it")),
        ("target_modules", Value::Null, Same),
        ("target_modules", json!("(?=look)ahead"), Same),
        ("exclude_modules", json!(".*"), Refused("aim at it")),
        ("layers_to_transform", json!([999]), Refused("aim at it")),
        ("layers_pattern", json!("h"), Refused("layers_pattern")),
        ("bias", json!("all"), Refused("bias")),
        ("modules_to_save", json!(["lm_head"]), Refused("modules_to_save")),
        ("fan_in_fan_out", json!(true), Refused("fan_in_fan_out")),
        ("use_dora", json!(true), Refused("use_dora")),
        ("lora_bias", json!(true), Refused("lora_bias")),
        ("layer_replication", json!([[0, 1]]), Refused("layer_replication")),
        ("trainable_token_indices", json!([1]), Refused("trainable_token_indices")),
        ("no_field_of_today", json!(1), Refused("no_field_of_today")),
        ("no_field_of_today", json!(false), Same),
        ("init_lora_weights", json!("pissa"), Refused("init_lora_weights")),
        ("init_lora_weights", json!("olora"), Refused("init_lora_weights")),
        ("init_lora_weights", json!("loftq"), Refused("init_lora_weights")),
        ("init_lora_weights", json!("gaussian"), Same),
        ("peft_type", json!("LOHA"), Refused("peft_type")),
        ("task_type", json!("SEQ_CLS"), Refused("task_type")),
        ("lora_dropout", json!(0.5), Same),
        ("inference_mode", json!(false), Same),
        ("base_model_name_or_path", json!("some/base"), Same),
        ("revision", json!("main"), Same),
        ("peft_version", json!("9.9"), Same),
        ("auto_mapping", json!({"a": "b"}), Same),
    ]
}

#[test]
fn every_field_is_honoured_or_refused_by_name() {
    let own = read(&[]).unwrap();
    for (field, value, becomes) in fields() {
        let found = read(&[(field, value.clone())]);
        match (becomes, found) {
            (Becomes::Same, Ok(found)) => assert_eq!(found.tensors, own.tensors, "{field}"),
            (Becomes::Other, Ok(found)) => assert_ne!(found.tensors, own.tensors, "{field}"),
            (Becomes::Refused(said), Err(error)) => assert!(error.contains(said), "{field} {value}: {error}"),
            (_, found) => panic!("{field} {value}: {:?}", found.map(|adapter| adapter.config)),
        }
    }
    let other = read(&[("use_rslora", json!(false))]).unwrap();
    assert_ne!(other.tensors, own.tensors);
    // What the file lacks adds nothing, unless PEFT would draw it.
    let all = ("target_modules", json!("all-linear"));
    assert_eq!(read(std::slice::from_ref(&all)).unwrap().tensors, own.tensors);
    let error = read(&[all, ("init_lora_weights", json!(false))]).unwrap_err();
    assert!(error.contains("not saved whole"), "{error}");
}

#[test]
fn every_field_of_the_page_has_a_change() {
    let page = lines("Field of `adapter_config.json`");
    let named = page.iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    let tried: Vec<_> = fields().into_iter().map(|(field, ..)| field).collect();
    let without: Vec<_> = named.filter(|name| !tried.contains(name)).collect();
    assert!(without.is_empty() && page.len() == 6, "{without:?} of {page:?}");
}
