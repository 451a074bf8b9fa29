//! The chat template that comes with a base: a Jinja program that writes messages as the text the base was taught on.
//!
//! Here it is found and kept; [`crate::data::chat`] runs it. A template that cannot be compiled is no reason to refuse
//! the base: it matters only where chats are used.

use std::collections::BTreeMap;

use potluck_protocol::id::Digest;
use serde_json::{Value, json};

use super::TokenizerError;
use crate::base::json::describe;

/// Bytes of a template: the longest in use have some tens of KiB.
pub const SOURCE_MAX: usize = 1 << 20;

/// The name of the template that is taken, and of the one that is taken where a chat has tools.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// A template and the special tokens that it may write, by transformers' names (`bos_token`, ...).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// A Jinja program, as transformers runs it.
    pub source: String,
    /// Another one for chats with tools.
    pub tool_use: Option<String>,
    /// By name, e.g. `eos_token`, the text of the token.
    pub tokens: BTreeMap<String, String>,
}

impl Template {
    /// A template that names no special token and has no other one for tools.
    pub fn new(source: String) -> Self {
        Self { source, ..Self::default() }
    }

    /// The source for a chat with tools, or for one without.
    pub fn source_for(&self, tools: bool) -> &str {
        self.tool_use.as_deref().filter(|_| tools).unwrap_or(&self.source)
    }

    /// Whether a source writes this.
    pub fn contains(&self, text: &str) -> bool {
        self.sources().any(|source| source.contains(text))
    }

    fn sources(&self) -> impl Iterator<Item = &String> {
        [&self.source].into_iter().chain(&self.tool_use)
    }

    /// Identifies the text of the template and the special tokens that it names: a base's folder and its GGUF file, which
    /// may list different ones, have one digest.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        let named = self.tokens.iter().filter(|(name, _)| self.contains(name));
        let tokens = named.flat_map(|(name, token)| [name, token]);
        for text in self.sources().chain(tokens) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Digest::of_context("potluck 2026 chat template/1", &bytes)
    }

    /// As `chat_template` of a `tokenizer_config.json`.
    pub fn to_json(&self) -> Value {
        let named = |name: &str, source: &str| json!({"name": name, "template": source});
        match &self.tool_use {
            Some(tool_use) => json!([named(DEFAULT, &self.source), named(TOOL_USE, tool_use)]),
            None => json!(self.source),
        }
    }
}

/// The bytes of templates in files of their own: `chat_template.jinja`, and those of `additional_chat_templates` by their
/// names without `.jinja`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFiles {
    /// `chat_template.jinja`.
    pub default: Option<Vec<u8>>,
    /// By name without `.jinja`.
    pub additional: BTreeMap<String, Vec<u8>>,
}

/// The template of a folder, as in transformers: templates in files of their own, and only where there are none, those of
/// `tokenizer_config.json`. Of several the one called `default` is taken, and where a chat has tools `tool_use`. `None` if
/// there is none.
pub fn from_folder(
    config: &Value,
    files: TemplateFiles,
    tokens: BTreeMap<String, String>,
) -> Result<Option<Template>, TokenizerError> {
    let mut sources = named(config.get("chat_template").unwrap_or(&Value::Null))?;
    let default = files.default.map(|bytes| (DEFAULT.to_owned(), bytes));
    let files: Vec<_> = default.into_iter().chain(files.additional).collect();
    if !files.is_empty() {
        let text = |(name, bytes): (String, Vec<u8>)| {
            let text = String::from_utf8(bytes).map_err(|_| wrong(format!("the file of `{name}` is not UTF-8")))?;
            Ok::<_, TokenizerError>((name, text))
        };
        sources = files.into_iter().map(text).collect::<Result<_, _>>()?;
    }
    if sources.values().any(|source| source.len() > SOURCE_MAX) {
        return Err(wrong(format!("more than {SOURCE_MAX} bytes")));
    }
    let tool_use = sources.remove(TOOL_USE);
    Ok(sources.remove(DEFAULT).map(|source| Template { source, tool_use, tokens }))
}

