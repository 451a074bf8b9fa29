//! The tokenizer of a folder as transformers 5.24.0 puts it together from all its files: one `tokenizer.json` that, read by
//! itself, gives the same ids. Where nothing of it changes it is the file's own, value for value.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use tokenizers::AddedToken;

use super::class::Class;
use super::stated::{Stated, Token};
use super::{TOKENIZER_MAX, TokenizerError};
use crate::base::json::{self as strict, describe};

/// What a folder's files say, parsed but for `tokenizer.json`.
#[derive(Debug, Default)]
pub struct Files {
    pub config: Value,
    pub tokenizer: Vec<u8>,
    /// `null` if there is none.
    pub tokenizer_config: Value,
    pub special_tokens_map: Option<Value>,
    pub added_tokens: Option<Value>,
}

/// What became of them.
#[derive(Debug)]
pub struct Assembled {
    pub tokenizer: Value,
    /// The special tokens by the names that a chat template knows them by.
    pub named: BTreeMap<String, String>,
    /// The class that has put pieces of its own in the place of the file's.
    pub rebuilt: Option<&'static str>,
}

/// Puts the files together for a model with this many rows of embedding.
pub fn assemble(files: &Files, vocabulary: u32) -> Result<Assembled, TokenizerError> {
    refuse_unsupported(&files.tokenizer_config)?;
    let mut tokenizer = strict::parse(&files.tokenizer, TOKENIZER_MAX)?;
    let class = Class::of(&files.config, &files.tokenizer_config, &files.tokenizer)?;
    let (special, added) = (files.special_tokens_map.as_ref(), files.added_tokens.as_ref());
    let mut stated = Stated::read(&files.tokenizer_config, special, added, &tokenizer)?;
    stated.with_defaults(class.defaults());
    let words = Words::of(&tokenizer);
    let mut own = Added::default();
    listed(&tokenizer).into_iter().for_each(|token| own.add(token, &words));
    let mut all = if class == Class::Plain { own.clone() } else { Added::default() };
    all.add_stated(class, &stated, &words, vocabulary);
    let begin = stated.named().find(|(name, _)| *name == "bos_token").map(|(_, token)| token.text().to_owned());
    let begin = begin.and_then(|text| Some((all.id(&text, &words)?, text)));
    if all != own {
        tokenizer["added_tokens"] = all.to_json();
    }
    let rebuilt = class.rebuild(&mut tokenizer, &files.tokenizer_config, &stated)?;
    if let Some(own) = class.post_processor(begin.as_ref().map(|(id, text)| (text.as_str(), *id))) {
        tokenizer["post_processor"] = own;
    }
    let named = stated.named().map(|(name, token)| (name.to_owned(), token.text().to_owned())).collect();
    Ok(Assembled { tokenizer, named, rebuilt: rebuilt.then(|| class.name()) })
}

/// What would change ids and is not followed.
fn refuse_unsupported(config: &Value) -> Result<(), TokenizerError> {
    let refused = |key: &'static str, reason: &str| TokenizerError::Field { key, reason: reason.to_owned() };
    if config.get("split_special_tokens") == Some(&json!(true)) {
        return Err(refused("split_special_tokens", "special tokens that are split as text are not supported"));
    }
    let other = |file: &Value| *file != json!("tokenizer.json");
    match config
        .get("fast_tokenizer_files")
        .and_then(Value::as_array)
        .and_then(|files| files.iter().find(|one| other(one)))
    {
        Some(file) => Err(refused(
            "fast_tokenizer_files",
            &format!("{} for some versions of transformers: only tokenizer.json is read", describe(file)),
        )),
        None => Ok(()),
    }
}

/// The tokens that `tokenizer.json` adds, in its order. What is no token is for the tokenizer's own reader to refuse.
fn listed(tokenizer: &Value) -> Vec<AddedToken> {
    let tokens = tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    tokens.filter_map(|token| serde_json::from_value(token.clone()).ok()).collect()
}

/// The model's vocabulary.
struct Words<'a> {
    ids: HashMap<&'a str, u32>,
}

impl<'a> Words<'a> {
    /// A map from pieces to ids, or a list of pieces with their scores.
    fn of(tokenizer: &'a Value) -> Self {
        let ids = match tokenizer.pointer("/model/vocab") {
            Some(Value::Object(map)) => {
                let id = |(word, id): (&'a String, &Value)| Some((word.as_str(), u32::try_from(id.as_u64()?).ok()?));
                map.iter().filter_map(id).collect()
            }
            Some(Value::Array(list)) => {
                let word = |(index, entry): (usize, &'a Value)| {
                    let word = entry.as_str().or_else(|| entry.get(0)?.as_str())?;
                    Some((word, u32::try_from(index).ok()?))
                };
                list.iter().enumerate().filter_map(word).collect()
            }
            _ => HashMap::new(),
        };
        Self { ids }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }
}

/// Tokens beside the vocabulary with their ids, given as the `tokenizers` library gives them: the id of the piece that is
/// written alike, else the next free one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Added {
    ids: HashMap<String, u32>,
    tokens: BTreeMap<u32, AddedToken>,
}

impl Added {
    fn id(&self, text: &str, words: &Words) -> Option<u32> {
        self.ids.get(text).or_else(|| words.ids.get(text)).copied()
    }

    fn next(&self, words: &Words) -> u32 {
        let behind = self.tokens.keys().next_back().filter(|&&last| last >= words.count() || words.count() == 0);
        behind.map_or(words.count(), |&last| last.saturating_add(1))
    }

    /// A token that is there already gets the flags of this one.
    fn add(&mut self, token: AddedToken, words: &Words) {
        if token.content.is_empty() {
            return;
        }
        let id = self.id(&token.content, words).unwrap_or_else(|| self.next(words));
        self.ids.insert(token.content.clone(), id);
        self.tokens.insert(id, token);
    }

    /// What `TokenizersBackend.__init__` adds: the tokens that the files list, then the special ones that are not among
    /// them. A special token for which the model has no row of embedding is left out: it could not be computed.
    fn add_stated(&mut self, class: Class, stated: &Stated, words: &Words, vocabulary: u32) {
        let names: BTreeSet<&str> = stated.named().map(|(_, token)| token.text()).collect();
        let known: BTreeSet<String> =
            self.ids.keys().cloned().chain(stated.added.values().map(|token| token.content.clone())).collect();
        let mut more: Vec<&Token> = Vec::new();
        for token in stated.named().map(|(_, token)| token).chain(stated.extra()) {
            if !known.contains(token.text()) && !more.contains(&token) {
                more.push(token);
            }
        }
        for token in stated.added.values() {
            let special = token.special || names.contains(token.content.as_str());
            self.add(token.clone().special(special), words);
        }
        let fits = |added: &Self, text: &str| added.id(text, words).unwrap_or_else(|| added.next(words)) < vocabulary;
        for token in more.into_iter().cloned().map(Token::added) {
            let special = token.special || names.contains(token.content.as_str());
            if fits(self, &token.content) {
                self.add(token.special(special), words);
            }
        }
        let special = stated.named().map(|(_, token)| token).chain(stated.extra());
        for text in special.map(Token::text).filter(|_| class.adds_plainly()) {
            if fits(self, text) {
                self.add(AddedToken::from(text, true), words);
            }
        }
    }

    fn to_json(&self) -> Value {
        let token = |(id, token): (&u32, &AddedToken)| {
            json!({"id": id, "content": token.content, "single_word": token.single_word, "lstrip": token.lstrip,
                   "rstrip": token.rstrip, "normalized": token.normalized, "special": token.special})
        };
        self.tokens.iter().map(token).collect()
    }
}
