//! Text to token ids and back, from `tokenizer.json` or from a GGUF file's vocabulary.

mod assemble;
mod class;
mod charsmap;
mod guard;
mod encode;
mod gguf;
mod growth;
mod stated;
pub mod template;

use std::collections::BTreeMap;

use potluck_protocol::id::Digest;
use serde_json::Value;

use super::config::SpecialTokens;
use super::gguf::Gguf;
use super::json::{self, JsonError};
pub(super) use assemble::{Assembled, Files, assemble};
use encode::Bare;
pub use encode::{AddedToken, Encoded, Joined, Place};
use growth::Steps;
use guard::guarded;
pub use template::Template;

/// Bytes of a `tokenizer.json`: the longest in use have about 30 MiB.
pub const TOKENIZER_MAX: usize = 64 << 20;

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum TokenizerError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("not a tokenizer: {0}")]
    Invalid(String),
    #[error("the tokenizer knows the id {id}, the model's vocabulary ends at {vocabulary}")]
    BeyondVocabulary { id: u32, vocabulary: u32 },
    #[error("no end-of-text token: config.json or generation_config.json must state `eos_token_id`")]
    NoEnd,
    #[error("`{key}` is {found}, which is not supported: {supported} are; a folder with tokenizer.json works always")]
    Unsupported { key: &'static str, found: String, supported: &'static str },
    #[error("`{key}`: {reason}")]
    Metadata { key: &'static str, reason: String },
    #[error("`{name}` is {found}, a token was expected: a text, or an object with `content`")]
    SpecialToken { name: String, found: String },
    #[error(
        "`tokenizer_class` is {found}: transformers builds that tokenizer otherwise than its tokenizer.json says, and how is not known here"
    )]
    Class { found: String },
    #[error("`auto_map` is {found}: this tokenizer is made by code of the folder's own, which is not run")]
    Code { found: String },
    #[error("`tokenizer_class` is {class}, which has a BPE model, and tokenizer.json has another one")]
    NotBpe { class: &'static str },
    #[error("`{key}`: {reason}")]
    Field { key: &'static str, reason: String },
    #[error("the tokenizer library cannot work with these files: {0}")]
    Library(String),
    #[error("the text cannot be tokenised: {0}")]
    Encode(String),
    #[error("the ids cannot be turned into text: {0}")]
    Decode(String),
}

/// A tokenizer and the tokens with a meaning.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Its normalizer, part by part.
    steps: Steps,
    /// For pieces inside of a text.
    bare: Bare,
    special: SpecialTokens,
    /// What the tokenizer puts before a text, whatever config.json says of a begin of text.
    prefix: Vec<u32>,
    /// Tokens that end generation beside those of `special`.
    stops: Vec<u32>,
    /// The special tokens by name, where the base's files say them.
    named: Option<BTreeMap<String, String>>,
    /// The class that has put pieces of its own in the place of `tokenizer.json`'s.
    rebuilt: Option<&'static str>,
    template: Option<Template>,
    json: Vec<u8>,
    digest: Digest,
}

impl Tokenizer {
    /// From the bytes of a `tokenizer.json`, for a model with this many rows of embedding. The digest covers the
    /// parsed content with sorted keys and the special tokens: neither whitespace nor the order of keys counts.
    pub fn from_json(bytes: &[u8], special: SpecialTokens, vocabulary: u32) -> Result<Self, TokenizerError> {
        Self::from_value(&json::parse(bytes, TOKENIZER_MAX)?, special, vocabulary)
    }

    /// From a parsed `tokenizer.json`.
    pub(super) fn from_value(value: &Value, special: SpecialTokens, vocabulary: u32) -> Result<Self, TokenizerError> {
        let canonical = json::canonical(value);
        let digest = digest("potluck 2026 tokenizer json/1", &canonical, &special);
        Self::new(canonical, digest, special, vocabulary)
    }

