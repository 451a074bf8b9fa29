//! How long a tokenizer may make a text. Whoever made a base chose its normalizer: 23 times `a` for `aa` would make eight
//! million bytes of one letter. So a text goes through it part by part, and ends where the next part could make it too
//! long; what a tokenizer does to the text later, and to what it decodes, may grow it by a small factor only.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use super::TokenizerError;
use super::charsmap::Charsmap;

/// Bytes of a text at any point of its way: sixteen times the longest chat. Each takes some twenty of memory.
const TEXT_MAX: usize = 64 << 20;

/// Bytes that may become of one letter, and of the text of an added token: what a tokenizer puts before a text is short.
const SHORT_MAX: usize = 64 << 10;

/// How often pre-tokenizers and decoders may double a text.
const DOUBLINGS_MAX: u32 = 4;

/// The most that one character becomes by a form of Unicode, in bytes for each of its own.
const UNICODE: usize = 11;

/// A normalizer as the parts that act one after the other.
#[derive(Clone, Debug, Default)]
pub struct Steps(Vec<Step>);

#[derive(Clone, Debug)]
struct Step {
    part: NormalizerWrapper,
    /// A text of `n` bytes has at most `times * n + plus` after it.
    times: usize,
    plus: usize,
}

impl Steps {
    /// Of a `normalizer` of `tokenizer.json`.
    pub fn new(normalizer: Option<&Value>) -> Result<Self, TokenizerError> {
        let mut steps = Vec::new();
        if let Some(normalizer) = normalizer.filter(|normalizer| !normalizer.is_null()) {
            let invalid = |error: serde_json::Error| TokenizerError::Invalid(error.to_string());
            let whole: NormalizerWrapper = serde_json::from_value(normalizer.clone()).map_err(invalid)?;
            collect(whole, &mut steps)?;
        }
        Ok(Self(steps))
    }

    /// Takes a text through all parts.
    pub fn run(&self, text: &mut NormalizedString, max: usize) -> Result<(), TokenizerError> {
        for Step { part, times, plus } in &self.0 {
            let most = text.len().saturating_mul(*times).saturating_add(*plus);
            if most > max {
                let len = text.len();
                return Err(TokenizerError::Encode(format!(
                    "its normalizer could make more than {max} bytes of {len}"
                )));
            }
            part.normalize(text).map_err(|error| TokenizerError::Encode(error.to_string()))?;
        }
        Ok(())
    }

    /// A text that is looked up, or put in front of another, stays short.
    pub fn check_short(&self, text: &str) -> Result<(), TokenizerError> {
        let grown = self.run(&mut NormalizedString::from(text), SHORT_MAX);
        grown.map_err(|error| TokenizerError::Invalid(error.to_string()))
    }
}

/// The parts of a normalizer, which may be sequences of sequences.
fn collect(normalizer: NormalizerWrapper, steps: &mut Vec<Step>) -> Result<(), TokenizerError> {
    let written = |part: &NormalizerWrapper| serde_json::to_value(part).unwrap_or_default();
    let (times, plus) = match &normalizer {
        NormalizerWrapper::Sequence(sequence) => {
            return sequence.as_ref().iter().try_for_each(|part| collect(part.clone(), steps));
        }
        NormalizerWrapper::Replace(replace) => {
            (replaced(&written(&normalizer), replace.content.len()), replace.content.len())
        }
        NormalizerWrapper::Prepend(prepend) => (1, prepend.prepend.len()),
        NormalizerWrapper::Precompiled(_) => (1 + Charsmap::of(&written(&normalizer))?.longest(), 0),
        NormalizerWrapper::NFC(_)
        | NormalizerWrapper::NFD(_)
        | NormalizerWrapper::NFKC(_)
        | NormalizerWrapper::NFKD(_) => (UNICODE, 0),
        // Blanks around characters, other cases, two bytes for each that is none of ASCII's.
        NormalizerWrapper::BertNormalizer(_) | NormalizerWrapper::Lowercase(_) | NormalizerWrapper::ByteLevel(_) => {
            (3, 0)
        }
        NormalizerWrapper::StripNormalizer(_) | NormalizerWrapper::StripAccents(_) | NormalizerWrapper::Nmt(_) => {
            (1, 0)
        }
    };
    steps.push(Step { part: normalizer, times, plus });
    Ok(())
}

/// What a text may become, times its length, if each match of a pattern becomes so many bytes.
fn replaced(written: &Value, content: usize) -> usize {
    // A pattern of another kind may match anywhere, between two characters too.
    let pattern = written.pointer("/pattern/String").and_then(Value::as_str).map_or(0, str::len);
    1 + content.div_ceil(pattern.max(1))
}

/// That nothing else of a `tokenizer.json` makes a text many times as long: neither what acts behind the normalizer, nor
/// what makes text of tokens.
pub fn check_rest(json: &Value) -> Result<(), TokenizerError> {
    for name in ["pre_tokenizer", "decoder"] {
        if json.get(name).map_or(0, doublings) > DOUBLINGS_MAX {
            return Err(TokenizerError::Invalid(format!("its `{name}` could make a text many times as long")));
        }
    }
    Ok(())
}

