//! The corpus of `fixtures/corpus`: chat templates with tokenizers, and what transformers makes of chats with them.
//! What the fields mean stands in its README.

use std::collections::BTreeMap;
use std::path::PathBuf;

use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::{Template, Tokenizer};
use potluck_trainer::data::chat::Input;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A template with its tokenizer and what it makes of chats.
#[derive(Deserialize)]
pub struct Family {
    #[serde(skip)]
    pub name: String,
    pub tokenizer: String,
    pub special: Special,
    #[serde(skip)]
    pub template: String,
    /// What `{% generation %}` stands around: `whole` (content and end) or `content`.
    pub generation: Option<String>,
    pub chats: Vec<Expected>,
}

#[derive(Deserialize)]
pub struct Special {
    pub bos: Option<String>,
    pub eos: Option<String>,
}

/// A chat and what comes of it.
#[derive(Deserialize)]
pub struct Expected {
    #[serde(rename = "chat")]
    pub name: String,
    #[serde(skip)]
    pub given: Given,
    /// `None` if the template raises an error.
    pub text: Option<String>,
    pub ids: Option<Vec<u32>>,
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// `0` or `1` for each id; `None` if the template ends its answers with no mark of its own.
    pub mask: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
pub struct Given {
    pub messages: Vec<Map<String, Value>>,
    pub tools: Option<Vec<Value>>,
}

impl Given {
    pub fn chat(&self) -> Input<'_> {
        self.before(self.messages.len())
    }

    /// The first messages of it.
    pub fn before(&self, message: usize) -> Input<'_> {
        Input { messages: &self.messages[..message], tools: self.tools.as_deref() }
    }
}

#[derive(Deserialize)]
pub struct Answer {
    /// Its index.
    pub message: usize,
    /// Why the template writes nothing before it.
    pub error: Option<String>,
    #[serde(default)]
    pub prompt_ids: Vec<u32>,
    /// Whether the prompt is how the whole chat begins.
    #[serde(default)]
    pub prefix: bool,
    /// The prompt, where it is not.
    prompt_text: Option<String>,
    /// In characters.
    start: Option<usize>,
    /// Whether it would be another text if it were the last message.
    #[serde(default)]
    pub rewritten: bool,
    /// Whether an id reaches over the start.
    #[serde(default)]
    pub straddles: bool,
}

impl Answer {
    /// What generation starts from. `None` if that is an error.
    pub fn prompt<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        let start = self.start.map(|start| &text[..byte(text, start)]);
        self.prompt_text.as_deref().or(start)
    }
}

fn byte(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

impl Family {
    /// The tokenizer of this template with it.
    pub fn tokenizer(&self) -> Tokenizer {
        let json = std::fs::read(file(&format!("tokenizers/{}.json", self.tokenizer))).unwrap();
        let inner = tokenizers::Tokenizer::from_bytes(&json).unwrap();
        let id = |text: &Option<String>| inner.token_to_id(text.as_ref()?);
        let special = SpecialTokens { bos: id(&self.special.bos), eos: id(&self.special.eos).into_iter().collect() };
        let tokenizer =
            Tokenizer::from_json(&json, special, u32::try_from(inner.get_vocab_size(true)).unwrap()).unwrap();
        let names = [("bos_token", &self.special.bos), ("eos_token", &self.special.eos)];
        let tokens = names.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?)));
        tokenizer.with_template(Template { tokens: tokens.collect(), ..Template::new(self.template.clone()) })
    }
}

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus").join(name)
}

pub fn json<T: DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(file(name)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of the files of a folder of the corpus, without what follows the last dot.
pub fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(file(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

pub fn families() -> Vec<Family> {
    let chats: BTreeMap<String, Given> = json("chats.json");
    let family = |name: String| {
        let mut family: Family = json(&format!("expected/{name}.json"));
        family.template = std::fs::read_to_string(file(&format!("templates/{name}.jinja"))).unwrap();
        family.chats.iter_mut().for_each(|chat| chat.given = chats[&chat.name].clone());
        Family { name, ..family }
    };
    names("expected").into_iter().map(family).collect()
}
