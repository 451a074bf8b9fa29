//! Text to ids: a whole text as transformers does it, and a piece that continues another as a part of that text.
//!
//! Many tokenizers put a blank before a text (SentencePiece's dummy prefix: the normalizer `Prepend`, the pre-tokenizer
//! `Metaspace`, `ByteLevel` with `add_prefix_space`). That belongs to the start of a text and not to a piece inside of one:
//! `2+2=` and `4`, each with its prefix, would be `2+2= 4`.

use std::ops::Range;

use serde_json::Value;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

use super::growth::{Bounded, Steps, normalize};
use super::guard::guarded;
use super::{Tokenizer, TokenizerError};

/// A token of its own beside the model's vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddedToken {
    /// What stands for the token in a text.
    pub text: String,
    /// The index of its row in the embedding matrix.
    pub id: u32,
    /// Left out when decoding: it steers the model and is no text.
    pub special: bool,
    /// Takes the blanks behind it into itself.
    pub strips_right: bool,
}

/// Where a piece of text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the start of a text, or wherever the tokenizer is to do what it does with a text of its own.
    Start,
    /// Behind other text.
    Inside,
}

/// Ids and where each of them stands in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The tokens, in the order of the text.
    pub ids: Vec<u32>,
    /// Byte at which the text of each token begins; ascending.
    pub starts: Vec<usize>,
    /// Whether each is an added token that was found as such.
    pub added: Vec<bool>,
}

impl Encoded {
    /// Appends what was encoded of a text that begins at byte `at`.
    pub fn append(&mut self, other: Self, at: usize) {
        self.ids.extend(other.ids);
        self.starts.extend(other.starts.iter().map(|start| start + at));
        self.added.extend(other.added);
    }

    /// Puts these tokens in the place of those of `range`.
    pub fn replace(&mut self, range: Range<usize>, with: Self, at: usize) {
        self.ids.splice(range.clone(), with.ids);
        self.starts.splice(range.clone(), with.starts.iter().map(|start| start + at));
        self.added.splice(range, with.added);
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The first token whose text begins at byte `at` or later.
    pub fn index_at(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start < at)
    }
}

/// Normalizer and pre-tokenizer without what they put before a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Bare {
    normalizer: Steps,
    pre_tokenizer: Option<PreTokenizerWrapper>,
}

impl Bare {
    /// Of a parsed `tokenizer.json`.
    pub fn new(json: &Value) -> Result<Self, TokenizerError> {
        let invalid = |error: serde_json::Error| TokenizerError::Invalid(error.to_string());
        let normalizer = json.get("normalizer").and_then(without_prefix);
        let pre_tokenizer = json.get("pre_tokenizer").and_then(without_prefix);
        Ok(Self {
            normalizer: Steps::new(normalizer.as_ref())?,
            pre_tokenizer: pre_tokenizer.map(serde_json::from_value).transpose().map_err(invalid)?,
        })
    }
}

/// A component as it is inside a text; `None` if nothing of it is left.
fn without_prefix(component: &Value) -> Option<Value> {
    let mut bare = component.clone();
    let fields = bare.as_object_mut()?;
    match fields.get("type").and_then(Value::as_str)? {
        "Prepend" => return None,
        "Metaspace" => {
            fields.remove("add_prefix_space");
            fields.insert("prepend_scheme".to_owned(), "never".into());
        }
        "ByteLevel" => drop(fields.insert("add_prefix_space".to_owned(), false.into())),
        "Strip" => drop(fields.insert("strip_left".to_owned(), false.into())),
        _ => {}
    }
    for list in ["normalizers", "pretokenizers"] {
        if let Some(Value::Array(parts)) = fields.get_mut(list) {
            *parts = parts.iter().filter_map(without_prefix).collect();
        }
    }
    Some(bare)
}

/// What a tokenizer's post-processor puts before a text. What it puts behind one is no part of a prompt.
pub(super) fn prefix(inner: &tokenizers::Tokenizer) -> Result<Vec<u32>, TokenizerError> {
    let ids = |special| inner.encode("a", special).map(|encoding| encoding.get_ids().to_vec()).map_err(failed);
    let (plain, around) = (ids(false)?, ids(true)?);
    let at = around.windows(plain.len().max(1)).position(|part| part == plain).unwrap_or_default();
    Ok(around[..at].to_vec())
}

impl Tokenizer {
    /// Tokens that are found in a text before it is split.
    pub fn added_tokens(&self) -> Vec<AddedToken> {
        let tokens = self.inner.get_added_tokens_decoder().into_iter();
        let mut tokens: Vec<_> = tokens
            .filter(|(_, token)| !token.content.is_empty())
            .map(|(id, token)| AddedToken {
                text: token.content,
                id,
                special: token.special,
                strips_right: token.rstrip,
            })
            .collect();
        tokens.sort();
        tokens
    }

