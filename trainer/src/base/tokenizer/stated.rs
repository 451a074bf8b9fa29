//! What the small files of a folder say of its tokenizer: `tokenizer_config.json`, and where that has no
//! `added_tokens_decoder`, also `special_tokens_map.json` and `added_tokens.json`. Read as transformers 5.24.0 reads them
//! (`PreTrainedTokenizerBase._from_pretrained`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::TokenizerError;
use crate::base::json::describe;

/// The special tokens that every tokenizer has a name for, in transformers' order.
pub const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Tokens that the small files may state: models of speech add 65536 and some hundreds.
pub const TOKENS_MAX: usize = 1 << 18;

/// A special token: its text alone, or with how it is found in a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// A name with its token; a name that stands there with `null` has no token, and no default either.
type Named = (String, Option<Token>);

/// The special tokens by name and those without, and every token that is to be added.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    named: Vec<Named>,
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
        tokenizer: &Map<String, Value>,
    ) -> Result<Self, TokenizerError> {
        let nothing = Map::new();
        let config = config.as_object().unwrap_or(&nothing);
        let mut stated = Self { extra: extra(config)?, ..Self::default() };
        NAMES.iter().try_for_each(|name| stated.name(name, config.get(*name)))?;
        let mut own = Own::of(config)?;
        match config.get("added_tokens_decoder").and_then(Value::as_object) {
            Some(decoder) => stated.added = decoded(decoder)?,
            None => {
                stated.legacy(special, &mut own)?;
                stated.listed(added_tokens, tokenizer)?;
            }
        }
        stated.map_to_added();
        stated.named.extend(own.all());
        let count = stated.named.len() + stated.extra().len() + stated.added.len();
        if count > TOKENS_MAX {
            let reason = format!("the files of the folder state {count} tokens, at most {TOKENS_MAX} are taken");
            return Err(TokenizerError::Invalid(reason));
        }
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

    /// `special_tokens_map.json`, which goes over the configuration; what has another name than the seven is put to `own`.
    fn legacy(&mut self, special: Option<&Value>, own: &mut Own) -> Result<(), TokenizerError> {
        for (name, value) in special.and_then(Value::as_object).into_iter().flatten() {
            let always = value.as_object().and_then(|fields| added(fields, Some(true))).map(Token::Added);
            match (name.as_str(), always) {
                ("extra_special_tokens", _) if value.is_object() => {
                    own.tables.extend(tokens_by_name("extra_special_tokens", value)?);
                }
                ("extra_special_tokens", _) => {
                    let mut all = self.extra.take().unwrap_or_default();
                    let mut more = list(name, value, Some(true))?;
                    let known: HashSet<&Token> = all.iter().collect();
                    more.retain(|token| !known.contains(token));
                    all.append(&mut more);
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
                    let token = token.or_else(|| Token::of(value));
                    own.fields.extend((token.is_some() || value.is_null()).then(|| (name.to_owned(), token)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `added_tokens.json`, and over it the added tokens of `tokenizer.json`.
    fn listed(&mut self, added_tokens: Option<&Value>, tokenizer: &Map<String, Value>) -> Result<(), TokenizerError> {
        let wrong =
            |found: &Value| TokenizerError::SpecialToken { name: "added_tokens".to_owned(), found: describe(found) };
        let special: HashSet<&str> = self.special().map(Token::text).collect();
        let mut all = BTreeMap::new();
        for (text, id) in added_tokens.and_then(Value::as_object).into_iter().flatten() {
            let id = id.as_u64().ok_or_else(|| wrong(id))?;
            all.insert(id, AddedToken::from(text.clone(), special.contains(text.as_str())));
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
        // Of two that are written alike the later one.
        let added: HashMap<&str, &AddedToken> =
            self.added.values().map(|token| (token.content.as_str(), token)).collect();
        for token in self.named.iter_mut().filter_map(|(_, token)| token.as_mut()) {
            if let Some(found) = added.get(token.text()) {
                *token = Token::Added((*found).clone());
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

    /// Every special token, those with a name first.
    pub fn special(&self) -> impl Iterator<Item = &Token> {
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

/// The special tokens whose names are this tokenizer's alone.
#[derive(Debug, Default)]
struct Own {
    /// Fields that are called so and that the class itself is given: objects with a type, and those that are to have none.
    fields: Vec<Named>,
    /// Texts, and tables of names, which go over them.
    tables: Vec<Named>,
}

impl Own {
    fn of(config: &Map<String, Value>) -> Result<Self, TokenizerError> {
        let mut own = Self::default();
        for (name, value) in config {
            match value {
                _ if !name.ends_with("_token") || NAMES.contains(&name.as_str()) => {}
                Value::Null => own.fields.push((name.clone(), None)),
                Value::String(text) => own.tables.push((name.clone(), Some(Token::Text(text.clone())))),
                Value::Object(fields) if fields.get("__type").and_then(Value::as_str) == Some("AddedToken") => {
                    let wrong = || TokenizerError::SpecialToken { name: name.clone(), found: describe(value) };
                    own.fields.push((name.clone(), Some(Token::of(value).ok_or_else(wrong)?)));
                }
                _ => {}
            }
        }
        let given = |name: &str| config.get(name).filter(|value| !value.is_null());
        if let Some(table) = given("extra_special_tokens").filter(|value| value.is_object()) {
            own.tables.extend(tokens_by_name("extra_special_tokens", table)?);
        }
        // Whatever stands in one of the others takes the place of this whole table.
        if let Some(table) = given("model_specific_special_tokens").filter(|_| own.tables.is_empty()) {
            own.tables = tokens_by_name("model_specific_special_tokens", table)?;
        }
        Ok(own)
    }

    /// Each name once, with what was said of it last, in the place of what was said first.
    fn all(self) -> Vec<Named> {
        let mut all: Vec<Named> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (name, token) in self.fields.into_iter().chain(self.tables) {
            match places.entry(name.clone()) {
                Entry::Occupied(place) => all[*place.get()].1 = token,
                Entry::Vacant(place) => {
                    place.insert(all.len());
                    all.push((name, token));
                }
            }
        }
        all
    }
}

fn tokens_by_name(field: &str, value: &Value) -> Result<Vec<Named>, TokenizerError> {
    let wrong = |name: &str, found| TokenizerError::SpecialToken { name: name.to_owned(), found: describe(found) };
    let tokens = value.as_object().ok_or_else(|| wrong(field, value))?;
    tokens.iter().map(|(name, one)| Ok((name.clone(), Some(Token::of(one).ok_or_else(|| wrong(name, one))?)))).collect()
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
