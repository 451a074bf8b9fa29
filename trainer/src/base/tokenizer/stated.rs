//! What the small files of a folder say of its tokenizer: `tokenizer_config.json`, and where that has no
//! `added_tokens_decoder`, also `special_tokens_map.json` and `added_tokens.json`. Read as transformers 5.24.0 reads them
//! (`PreTrainedTokenizerBase._from_pretrained`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::TokenizerError;
use crate::base::json::describe;

/// The special tokens that every tokenizer has a name for, in transformers' order.
pub const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A special token: its text alone, or with how it is found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Text(String),
    Added(AddedToken),
}

impl Token {
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Added(token) => &token.content,
        }
    }

    /// A text, or an object with `content`.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Object(fields) => added(fields, None).map(Self::Added),
            _ => None,
        }
    }

    /// As a token that is added: a text alone becomes a special one.
    pub fn added(self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text, true),
            Self::Added(token) => token,
        }
    }
}

/// A token of its own from an object's fields; `special` where the file does not decide it.
fn added(fields: &Map<String, Value>, special: Option<bool>) -> Option<AddedToken> {
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool);
    let content = fields.get("content")?.as_str()?;
    let token = AddedToken::from(content, special.or(flag("special")).unwrap_or(false));
    let normalized = flag("normalized").unwrap_or(token.normalized);
    let strips = [flag("lstrip"), flag("rstrip"), flag("single_word")].map(|flag| flag.unwrap_or(false));
    Some(token.normalized(normalized).lstrip(strips[0]).rstrip(strips[1]).single_word(strips[2]))
}

/// The special tokens by name and those without, and every token that is to be added.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// A name that stands there with `null` has no token, and no default either.
    named: Vec<(String, Option<Token>)>,
    extra: Option<Vec<Token>>,
    /// By the ids that the files state, which decide their order.
    pub added: BTreeMap<u64, AddedToken>,
}

impl Stated {
    /// From the parsed files. A missing `tokenizer_config.json` is `null`.
    pub fn read(
        config: &Value,
        special: Option<&Value>,
        added_tokens: Option<&Value>,
        tokenizer: &Value,
    ) -> Result<Self, TokenizerError> {
        let nothing = Map::new();
        let config = config.as_object().unwrap_or(&nothing);
        let mut stated = Self { extra: extra(config)?, ..Self::default() };
        NAMES.iter().try_for_each(|name| stated.name(name, config.get(*name)))?;
        let mut own = specific(config)?;
        match config.get("added_tokens_decoder").and_then(Value::as_object) {
            Some(decoder) => stated.added = decoded(decoder)?,
            None => {
                let mut more = stated.legacy(special)?;
                more.retain(|(name, _)| own.iter().all(|(one, _)| one != name));
                own.splice(0..0, more);
                stated.listed(added_tokens, tokenizer)?;
            }
        }
        stated.map_to_added();
        stated.named.extend(own.into_iter().map(|(name, token)| (name, Some(token))));
        Ok(stated)
    }

    /// Takes the token of a name; nothing where the file does not have the name.
    fn name(&mut self, name: &str, value: Option<&Value>) -> Result<(), TokenizerError> {
        let Some(value) = value else { return Ok(()) };
        let token = Token::of(value);
        if token.is_none() && !value.is_null() {
            return Err(TokenizerError::SpecialToken { name: name.to_owned(), found: describe(value) });
        }
        self.named.retain(|(one, _)| one != name);
        self.named.push((name.to_owned(), token));
        Ok(())
    }

    /// `special_tokens_map.json`, which goes over the configuration; what has another name than the seven comes back.
    fn legacy(&mut self, special: Option<&Value>) -> Result<Vec<(String, Token)>, TokenizerError> {
        let Some(fields) = special.and_then(Value::as_object) else { return Ok(Vec::new()) };
        let mut own = Vec::new();
        for (name, value) in fields {
            let always = value.as_object().and_then(|fields| added(fields, Some(true))).map(Token::Added);
            match (name.as_str(), always) {
                ("extra_special_tokens", _) if value.is_object() => own.extend(tokens_by_name(value)?),
                ("extra_special_tokens", _) => {
                    let mut all = self.extra.take().unwrap_or_default();
                    let more = list(name, value, Some(true))?;
                    all.extend(more.into_iter().filter(|token| !all.contains(token)).collect::<Vec<_>>());
                    self.extra = Some(all);
                }
                ("additional_special_tokens", _) if self.extra.is_none() => self.extra = Some(list(name, value, None)?),
                ("additional_special_tokens", _) => {}
                (name, Some(token)) if NAMES.contains(&name) => {
                    self.named.retain(|(one, _)| one != name);
                    self.named.push((name.to_owned(), Some(token)));
                }
                (name, None) if NAMES.contains(&name) => self.name(name, Some(value))?,
                (name, token) if name.ends_with("_token") => {
                    own.extend(token.or_else(|| Token::of(value)).map(|token| (name.to_owned(), token)));
                }
                _ => {}
            }
        }
        Ok(own)
    }

