//! The chat template that comes with a base: a Jinja program that writes messages as the text the base was taught on.
//!
//! Here it is found and kept; [`crate::data::chat`] runs it. A template that cannot be compiled is no reason to refuse
//! the base: it matters only where chats are used.

use std::collections::BTreeMap;

use potluck_protocol::id::Digest;
use serde_json::Value;

use super::TokenizerError;
use crate::base::json::describe;

/// Bytes of a template: the longest in use have some tens of KiB.
pub const SOURCE_MAX: usize = 1 << 20;

/// The names under which transformers gives a template the special tokens.
const TOKENS: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A template and the special tokens that it may write, by transformers' names (`bos_token`, ...).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub source: String,
    pub tokens: BTreeMap<String, String>,
}

impl Template {
    pub fn new(source: String) -> Self {
        Self { source, tokens: BTreeMap::new() }
    }

    /// Identifies the text of the template and the special tokens that it names: a base's folder and its GGUF file, which
    /// may list different ones, have one digest.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        let named = self.tokens.iter().filter(|(name, _)| self.source.contains(name.as_str()));
        let tokens = named.flat_map(|(name, token)| [name, token]);
        for text in [&self.source].into_iter().chain(tokens) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Digest::of_context("potluck 2026 chat template/1", &bytes)
    }
}

/// From a parsed `tokenizer_config.json` and the bytes of `chat_template.jinja`, which comes first, as in transformers.
/// Of several named templates the one called `default` is taken. `None` if there is none.
pub fn from_folder(config: &Value, jinja: Option<Vec<u8>>) -> Result<Option<Template>, TokenizerError> {
    let wrong = |reason: String| TokenizerError::Metadata { key: "chat_template", reason };
    let source = match (jinja, config.get("chat_template")) {
        (Some(bytes), _) => {
            String::from_utf8(bytes).map_err(|_| wrong("chat_template.jinja is not UTF-8".to_owned()))?
        }
        (None, None | Some(Value::Null)) => return Ok(None),
        (None, Some(Value::String(source))) => source.clone(),
        (None, Some(Value::Array(named))) => {
            let default = named.iter().find(|one| one.get("name").and_then(Value::as_str) == Some("default"));
            match default.and_then(|one| one.get("template")).and_then(Value::as_str) {
                Some(source) => source.to_owned(),
                None => return Ok(None),
            }
        }
        (None, Some(other)) => return Err(wrong(format!("{} is neither a text nor a list", describe(other)))),
    };
    if source.len() > SOURCE_MAX {
        return Err(wrong(format!("more than {SOURCE_MAX} bytes")));
    }
    Ok(Some(Template { source, tokens: tokens(config) }))
}

/// Each is a text, or an object whose `content` is.
fn tokens(config: &Value) -> BTreeMap<String, String> {
    let token = |name: &str| {
        let found = config.get(name)?;
        let text = found.as_str().or_else(|| found.get("content")?.as_str())?;
        Some((name.to_owned(), text.to_owned()))
    };
    TOKENS.into_iter().filter_map(token).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(config: &Value, jinja: Option<&str>) -> Option<String> {
        let jinja = jinja.map(|text| text.as_bytes().to_vec());
        from_folder(config, jinja).unwrap().map(|template| template.source)
    }

    #[test]
    fn a_template_comes_from_its_own_file_or_the_configuration() {
        assert_eq!(source(&Value::Null, None), None);
        assert_eq!(source(&json!({"chat_template": null}), None), None);
        assert_eq!(source(&json!({"chat_template": "a"}), None).as_deref(), Some("a"));
        assert_eq!(source(&json!({"chat_template": "a"}), Some("b")).as_deref(), Some("b"));
        let named = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        assert_eq!(source(&json!({"chat_template": named}), None).as_deref(), Some("d"));
        assert_eq!(source(&json!({"chat_template": [{"name": "tool_use", "template": "t"}]}), None), None);
        for (config, jinja) in [(json!({"chat_template": 1}), None), (Value::Null, Some(vec![0xff]))] {
            assert!(matches!(from_folder(&config, jinja), Err(TokenizerError::Metadata { .. })));
        }
        assert!(from_folder(&Value::Null, Some(vec![b'a'; SOURCE_MAX + 1])).is_err());
    }

    #[test]
    fn special_tokens_are_texts_or_objects_and_count_in_the_digest() {
        let config =
            json!({"chat_template": "a", "bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null});
        let template = from_folder(&config, None).unwrap().unwrap();
        let tokens: Vec<_> = template.tokens.iter().map(|(name, token)| (name.as_str(), token.as_str())).collect();
        assert_eq!(tokens, [("bos_token", "<s>"), ("eos_token", "</s>")]);
        assert_eq!(template.digest(), Template::new("a".to_owned()).digest(), "it names none of them");
        let source = "{{ eos_token }}".to_owned();
        assert_ne!(Template { source: source.clone(), ..template }.digest(), Template::new(source).digest());
        assert_ne!(Template::new("b".to_owned()).digest(), Template::new("a".to_owned()).digest());
    }
}