    /// From a GGUF file's metadata. The digest covers the metadata, not what is made of it here.
    pub fn from_gguf(gguf: &Gguf, special: SpecialTokens, vocabulary: u32) -> Result<Self, TokenizerError> {
        let vocab = gguf::Vocabulary::read(gguf, &special)?;
        let digest = digest("potluck 2026 tokenizer gguf/1", &vocab.bytes(), &special);
        Self::new(json::canonical(&vocab.to_json()), digest, special, vocabulary)
    }

    fn new(json: Vec<u8>, digest: Digest, special: SpecialTokens, vocabulary: u32) -> Result<Self, TokenizerError> {
        guarded(|| Self::build(json, digest, special, vocabulary))
    }

    fn build(json: Vec<u8>, digest: Digest, special: SpecialTokens, vocabulary: u32) -> Result<Self, TokenizerError> {
        let invalid = |error: tokenizers::Error| TokenizerError::Invalid(error.to_string());
        let mut parsed = json::parse(&json, TOKENIZER_MAX)?;
        guard::check_sizes(&parsed)?;
        let bare = Bare::new(&parsed)?;
        let steps = bounded_steps(&parsed)?;
        // Merges that are dropped at random are for training a model from nothing: the same text has the same ids.
        if let Some(dropout) = parsed.pointer_mut("/model/dropout") {
            *dropout = Value::Null;
        }
        let mut inner = tokenizers::Tokenizer::from_bytes(parsed.to_string().as_bytes()).map_err(invalid)?;
        // A file may ask for padding or truncation; here a row is neither padded nor cut behind anybody's back.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(invalid)?;
        let ids = inner.get_vocab(true).into_values();
        let all = ids.chain(special.eos.iter().copied()).chain(special.bos);
        if let Some(id) = all.max().filter(|&id| id >= vocabulary) {
            return Err(TokenizerError::BeyondVocabulary { id, vocabulary });
        }
        if special.eos.is_empty() {
            return Err(TokenizerError::NoEnd);
        }
        let prefix = encode::prefix(&inner)?;
        Ok(Self {
            inner,
            steps,
            bare,
            special,
            prefix,
            stops: Vec::new(),
            named: None,
            rebuilt: None,
            template: None,
            json,
            digest,
        })
    }

    /// With a chat template. What [`Tokenizer::digest`] and so a base's id say does not depend on it: a template is
    /// how a base is spoken to, not what it computes.
    #[must_use]
    pub fn with_template(self, template: Template) -> Self {
        Self { template: Some(template), ..self }
    }

    /// With the special tokens as the base's files name them, and the class that has built pieces of its own.
    #[must_use]
    pub(super) fn with_named(self, named: BTreeMap<String, String>, rebuilt: Option<&'static str>) -> Self {
        Self { named: Some(named), rebuilt, ..self }
    }

    /// For people: that this tokenizer is not what its `tokenizer.json` says by itself.
    pub fn remark(&self) -> Option<String> {
        let class = self.rebuilt?;
        Some(format!(
            "the tokenizer is a {class} (tokenizer_config.json), which builds parts of tokenizer.json otherwise, as in transformers"
        ))
    }

    /// With more tokens that end generation, as generation_config.json lists them. No part of a base's identity either.
    #[must_use]
    pub fn with_stops(self, stops: Vec<u32>) -> Self {
        let stops = stops.into_iter().filter(|id| !self.special.eos.contains(id)).collect();
        Self { stops, ..self }
    }

    /// Every token that ends generation: those of config.json, then the others of generation_config.json.
    pub fn stops(&self) -> Vec<u32> {
        [self.special.eos.as_slice(), &self.stops].concat()
    }

    /// The special tokens by name, where the base's files say them.
    pub fn named(&self) -> Option<&BTreeMap<String, String>> {
        self.named.as_ref()
    }

    /// Begin and end of text by the names that a template knows them by.
    pub fn template_tokens(&self) -> BTreeMap<String, String> {
        let ids = [("bos_token", self.special.bos), ("eos_token", self.special.eos.first().copied())];
        let text = |(name, id): (&str, Option<u32>)| Some((name.to_owned(), self.inner.id_to_token(id?)?));
        ids.into_iter().filter_map(text).collect()
    }