/// How often the parts together may double a text.
fn doublings(part: &Value) -> u32 {
    let content = |name: &str| part.get(name).and_then(Value::as_str).map_or(0, str::len);
    let own = match part.get("type").and_then(Value::as_str) {
        Some("ByteLevel") => 1,
        // One character for another, of at most four bytes.
        Some("Metaspace") => 2,
        Some("Replace") => replaced(part, content("content")).ilog2(),
        Some("WordPiece") => content("prefix").max(1).ilog2(),
        _ => 0,
    };
    let parts = ["pretokenizers", "decoders"].iter().filter_map(|list| part.get(*list)?.as_array()).flatten();
    parts.fold(own, |sum, part| sum.saturating_add(doublings(part)))
}

/// A normalizer that stops. Whoever finds the added tokens of a text takes no error of it: it is asked for afterwards.
pub struct Bounded<'a> {
    steps: &'a Steps,
    failed: Mutex<Option<TokenizerError>>,
}

impl<'a> Bounded<'a> {
    pub fn new(steps: &'a Steps) -> Self {
        Self { steps, failed: Mutex::new(None) }
    }

    /// What became of all texts that went through it.
    pub fn finish(self) -> Result<(), TokenizerError> {
        self.failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

impl Normalizer for Bounded<'_> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        if let Err(error) = self.steps.run(text, TEXT_MAX) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        Ok(())
    }
}

/// Takes a text through a normalizer.
pub fn normalize(steps: &Steps, text: &str) -> Result<NormalizedString, TokenizerError> {
    let mut normalized = NormalizedString::from(text);
    steps.run(&mut normalized, TEXT_MAX)?;
    Ok(normalized)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replace(pattern: &str, content: &str) -> Value {
        json!({"type": "Replace", "pattern": {"String": pattern}, "content": content})
    }

    fn sequence(parts: Vec<Value>) -> Value {
        json!({"type": "Sequence", "normalizers": parts})
    }

    #[test]
    fn a_normalizer_that_doubles_a_text_again_and_again_is_stopped() {
        for bomb in [
            sequence(vec![replace("a", "aa"); 23]),
            sequence(vec![sequence(vec![replace("a", "aa"); 12]); 2]),
            replace("a", &"a".repeat(1 << 20)),
            sequence(vec![json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": "aaaa"}); 23]),
            json!({"type": "Prepend", "prepend": "a".repeat(1 << 20)}),
        ] {
            let steps = Steps::new(Some(&bomb)).unwrap();
            let error = steps.check_short("a").unwrap_err().to_string();
            assert!(error.contains("could make more than"), "{error}");
        }
        // Each part by itself is harmless: the text ends before the one that would be too much.
        let steps = Steps::new(Some(&sequence(vec![replace("b", "bbbb"); 20]))).unwrap();
        steps.check_short("a").unwrap();
        let mut text = NormalizedString::from("bbbb");
        assert!(matches!(steps.run(&mut text, 4096), Err(TokenizerError::Encode(_))));
        assert_eq!(text.len(), 1024, "no longer than it may be");
        let steps = Steps::new(Some(&replace("b", &"b".repeat(1 << 20)))).unwrap();
        let bounded = Bounded::new(&steps);
        bounded.normalize(&mut NormalizedString::from("b".repeat(100))).unwrap();
        assert!(matches!(bounded.finish(), Err(TokenizerError::Encode(_))));
        assert!(normalize(&steps, &"b".repeat(100)).is_err() && normalize(&steps, "c").is_ok());
    }

    #[test]
    fn the_normalizers_in_use_take_the_longest_texts() {
        let llama = sequence(vec![json!({"type": "Prepend", "prepend": "\u{2581}"}), replace(" ", "\u{2581}")]);
        let qwen = json!({"type": "NFC"});
        let text = "a b ".repeat(1 << 18);
        for (normalizer, first) in [(llama, "\u{2581}a\u{2581}b"), (qwen, "a b")] {
            let steps = Steps::new(Some(&normalizer)).unwrap();
            steps.check_short("a").unwrap();
            assert!(normalize(&steps, &text).unwrap().get().starts_with(first), "{normalizer}");
        }
        assert!(Steps::new(None).unwrap().0.is_empty() && Steps::new(Some(&Value::Null)).unwrap().0.is_empty());
    }

    #[test]
    fn what_grows_a_text_behind_the_normalizer_is_refused() {
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let split = json!({"type": "Sequence", "pretokenizers": [{"type": "Split"}, byte_level]});
        let decoders = json!({"type": "Sequence", "decoders": [replace("\u{2581}", " "), {"type": "Fuse"}]});
        assert!(check_rest(&json!({"pre_tokenizer": split, "decoder": decoders})).is_ok());
        let many = json!({"type": "Sequence", "pretokenizers": vec![byte_level; 24]});
        assert!(check_rest(&json!({"pre_tokenizer": many})).is_err());
        let grows = json!({"type": "Sequence", "decoders": vec![replace("a", "aa"); 23]});
        assert!(check_rest(&json!({"decoder": grows})).is_err());
    }
}
