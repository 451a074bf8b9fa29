//! `docs/model-folder.md`: each line of its tables has a test here, under what the line names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use potluck_trainer::base::{Base, BaseError, folder_files};
use serde_json::{Value, json};

use super::classes::folders;
use super::{cases, every_end_of_generation_counts, stops, with};

/// The first cells of a table, by the words of its head.
pub fn lines(head: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/model-folder.md");
    let page = fs::read_to_string(path).unwrap();
    let mut lines = page.lines().skip_while(|line| !line.starts_with(&format!("| {head} |")));
    assert!(lines.next().is_some() && lines.next().is_some_and(|line| line.starts_with("|---")), "{head}");
    let cell = |line: &str| line.split('|').nth(1).map(|cell| cell.trim().to_owned());
    lines.take_while(|line| line.starts_with('|')).filter_map(cell).collect()
}

type Check = fn();

/// Every line has a check, every check a line.
fn hold(head: &str, checks: &[(&str, Check)]) {
    let lines: BTreeSet<String> = lines(head).into_iter().collect();
    let named: BTreeSet<String> = checks.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(lines, named, "docs/model-folder.md against its tests");
    checks.iter().for_each(|(name, check)| {
        println!("{name}");
        check();
    });
}

#[test]
fn each_line_on_a_models_folder_holds() {
    let checks: [(&str, Check); 24] = [
        ("`config.json`", unknown_fields_are_refused),
        ("`config.json: max_position_embeddings`", positions),
        ("`model.safetensors`, `model.safetensors.index.json`", the_single_file_wins),
        ("`config.json: transformers_weights`", || {
            refused("config.json", "transformers_weights", &json!("a.safetensors"))
        }),
        ("`*.bin`, `*.pt`, `*.pth`", pickles),
        ("`tokenizer.json`", super::dropout_is_for_training_a_tokenizer),
        ("`tokenizer.model`, `vocab.json`, `merges.txt`", older_tokenizers),
        ("`tokenizer_config.json: tokenizer_class`", || {
            as_transformers(&["class-of-config", "class-of-both", "llama", "no-class"])
        }),
        ("`tokenizer_config.json: auto_map`", own_code),
        ("`tokenizer_config.json: add_prefix_space`, `legacy`", || {
            as_transformers(&[
                "llama-legacy",
                "llama-null-flags",
                "llama-no-prefix",
                "gpt2-with-prefix",
                "plain-backend",
            ]);
        }),
        ("`tokenizer_config.json: add_bos_token`, `add_eos_token`", || {
            as_transformers(&["llama-no-begin", "llama-of-mistral", "neox-of-llama3"]);
        }),
        ("post-processor of `tokenizer.json`", the_post_processor_begins),
        ("`tokenizer_config.json: added_tokens_decoder`", || {
            as_transformers(&["decoder", "decoder-of-llama", "decoder-of-qwen", "decoder-over-map", "decoder-beyond"]);
        }),
        ("`added_tokens.json`", || as_transformers(&["added", "added-of-llama", "added-beyond"])),
        ("`special_tokens_map.json`", || as_transformers(&["map", "map-alone", "map-and-extra", "decoder-over-map"])),
        ("`tokenizer_config.json: bos_token`, `eos_token`, ...", || {
            as_transformers(&[
                "eos-of-vocabulary",
                "eos-of-vocabulary-llama",
                "typed-object",
                "own-name",
                "own-name-object",
                "own-name-over-object",
                "not-special",
            ]);
        }),
        (
            "`tokenizer_config.json: extra_special_tokens`, `additional_special_tokens`, `model_specific_special_tokens`",
            || {
                as_transformers(&[
                    "extra-list",
                    "extra-object",
                    "map-extra",
                    "own-name-in-table",
                    "own-name-over-table",
                ]);
            },
        ),
        ("`tokenizer_config.json: split_special_tokens`, `fast_tokenizer_files`", || {
            refused("tokenizer_config.json", "split_special_tokens", &json!(true));
            refused(
                "tokenizer_config.json",
                "fast_tokenizer_files",
                &json!(["tokenizer.4.0.0.json", "tokenizer.json"]),
            );
        }),
        (
            "`tokenizer_config.json: clean_up_tokenization_spaces`, `model_max_length`, `padding_side`, `trim_offsets`",
            nothing_trained,
        ),
        ("`config.json: eos_token_id`", the_first_end_is_trained),
        ("`generation_config.json: eos_token_id`", every_end_of_generation_counts),
        ("`chat_template.jinja`, `additional_chat_templates/*.jinja`", || {
            as_transformers(&[
                "template-file",
                "template-additional",
                "template-additional-alone",
                "template-additional-default",
            ]);
        }),
        ("`tokenizer_config.json: chat_template`", || {
            as_transformers(&["template", "template-list", "template-object", "template-one-of-list"]);
        }),
        ("`chat_template.json`, `processor_config.json`", templates_of_processors),
    ];
    hold("File, field", &checks);
}