    /// The chat template, if the base has one.
    pub fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// The text of these ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.text_of(ids, true)
    }

    /// The text of these ids with special tokens as they are written.
    pub fn decode_all(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.text_of(ids, false)
    }

    fn text_of(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        guarded(|| self.inner.decode(ids, skip_special).map_err(|error| TokenizerError::Decode(error.to_string())))
    }

    /// The token that ends a completion in training.
    pub fn eos(&self) -> u32 {
        // `new` refuses an empty list.
        self.special.eos.first().copied().unwrap_or_default()
    }

    /// Whether generation ends at this token.
    pub fn is_eos(&self, id: u32) -> bool {
        self.special.eos.contains(&id) || self.stops.contains(&id)
    }

    /// The ids that begin a text and end one.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// A `tokenizer.json`, keys sorted, that gives the same ids in transformers.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// What the identity of a base says of its tokenizer.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A `generation_config.json` with every token that ends generation, if `config.json` does not list them all.
    pub fn generation_json(&self) -> Option<String> {
        let fields = serde_json::json!({ "bos_token_id": self.special.bos, "eos_token_id": self.stops() });
        (!self.stops.is_empty()).then(|| format!("{fields:#}\n"))
    }

    /// A `tokenizer_config.json` with which transformers reads `tokenizer.json` as it stands, and gives the template the
    /// special tokens that the base's files gave it.
    pub fn config_json(&self) -> String {
        let mut fields = serde_json::json!({"tokenizer_class": "PreTrainedTokenizerFast"});
        let named = self.named.clone().unwrap_or_else(|| self.added_template_tokens());
        let template = self.template.as_ref();
        let tokens = template.map(|template| template.tokens.clone()).unwrap_or_default();
        for (name, token) in named.into_iter().chain(tokens) {
            // Only what is called so is known for a token there; other names stand in a table of their own.
            let place = if name.ends_with("_token") { &mut fields } else { &mut fields["extra_special_tokens"] };
            place[name] = Value::String(token);
        }
        if let Some(template) = template {
            fields["chat_template"] = template.to_json();
        }
        format!("{fields:#}\n")
    }

    /// [`Tokenizer::template_tokens`] that are added tokens: named in a configuration, any other would become one.
    fn added_template_tokens(&self) -> BTreeMap<String, String> {
        let mut tokens = self.template_tokens();
        tokens.retain(|_, text| self.inner.get_added_vocabulary().get_vocab().contains_key(text));
        tokens
    }
}

/// The normalizer's parts. Before the library reads the file: it takes every added token through its normalizer as it does.
fn bounded_steps(json: &Value) -> Result<Steps, TokenizerError> {
    growth::check_rest(json)?;
    let steps = Steps::new(json.get("normalizer"))?;
    let tokens = json.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let texts = tokens.filter_map(|token| token.get("content")?.as_str());
    // What is put before a text is found by a letter.
    texts.chain(["a"]).try_for_each(|text| steps.check_short(text))?;
    Ok(steps)
}

