//! The tokenizer of a folder as transformers 5.24.0 puts it together from all its files: one `tokenizer.json` that, read by
//! itself, gives the same ids. Where nothing of it changes it is the file's own, value for value.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use super::class::Class;
use super::guard::{check_sizes, guarded};
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
    guarded(|| put_together(files, vocabulary))
}

fn put_together(files: &Files, vocabulary: u32) -> Result<Assembled, TokenizerError> {
    refuse_unsupported(&files.tokenizer_config)?;
    let parsed = strict::parse(&files.tokenizer, TOKENIZER_MAX)?;
    check_sizes(&parsed)?;
    let Value::Object(mut tokenizer) = parsed else {
        return Err(TokenizerError::Invalid("the file is no JSON object".to_owned()));
    };
    let class = Class::of(&files.config, &files.tokenizer_config, &files.tokenizer)?;
    let (special, added) = (files.special_tokens_map.as_ref(), files.added_tokens.as_ref());
    let mut stated = Stated::read(&files.tokenizer_config, special, added, &tokenizer)?;
    stated.with_defaults(class.defaults());
    let words = Words::of(&tokenizer, vocabulary);
    let mut own = Added::default();
    listed(&tokenizer).into_iter().for_each(|token| own.add(token, &words));
    let mut all = if class == Class::Plain { own.clone() } else { Added::default() };
    all.add_stated(class, &stated, &own, &words);
    let begin = stated.named().find(|(name, _)| *name == "bos_token").map(|(_, token)| token.text().to_owned());
    let begin = begin.and_then(|text| Some((all.id(&text, &words)?, text)));
    if all != own {
        tokenizer.insert("added_tokens".to_owned(), all.to_json());
    }
    let rebuilt = class.rebuild(&mut tokenizer, &files.tokenizer_config, &stated)?;
    if let Some(own) = class.post_processor(begin.as_ref().map(|(id, text)| (text.as_str(), *id))) {
        tokenizer.insert("post_processor".to_owned(), own);
    }
    let named = stated.named().map(|(name, token)| (name.to_owned(), token.text().to_owned())).collect();
    Ok(Assembled { tokenizer: Value::Object(tokenizer), named, rebuilt: rebuilt.then(|| class.name()) })
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
fn listed(tokenizer: &Map<String, Value>) -> Vec<AddedToken> {
    let tokens = tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    tokens.filter_map(|token| serde_json::from_value(token.clone()).ok()).collect()
}

/// The model's vocabulary.
struct Words<'a> {
    ids: HashMap<&'a str, u32>,
    /// Of the model's embedding.
    rows: u32,
}