const CASE: &str = "generation-config-eos-list";

fn as_transformers(names: &[&str]) {
    let folders = folders();
    let wrong: Vec<_> = names.iter().flat_map(|name| folders.differences(folders.case(name))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A base with one field of a file set.
fn set(file: &str, field: &str, value: &Value) -> tempfile::TempDir {
    with(CASE, file, |mut fields| {
        fields[field] = value.clone();
        fields
    })
}

fn refused(file: &str, field: &str, value: &Value) {
    let error = Base::open(set(file, field, value).path()).unwrap_err().to_string();
    assert!(error.contains(&format!("`{field}`")), "{error}");
}

fn digest(folder: &Path) -> potluck_protocol::id::Digest {
    Base::open(folder).unwrap().tokenizer().digest()
}

fn untouched() -> PathBuf {
    cases().join(CASE).join("base")
}

fn unknown_fields_are_refused() {
    refused("config.json", "sliding_window", &json!(64));
    refused("config.json", "attention_bias", &json!(true));
}

fn positions() {
    let base = |value: Value| Base::open(set("config.json", "max_position_embeddings", &value).path()).unwrap();
    assert_eq!((base(json!(77)).positions(), base(Value::Null).positions()), (Some(77), None));
    assert_eq!(base(json!(77)).id().unwrap(), base(json!(78)).id().unwrap());
}

fn the_single_file_wins() {
    let index = with(CASE, "model.safetensors.index.json", |_| json!({"weight_map": {"a": "missing.safetensors"}}));
    assert_eq!(Base::open(index.path()).unwrap().id().unwrap(), Base::open(&untouched()).unwrap().id().unwrap());
    let read = folder_files(index.path()).unwrap();
    assert!(
        read.contains(&"model.safetensors".to_owned()) && !read.iter().any(|name| name.contains("index")),
        "{read:?}"
    );
    fs::rename(index.path().join("model.safetensors"), index.path().join("part.safetensors")).unwrap();
    let error = Base::open(index.path()).unwrap_err().to_string();
    assert!(error.contains("missing.safetensors"), "without the single file the index counts: {error}");
}

fn pickles() {
    let folder = with(CASE, "config.json", |config| config);
    fs::rename(folder.path().join("model.safetensors"), folder.path().join("pytorch_model.bin")).unwrap();
    assert!(matches!(Base::open(folder.path()), Err(BaseError::NoWeights { pickles: true, .. })));
}

fn older_tokenizers() {
    let folder = with(CASE, "vocab.json", |_| json!({"a": 0}));
    fs::rename(folder.path().join("tokenizer.json"), folder.path().join("tokenizer.model")).unwrap();
    assert!(matches!(Base::open(folder.path()), Err(BaseError::NoTokenizer { .. })));
}

fn own_code() {
    as_transformers(&["code-and-known-class", "code-and-llama-of-bytes", "code-of-model-alone"]);
    let code = json!({"AutoTokenizer": ["own.OwnTokenizer", null]});
    for class in [json!("OwnTokenizer"), Value::Null] {
        let folder = with(CASE, "tokenizer_config.json", |mut fields| {
            fields["auto_map"] = code.clone();
            fields["tokenizer_class"] = class.clone();
            fields
        });
        let error = Base::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("code of the folder's own"), "{error}");
    }
}

fn the_post_processor_begins() {
    // `bos_token_id` of config.json puts nothing, and takes nothing away.
    let other = set("config.json", "bos_token_id", &Value::Null);
    let ids = |folder: &Path| Base::open(folder).unwrap().tokenizer().encode_prompt("hi").unwrap();
    assert_eq!(ids(other.path()), ids(&untouched()));
    as_transformers(&["code-llama", "neox-of-llama3"]);
}

fn nothing_trained() {
    for (field, value) in [
        ("clean_up_tokenization_spaces", json!(true)),
        ("model_max_length", json!(2)),
        ("padding_side", json!("left")),
        ("trim_offsets", json!(false)),
    ] {
        assert_eq!(digest(set("tokenizer_config.json", field, &value).path()), digest(&untouched()), "{field}");
    }
}

fn the_first_end_is_trained() {
    let several = set("config.json", "eos_token_id", &json!([3, 1]));
    assert_eq!(Base::open(several.path()).unwrap().tokenizer().eos(), 3);
    assert_eq!(stops(several.path()), [3, 1]);
    let none = set("config.json", "eos_token_id", &Value::Null);
    assert_eq!(Base::open(none.path()).unwrap().tokenizer().eos(), 1, "that of generation_config.json");
}

fn templates_of_processors() {
    let template = |folder: &Path| Base::open(folder).unwrap().tokenizer().template().cloned();
    for file in ["chat_template.json", "processor_config.json"] {
        let folder = with(CASE, file, |_| json!({"chat_template": "processor"}));
        assert_eq!(template(folder.path()), template(&untouched()), "{file}");
        assert!(!folder_files(folder.path()).unwrap().contains(&file.to_owned()));
    }
}

fn plain_classes() {
    as_transformers(&["plain-backend", "plain-slow-name", "unknown-class"]);
    for class in ["TokenizersBackend", "BloomTokenizer", "ConvBertTokenizer", "FNetTokenizer", "ParakeetTokenizerFast"]
    {
        let digest = |class: &str| digest(set("tokenizer_config.json", "tokenizer_class", &json!(class)).path());
        assert_eq!(digest(class), digest("PreTrainedTokenizerFast"), "{class}");
    }
}

#[test]
fn each_line_on_classes_holds() {
    let checks: [(&str, Check); 7] = [
        ("`LlamaTokenizer`", || {
            as_transformers(&["llama", "llama-chatml", "llama-of-gemma", "llama-other-model", "llama-of-bytes"])
        }),
        ("`CodeLlamaTokenizer`", || as_transformers(&["code-llama", "code-llama-fast", "code-llama-null"])),
        ("`GPT2Tokenizer`, `CodeGenTokenizer`", || {
            as_transformers(&["gpt2", "gpt2-prefix", "gpt2-of-digits", "codegen"])
        }),
        ("`GPTNeoXTokenizer`", || as_transformers(&["neox", "neox-of-llama3"])),
        ("`Qwen2Tokenizer`, `Qwen3_5Tokenizer`", || as_transformers(&["qwen2", "qwen2-of-phi", "qwen3.5"])),
        ("`GemmaTokenizer`", || as_transformers(&["gemma", "gemma-of-llama"])),
        (
            "`PreTrainedTokenizerFast`, `TokenizersBackend`, `BloomTokenizer`, `ConvBertTokenizer`, `FNetTokenizer`, `ParakeetTokenizer`, a name that transformers does not know",
            plain_classes,
        ),
    ];
    hold("Class", &checks);
    for class in ["T5Tokenizer", "BertTokenizerFast", "MistralCommonBackend"] {
        let folder = set("tokenizer_config.json", "tokenizer_class", &json!(class));
        let error = Base::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(class) && error.contains("tokenizer_class"), "{error}");
    }
}