/// Length-prefixed content, then the special tokens.
fn digest(context: &str, content: &[u8], special: &SpecialTokens) -> Digest {
    let mut bytes = (content.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(&special.bos.map_or(u64::MAX, u64::from).to_le_bytes());
    special.eos.iter().for_each(|id| bytes.extend_from_slice(&u64::from(*id).to_le_bytes()));
    Digest::of_context(context, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"version":"1.0","truncation":{"direction":"Right","max_length":2,"strategy":"LongestFirst",
        "stride":0},"padding":null,"added_tokens":[
        {"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
        "use_regex":true},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>",
        "type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},
        {"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}},
        "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
        "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"",
        "fuse_unk":false,"byte_fallback":false,"vocab":{"<s>":0,"a":1,"b":2,"ab":3},"merges":[["a","b"]]}}"#;

    fn special() -> SpecialTokens {
        SpecialTokens { bos: Some(0), eos: vec![0] }
    }

    #[test]
    fn prompt_and_continuation() {
        let tokenizer = Tokenizer::from_json(SMALL.as_bytes(), special(), 4).unwrap();
        assert_eq!(tokenizer.encode_prompt("aab").unwrap(), [0, 1, 3]);
        assert_eq!(tokenizer.encode("abab", Place::Inside).unwrap().ids, [3, 3], "neither a prefix nor truncation");
        assert_eq!(tokenizer.decode(&[0, 1, 3]).unwrap(), "aab");
        assert!(tokenizer.is_eos(0) && tokenizer.eos() == 0);
    }

    #[test]
    fn the_digest_covers_content_not_its_spelling() {
        let digest = |text: &str, special| Tokenizer::from_json(text.as_bytes(), special, 9).unwrap().digest();
        let spaced = SMALL.replace("\"vocab\":", "\"vocab\" : ");
        let moved = SMALL.replace(r#""<s>":0,"a":1"#, r#""a":1,"<s>":0"#);
        assert_eq!(digest(SMALL, special()), digest(&spaced, special()));
        assert_eq!(digest(SMALL, special()), digest(&moved, special()));
        assert_ne!(
            digest(SMALL, special()),
            digest(&SMALL.replace("\"b\":2", "\"c\":2").replace(r#"["a","b"]"#, ""), special())
        );
        assert_ne!(digest(SMALL, special()), digest(SMALL, SpecialTokens { bos: None, eos: vec![0] }));
    }

    #[test]
    fn a_template_goes_through_the_written_configuration_and_changes_no_digest() {
        let tokenizer = Tokenizer::from_json(SMALL.as_bytes(), special(), 4).unwrap();
        let tokens = tokenizer.template_tokens();
        let template = Template { tokens: tokens.clone(), ..Template::new("{{ bos_token }}".to_owned()) };
        let with = tokenizer.clone().with_template(template.clone());
        assert_eq!(with.digest(), tokenizer.digest());
        let read = |tokenizer: &Tokenizer| {
            let config = serde_json::from_str(&tokenizer.config_json()).unwrap();
            template::from_folder(&config, template::TemplateFiles::default(), tokens.clone()).unwrap()
        };
        assert_eq!((read(&with), read(&tokenizer)), (Some(template), None));
    }

    /// Before anything is done with it: the library would take a letter, and each added token, through all of it.
    #[test]
    fn a_tokenizer_that_makes_megabytes_of_a_letter_is_refused() {
        let doubles = r#"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#;
        let many = vec![doubles; 40].join(",");
        let bombs = [
            SMALL.replace(
                r#""normalizer":null"#,
                &format!(r#""normalizer":{{"type":"Sequence","normalizers":[{many}]}}"#),
            ),
            SMALL.replace(
                r#""decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}"#,
                &format!(r#""decoder":{{"type":"Sequence","decoders":[{many}]}}"#),
            ),
        ];
        for bomb in bombs {
            assert_ne!(bomb, SMALL);
            let error = Tokenizer::from_json(bomb.as_bytes(), special(), 4).unwrap_err().to_string();
            assert!(error.contains("could make"), "{error}");
        }
    }

    #[test]
    fn wrong_tokenizers_are_refused() {
        let check = |text: &str, special, vocabulary, expected: &str| {
            let error = Tokenizer::from_json(text.as_bytes(), special, vocabulary).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(SMALL, special(), 3, "vocabulary ends at 3");
        check(SMALL, SpecialTokens { bos: None, eos: vec![4] }, 4, "knows the id 4");
        check(SMALL, SpecialTokens { bos: None, eos: vec![] }, 4, "no end-of-text token");
        check(&SMALL[..200], special(), 4, "not valid JSON");
        check("{}", special(), 4, "not a tokenizer");
        check(&SMALL.replace(r#"["a","b"]"#, r#"["a","z"]"#), special(), 4, "not a tokenizer");
    }
}
