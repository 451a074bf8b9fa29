//! Folders against transformers' `AutoTokenizer` (`fixtures/make_folders.py`): classes that build pieces of their own, added
//! and special tokens wherever they stand, templates.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::{Place, Tokenizer, folder_tokenizer};
use potluck_trainer::data::chat::{ChatFormat, Input};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
pub struct Folders {
    rows: u32,
    texts: Vec<String>,
    chat: Vec<Map<String, Value>>,
    tools: Vec<Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    name: String,
    /// Of the corpus.
    tokenizer: String,
    model: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    post_processor: Option<Value>,
    #[serde(default)]
    drop: Vec<String>,
    config: Map<String, Value>,
    files: BTreeMap<String, Value>,
    ids: Vec<Vec<u32>>,
    decoded: Vec<String>,
    named: BTreeMap<String, String>,
    /// Without tools and with them.
    chats: [Option<String>; 2],
}

/// A field that is there, `null` too.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn folders() -> Folders {
    serde_json::from_str(&fs::read_to_string(fixtures().join("folders.json")).unwrap()).unwrap()
}

impl Folders {
    pub fn case(&self, name: &str) -> &Case {
        self.cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"))
    }

    fn config(&self, case: &Case) -> Value {
        let mut config = json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": self.rows,
                                "eos_token_id": 2});
        config.as_object_mut().unwrap().extend(case.config.clone());
        config
    }

    /// The folder of a case.
    fn written(&self, case: &Case) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), case.tokenizer_json().to_string()).unwrap();
        fs::write(folder.path().join("config.json"), self.config(case).to_string()).unwrap();
        for (name, content) in &case.files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// Where a case differs from what transformers makes of it.
    pub fn differences(&self, case: &Case) -> Vec<String> {
        let folder = self.written(case);
        match folder_tokenizer(folder.path()) {
            Ok(tokenizer) => self.compare(case, &tokenizer),
            Err(error) => vec![format!("{}: {error}", case.name)],
        }
    }

    fn compare(&self, case: &Case, tokenizer: &Tokenizer) -> Vec<String> {
        let mut wrong = Vec::new();
        let before = tokenizer.encode_prompt("").unwrap();
        let found =
            self.texts.iter().map(|text| [before.clone(), tokenizer.encode(text, Place::Start).unwrap().ids].concat());
        for ((text, found), (ids, decoded)) in self.texts.iter().zip(found).zip(case.ids.iter().zip(&case.decoded)) {
            if found != *ids {
                wrong.push(format!("{}, {text:?}: {found:?}, not {ids:?}", case.name));
            }
            let written = tokenizer.decode(ids).unwrap();
            if written != *decoded {
                wrong.push(format!("{}, {text:?} is written {written:?}, not {decoded:?}", case.name));
            }
        }
        if tokenizer.named() != Some(&case.named) {
            wrong.push(format!("{}: {:?}, not {:?}", case.name, tokenizer.named(), case.named));
        }
        for (expected, tools) in case.chats.iter().zip([None, Some(self.tools.as_slice())]) {
            let input = Input { messages: &self.chat, tools };
            let found = ChatFormat::new(tokenizer).and_then(|format| format.text(&input, false)).ok();
            // A folder without a template called `default` has none here; transformers has one for chats with tools.
            let has_default = case.chats[0].is_some();
            if found != *expected && (has_default || found.is_some()) {
                wrong.push(format!("{}: {found:?}, not {expected:?}", case.name));
            }
        }
        wrong
    }
}

impl Case {
    fn tokenizer_json(&self) -> Value {
        let path = fixtures().join(format!("corpus/tokenizers/{}.json", self.tokenizer));
        let mut json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        json["model"].as_object_mut().unwrap().extend(self.model.clone().unwrap_or_default());
        if let Some(post_processor) = &self.post_processor {
            json["post_processor"] = post_processor.clone();
        }
        let keeps = |token: &Value| !self.drop.iter().any(|text| token["content"] == text.as_str());
        json["added_tokens"].as_array_mut().unwrap().retain(keeps);
        json
    }
}

#[test]
fn every_folder_has_the_ids_and_texts_of_transformers() {
    let folders = folders();
    let wrong: Vec<_> = folders.cases.iter().flat_map(|case| folders.differences(case)).collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(folders.cases.len() > 60, "{} cases", folders.cases.len());
}

/// What a fold or an export writes is read as it was, by the file alone.
#[test]
fn a_written_folder_is_the_same_base() {
    let folders = folders();
    let write = |folder: &Path, name: &str, text: &[u8]| fs::write(folder.join(name), text).unwrap();
    for case in &folders.cases {
        let tokenizer = folder_tokenizer(folders.written(case).path()).unwrap();
        let again = tempfile::tempdir().unwrap();
        write(again.path(), "tokenizer.json", tokenizer.json());
        write(again.path(), "tokenizer_config.json", tokenizer.config_json().as_bytes());
        write(again.path(), "config.json", folders.config(case).to_string().as_bytes());
        let read = folder_tokenizer(again.path()).unwrap();
        assert!(read.remark().is_none(), "{}: its tokenizer.json says it all", case.name);
        assert_eq!(read.digest(), tokenizer.digest(), "{}", case.name);
        assert_eq!((read.named(), read.template()), (tokenizer.named(), tokenizer.template()), "{}", case.name);
        let wrong = folders.compare(case, &read);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The id of a base covers what its tokenizer computes: files that change nothing of it change no id, others do.
#[test]
fn an_id_changes_with_what_the_tokenizer_computes() {
    let folders = folders();
    let same = |name: &str| {
        let case = folders.case(name);
        let folder = folder_tokenizer(folders.written(case).path()).unwrap();
        let special = SpecialTokens { bos: None, eos: vec![2] };
        let file = Tokenizer::from_json(case.tokenizer_json().to_string().as_bytes(), special, folders.rows).unwrap();
        folder.digest() == file.digest()
    };
    for name in [
        "no-configuration",
        "unknown-class",
        "plain-slow-name",
        "plain-backend",
        "class-of-both",
        "llama-of-bytes",
        "gpt2",
        "qwen2",
        "template-file",
    ] {
        assert!(same(name), "{name}");
    }
    for name in [
        "llama",
        "llama-legacy",
        "gpt2-of-digits",
        "code-llama",
        "decoder",
        "map",
        "eos-of-vocabulary",
        "not-special",
        "own-name",
    ] {
        assert!(!same(name), "{name}");
    }
}

#[test]
fn a_class_that_builds_pieces_of_its_own_is_said() {
    let folders = folders();
    let remark = |name: &str| folder_tokenizer(folders.written(folders.case(name)).path()).unwrap().remark();
    for (name, class) in [("llama", "LlamaTokenizer"), ("gpt2-of-digits", "GPT2Tokenizer")] {
        assert!(remark(name).is_some_and(|said| said.contains(class)), "{name}");
    }
    for name in ["llama-of-bytes", "qwen2", "gpt2", "plain-backend", "map"] {
        assert_eq!(remark(name), None, "{name}");
    }
}