    /// `added_tokens.json`, and over it the added tokens of `tokenizer.json`.
    fn listed(&mut self, added_tokens: Option<&Value>, tokenizer: &Value) -> Result<(), TokenizerError> {
        let wrong =
            |found: &Value| TokenizerError::SpecialToken { name: "added_tokens".to_owned(), found: describe(found) };
        let is_special = |text: &str| self.special().any(|token| token.text() == text);
        let mut all = BTreeMap::new();
        for (text, id) in added_tokens.and_then(Value::as_object).into_iter().flatten() {
            let id = id.as_u64().ok_or_else(|| wrong(id))?;
            all.insert(id, AddedToken::from(text.clone(), is_special(text)));
        }
        for token in tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
            let read = token.as_object().and_then(|fields| Some((fields.get("id")?.as_u64()?, added(fields, None)?)));
            let (id, read) = read.ok_or_else(|| wrong(token))?;
            all.insert(id, read);
        }
        self.added = all;
        Ok(())
    }

    /// A special token that is among those to be added has its flags.
    fn map_to_added(&mut self) {
        for token in self.named.iter_mut().filter_map(|(_, token)| token.as_mut()) {
            if let Some(found) = self.added.values().rfind(|added| added.content == token.text()) {
                *token = Token::Added(found.clone());
            }
        }
    }

    /// Gives the names that no file states the tokens that a class has by itself; its own names before the files' others.
    pub fn with_defaults(&mut self, defaults: &[(&'static str, &'static str)]) {
        let mut own = Vec::new();
        for (name, text) in defaults {
            if self.named.iter().all(|(one, _)| one != name) {
                own.push(((*name).to_owned(), Some(Token::Text((*text).to_owned()))));
            }
        }
        let place = |name: &str| NAMES.iter().position(|one| *one == name).unwrap_or(NAMES.len());
        own.append(&mut self.named);
        own.sort_by_key(|(name, _)| place(name));
        self.named = own;
    }

    fn special(&self) -> impl Iterator<Item = &Token> {
        self.named().map(|(_, token)| token).chain(self.extra())
    }

    /// Names that have a token.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Token)> {
        self.named.iter().filter_map(|(name, token)| Some((name.as_str(), token.as_ref()?)))
    }

    /// Special tokens without a name.
    pub fn extra(&self) -> &[Token] {
        self.extra.as_deref().unwrap_or_default()
    }
}

/// `extra_special_tokens` if it is a list of some, else its old name `additional_special_tokens`. `None` where there is
/// neither.
fn extra(config: &Map<String, Value>) -> Result<Option<Vec<Token>>, TokenizerError> {
    let new = config.get("extra_special_tokens").filter(|value| value.is_array());
    let filled = new.filter(|value| value.as_array().is_some_and(|list| !list.is_empty()));
    match (filled, config.get("additional_special_tokens").filter(|value| !value.is_null())) {
        (Some(new), _) => list("extra_special_tokens", new, None).map(Some),
        (None, Some(old)) => list("additional_special_tokens", old, None).map(Some),
        (None, None) => Ok(new.map(|_| Vec::new())),
    }
}

/// The names of this tokenizer alone: those of `extra_special_tokens`, and every field that is called so.
fn specific(config: &Map<String, Value>) -> Result<Vec<(String, Token)>, TokenizerError> {
    let own = |(name, value): (&String, &Value)| {
        let is_one = name.ends_with("_token") && !NAMES.contains(&name.as_str());
        let text = value.as_str().filter(|_| is_one)?;
        Some((name.clone(), Token::Text(text.to_owned())))
    };
    let mut all: Vec<_> = config.iter().filter_map(own).collect();
    match config.get("extra_special_tokens") {
        Some(value) if value.is_object() => all.extend(tokens_by_name(value)?),
        _ => {}
    }
    Ok(all)
}

fn tokens_by_name(value: &Value) -> Result<Vec<(String, Token)>, TokenizerError> {
    let wrong = |name: &String, found| TokenizerError::SpecialToken { name: name.clone(), found: describe(found) };
    let tokens = value.as_object().into_iter().flatten();
    tokens.map(|(name, one)| Ok((name.clone(), Token::of(one).ok_or_else(|| wrong(name, one))?))).collect()
}

/// Tokens of a list; those with fields of their own are special if that is given.
fn list(name: &str, value: &Value, special: Option<bool>) -> Result<Vec<Token>, TokenizerError> {
    let wrong = |found| TokenizerError::SpecialToken { name: name.to_owned(), found: describe(found) };
    let items = value.as_array().ok_or_else(|| wrong(value))?;
    let token = |one: &Value| {
        let with_fields = one.as_object().and_then(|fields| added(fields, special)).map(Token::Added);
        with_fields.or_else(|| Token::of(one))
    };
    items.iter().map(|one| token(one).ok_or_else(|| wrong(one))).collect()
}

/// `added_tokens_decoder`: ids to tokens.
fn decoded(decoder: &Map<String, Value>) -> Result<BTreeMap<u64, AddedToken>, TokenizerError> {
    let read = |(id, value): (&String, &Value)| {
        let wrong =
            || TokenizerError::SpecialToken { name: format!("added_tokens_decoder.{id}"), found: describe(value) };
        let token = value.as_object().and_then(|fields| added(fields, None)).ok_or_else(wrong)?;
        Ok((id.trim().parse().map_err(|_| wrong())?, token))
    };
    decoder.iter().map(read).collect()
}