impl<'a> Words<'a> {
    /// A map from pieces to ids, or a list of pieces with their scores.
    fn of(tokenizer: &'a Map<String, Value>, rows: u32) -> Self {
        let ids = match tokenizer.get("model").and_then(|model| model.get("vocab")) {
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
        Self { ids, rows }
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

    /// Whether the model has a row of embedding for a token that has this text.
    fn fits(&self, text: &str, words: &Words) -> bool {
        self.id(text, words).unwrap_or_else(|| self.next(words)) < words.rows
    }

    /// What `TokenizersBackend.__init__` adds: the tokens that the files list, then the special ones that are not among
    /// them. A token for which the model has no row of embedding is left out, as it could not be computed, but for those
    /// of `tokenizer.json` itself, which is another model's then.
    fn add_stated(&mut self, class: Class, stated: &Stated, own: &Self, words: &Words) {
        let names: BTreeSet<&str> = stated.named().map(|(_, token)| token.text()).collect();
        let known: HashSet<String> =
            self.ids.keys().cloned().chain(stated.added.values().map(|token| token.content.clone())).collect();
        let mut seen = HashSet::new();
        let more = stated.special().filter(|token| !known.contains(token.text()) && seen.insert(*token));
        for token in stated.added.values().cloned().chain(more.cloned().map(Token::added)) {
            let special = token.special || names.contains(token.content.as_str());
            if own.ids.contains_key(&token.content) || self.fits(&token.content, words) {
                self.add(token.special(special), words);
            }
        }
        for text in stated.special().map(Token::text).filter(|_| class.adds_plainly()) {
            if self.fits(text, words) {
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

#[cfg(test)]
mod tests {
    use super::super::stated::TOKENS_MAX;
    use super::*;

    /// A tokenizer of three pieces and as many rows.
    fn folder(tokenizer: &Value, tokenizer_config: Value) -> Files {
        Files { tokenizer: tokenizer.to_string().into_bytes(), tokenizer_config, ..Files::default() }
    }

    fn pieces() -> Value {
        json!({"added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                                 "normalized": false, "special": true}],
               "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2}, "merges": []}})
    }

    fn added(files: &Files) -> Vec<(u64, String)> {
        let tokenizer = assemble(files, 3).unwrap().tokenizer;
        let tokens = tokenizer["added_tokens"].as_array().unwrap();
        let token = |token: &Value| (token["id"].as_u64().unwrap(), token["content"].as_str().unwrap().to_owned());
        tokens.iter().map(token).collect()
    }

    #[test]
    fn a_listed_token_without_a_row_is_left_out() {
        let listed = |id: &str, content: &str| json!({id: {"content": content, "special": true}});
        let alone = [(0, "<s>".to_owned())];
        for class in ["PreTrainedTokenizerFast", "LlamaTokenizer"] {
            let config = json!({"tokenizer_class": class, "unk_token": null, "eos_token": null, "pad_token": "<pad>"});
            let files = Files { added_tokens: Some(json!({"<pad>": 3})), ..folder(&pieces(), config.clone()) };
            assert_eq!(added(&files), alone, "{class}");
            let mut config = config;
            config["added_tokens_decoder"] = listed("3", "<pad>");
            config["added_tokens_decoder"]["0"] = json!({"content": "<s>", "special": true});
            assert_eq!(added(&folder(&pieces(), config)), alone, "{class}");
        }
        let files = folder(&pieces(), json!({"added_tokens_decoder": listed("7", "b")}));
        assert_eq!(added(&files)[1], (2, "b".to_owned()), "the id of the piece, whatever is stated");
        // What the file itself has is refused by its reader.
        let mut own = pieces();
        own["added_tokens"].as_array_mut().unwrap().push(json!({"id": 3, "content": "<pad>", "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true}));
        let config = json!({"tokenizer_class": "LlamaTokenizer", "unk_token": null, "eos_token": null});
        for config in [Value::Null, config] {
            assert_eq!(added(&folder(&own, config))[1], (3, "<pad>".to_owned()));
        }
    }

    #[test]
    fn a_file_that_is_no_object_is_refused() {
        for tokenizer in [json!([]), json!(1), json!("x"), Value::Null] {
            for config in [json!({"bos_token": "x"}), json!({"tokenizer_class": "LlamaTokenizer"}), Value::Null] {
                let error = assemble(&folder(&tokenizer, config.clone()), 3).unwrap_err();
                assert!(matches!(error, TokenizerError::Invalid(_)), "{tokenizer}, {config}: {error}");
            }
        }
    }

    /// As many as are taken come to an end, one more is too many.
    #[test]
    fn the_files_state_a_bounded_number_of_tokens() {
        let texts = |count: usize| (0..count).map(|one| format!("<{one}>")).collect::<Vec<_>>();
        let config = json!({"additional_special_tokens": texts(TOKENS_MAX / 2)});
        let ids: Map<_, _> =
            texts(TOKENS_MAX / 2).into_iter().zip(3u32..).map(|(text, id)| (text, json!(id))).collect();
        // `<s>` of tokenizer.json is among the listed ones.
        let files = Files { added_tokens: Some(Value::Object(ids)), ..folder(&pieces(), config.clone()) };
        let error = assemble(&files, u32::MAX).unwrap_err().to_string();
        assert!(error.contains(&format!("{} tokens", TOKENS_MAX + 1)), "{error}");
        let all = assemble(&folder(&pieces(), config), u32::MAX).unwrap().tokenizer;
        assert_eq!(all["added_tokens"].as_array().unwrap().len(), TOKENS_MAX / 2 + 1);
    }
}