/// The templates of `tokenizer_config.json` by name: one text, a list of objects with `name` and `template`, or an object.
fn named(value: &Value) -> Result<BTreeMap<String, String>, TokenizerError> {
    let text = |name: &str, source: &Value| {
        let source = source.as_str().ok_or_else(|| wrong(format!("`{name}` is no text")))?;
        Ok((name.to_owned(), source.to_owned()))
    };
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::String(source) => Ok([(DEFAULT.to_owned(), source.clone())].into()),
        Value::Array(list) => {
            let entry = |one: &Value| {
                let name = one.get("name").and_then(Value::as_str);
                let name = name.ok_or_else(|| wrong(format!("{} has no name", describe(one))))?;
                text(name, one.get("template").unwrap_or(&Value::Null))
            };
            list.iter().map(entry).collect()
        }
        Value::Object(map) => map.iter().map(|(name, source)| text(name, source)).collect(),
        other => Err(wrong(format!("{} is neither a text nor a list", describe(other)))),
    }
}

fn wrong(reason: String) -> TokenizerError {
    TokenizerError::Field { key: "chat_template", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &Value, files: TemplateFiles) -> Option<Template> {
        from_folder(config, files, BTreeMap::new()).unwrap()
    }

    fn jinja(text: &str) -> TemplateFiles {
        TemplateFiles { default: Some(text.as_bytes().to_vec()), ..TemplateFiles::default() }
    }

    fn source(config: &Value, files: TemplateFiles) -> Option<String> {
        read(config, files).map(|template| template.source)
    }

    #[test]
    fn a_template_comes_from_its_own_file_or_the_configuration() {
        let none = TemplateFiles::default;
        assert_eq!(source(&Value::Null, none()), None);
        assert_eq!(source(&json!({"chat_template": null}), none()), None);
        assert_eq!(source(&json!({"chat_template": "a"}), none()).as_deref(), Some("a"));
        assert_eq!(source(&json!({"chat_template": "a"}), jinja("b")).as_deref(), Some("b"));
        let named = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        let both = read(&json!({"chat_template": named}), none()).unwrap();
        assert_eq!((both.source_for(false), both.source_for(true)), ("d", "t"));
        assert_eq!(
            read(&json!({"chat_template": both.to_json()}), none()),
            Some(both.clone()),
            "written and read back"
        );
        assert_eq!(read(&json!({"chat_template": {"default": "d", "tool_use": "t"}}), none()), Some(both));
        assert_eq!(source(&json!({"chat_template": [{"name": "tool_use", "template": "t"}]}), none()), None);
        let error = |config: &Value, files| from_folder(config, files, BTreeMap::new()).unwrap_err();
        let bytes = |bytes: Vec<u8>| TemplateFiles { default: Some(bytes), ..TemplateFiles::default() };
        for (config, files) in [(json!({"chat_template": 1}), none()), (Value::Null, bytes(vec![0xff]))] {
            assert!(matches!(error(&config, files), TokenizerError::Field { .. }));
        }
        error(&Value::Null, bytes(vec![b'a'; SOURCE_MAX + 1]));
    }

    #[test]
    fn templates_in_files_leave_those_of_the_configuration_out() {
        let additional = |name: &str| TemplateFiles {
            additional: [(name.to_owned(), b"x".to_vec())].into(),
            ..TemplateFiles::default()
        };
        let config = json!({"chat_template": "a"});
        assert_eq!(source(&config, additional("tool_use")), None, "none is called default");
        assert_eq!(source(&config, additional("default")).as_deref(), Some("x"));
        let both = read(&config, TemplateFiles { default: Some(b"d".to_vec()), ..additional("tool_use") }).unwrap();
        assert_eq!((both.source_for(false), both.source_for(true)), ("d", "x"));
    }

    #[test]
    fn special_tokens_count_in_the_digest_where_they_are_named() {
        let tokens: BTreeMap<_, _> = [("bos_token".to_owned(), "<s>".to_owned())].into();
        let template = |source: &str| Template { tokens: tokens.clone(), ..Template::new(source.to_owned()) };
        assert_eq!(template("a").digest(), Template::new("a".to_owned()).digest(), "it names none of them");
        let source = "{{ bos_token }}";
        assert_ne!(template(source).digest(), Template::new(source.to_owned()).digest());
        assert_ne!(Template::new("b".to_owned()).digest(), Template::new("a".to_owned()).digest());
        let tool_use = Template { tool_use: Some("t".to_owned()), ..template("a") };
        assert_ne!(tool_use.digest(), template("a").digest());
    }
}