    /// Ids of a prompt: with what this tokenizer puts before a text, unless the text begins with that itself.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.encode(text, Place::Start)?.ids;
        Ok(if self.begins_itself(&ids) { ids } else { [self.prefix.as_slice(), &ids].concat() })
    }

    /// Whether ids of a text begin with what this tokenizer would put before it.
    pub fn begins_itself(&self, ids: &[u32]) -> bool {
        !self.prefix.is_empty() && ids.starts_with(&self.prefix)
    }

    /// Whether this tokenizer puts that token before a text.
    pub fn begins(&self, id: u32) -> bool {
        self.prefix.contains(&id)
    }

    /// What this tokenizer puts before a text, as it is written.
    pub fn begin_text(&self) -> Option<String> {
        self.decode_all(&self.prefix).ok().filter(|text| !text.is_empty())
    }

    /// A prompt and what follows it, and whether they hold together: the ids of the prompt are those that generation
    /// starts from, and where a token of the whole text would reach over the border, the rest is encoded apart.
    pub fn encode_joined(&self, prompt: &str, rest: &str) -> Result<Joined, TokenizerError> {
        let before = self.encode_prompt(prompt)?;
        let whole = self.encode_prompt(&format!("{prompt}{rest}"))?;
        let from = before.len();
        if whole.starts_with(&before) {
            return Ok(Joined { ids: whole, from, apart: false });
        }
        let place = if before.len() > self.prefix.len() { Place::Inside } else { Place::Start };
        let rest = if self.strips_right(before.last()) { rest.trim_start() } else { rest };
        let ids = [before, self.encode(rest, place)?.ids].concat();
        Ok(Joined { ids, from, apart: true })
    }

    /// Whether this token takes the blanks behind it into itself.
    pub fn strips_right(&self, id: Option<&u32>) -> bool {
        let token = id.and_then(|id| self.inner.get_added_tokens_decoder().remove(id));
        token.is_some_and(|token| token.rstrip)
    }

    /// Ids of a text that stands there; nothing is put before or behind it as a whole.
    pub fn encode(&self, text: &str, place: Place) -> Result<Encoded, TokenizerError> {
        guarded(|| self.encode_with_added(text, place))
    }

    fn encode_with_added(&self, text: &str, place: Place) -> Result<Encoded, TokenizerError> {
        let mut encoded = Encoded::default();
        let bounded = Bounded::new(&self.steps);
        let mut split = self.inner.get_added_vocabulary().extract_and_normalize(Some(&bounded), text);
        bounded.finish()?;
        let first = split.get_splits(OffsetReferential::Original, OffsetType::Byte).into_iter().next();
        let first = first.filter(|(_, _, tokens)| tokens.is_none()).map(|(_, (_, end), _)| end);
        // Only the text before the first added token is inside of something: behind such a token the tokenizer does
        // what it does there in a whole text too.
        if let (Place::Inside, Some(end)) = (place, first) {
            encoded.append(self.encode_without_added(&text[..end], Place::Inside)?, 0);
            encoded.append(self.encode_with_added(&text[end..], Place::Start)?, end);
            return Ok(encoded);
        }
        let added = added_spans(&split);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut split).map_err(failed)?;
        }
        self.finish(split, &added)
    }

    /// Ids of a text in which no added token is found.
    ///
    /// Whoever puts other people's words into a chat needs this: a message that says `<|im_end|>` must not end its turn.
    pub fn encode_verbatim(&self, text: &str, place: Place) -> Result<Encoded, TokenizerError> {
        guarded(|| self.encode_without_added(text, place))
    }

    fn encode_without_added(&self, text: &str, place: Place) -> Result<Encoded, TokenizerError> {
        let (steps, pre_tokenizer) = match place {
            Place::Start => (&self.steps, self.inner.get_pre_tokenizer()),
            Place::Inside => (&self.bare.normalizer, self.bare.pre_tokenizer.as_ref()),
        };
        let mut split = PreTokenizedString::from(normalize(steps, text)?);
        if let Some(pre_tokenizer) = pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut split).map_err(failed)?;
        }
        self.finish(split, &[])
    }

    fn finish(&self, mut split: PreTokenizedString, added: &[Range<usize>]) -> Result<Encoded, TokenizerError> {
        split.tokenize(|piece| self.inner.get_model().tokenize(piece.get())).map_err(failed)?;
        let encoding = split.into_encoding(None, 0, OffsetType::Byte).map_err(failed)?;
        let starts: Vec<usize> = encoding.get_offsets().iter().map(|&(start, _)| start).collect();
        let is_added = |start: &usize| added.binary_search_by_key(start, |span| span.start).is_ok();
        Ok(Encoded { ids: encoding.get_ids().to_vec(), added: starts.iter().map(is_added).collect(), starts })
    }

    /// The text of `ids` behind `before`, as it stands in the text of both together, without special tokens.
    pub fn decode_behind(&self, before: &[u32], ids: &[u32]) -> Result<String, TokenizerError> {
        behind(before, ids, |ids| self.decode(ids))
    }

    /// The same with special tokens as they are written.
    pub fn decode_all_behind(&self, before: &[u32], ids: &[u32]) -> Result<String, TokenizerError> {
        behind(before, ids, |ids| self.decode_all(ids))
    }
}

fn behind(
    before: &[u32],
    ids: &[u32],
    decode: impl Fn(&[u32]) -> Result<String, TokenizerError>,
) -> Result<String, TokenizerError> {
    let whole = decode(&[before, ids].concat())?;
    // A character that both have a part of is seen as a replacement character: then the ids speak for themselves.
    match whole.strip_prefix(decode(before)?.as_str()) {
        Some(text) => Ok(text.to_owned()),
        None => decode(ids),
    }
}

/// A prompt with what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The tokens of both, one behind the other.
    pub ids: Vec<u32>,
    /// How many of them are the prompt's.
    pub from: usize,
    /// Whether a token of the whole text would have reached over the border.
    pub apart: bool,
}

fn added_spans(split: &PreTokenizedString) -> Vec<Range<usize>> {
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte).into_iter();
    splits.filter(|(_, _, tokens)| tokens.is_some()).map(|(_, (start, end), _)| start..end).collect()
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small;

    #[test]
    fn without_added_tokens_both_ways_agree() {
        let tokenizer = small::tokenizer();
        for place in [Place::Start, Place::Inside] {
            assert_eq!(tokenizer.encode_verbatim("abcab", place).unwrap(), tokenizer.encode("abcab", place).unwrap());
        }
        assert!(tokenizer.added_tokens().is_empty());
    }
}
