//! The tokenizer library on strangers' files. It is written for files of its own making: at others it panics, while it
//! reads them or only when it meets a certain text. Nothing of it is called but through here.

use serde_json::Value;

use super::TokenizerError;
use super::charsmap::Charsmap;
use crate::strangers;

/// Runs what calls the library. A panic in it is an error of the file that it was made from.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, TokenizerError>) -> Result<T, TokenizerError> {
    strangers::catch(work).unwrap_or_else(|words| Err(TokenizerError::Library(words)))
}

/// Sizes that a file states and the library believes: those of character maps, wherever in the normalizer they are.
pub fn check_sizes(tokenizer: &Value) -> Result<(), TokenizerError> {
    tokenizer.get("normalizer").map_or(Ok(()), check_piece)
}

fn check_piece(piece: &Value) -> Result<(), TokenizerError> {
    match piece {
        Value::Object(fields) => {
            if Charsmap::is_in(piece) {
                Charsmap::of(piece)?;
            }
            fields.values().try_for_each(check_piece)
        }
        Value::Array(parts) => parts.iter().try_for_each(check_piece),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Place, Tokenizer};
    use super::*;
    use crate::base::config::SpecialTokens;
    use crate::base::small::TOKENIZER;

    fn with(part: &str, value: Value) -> Result<Tokenizer, TokenizerError> {
        let mut json: Value = serde_json::from_str(TOKENIZER).unwrap();
        json[part] = value;
        Tokenizer::from_json(json.to_string().as_bytes(), SpecialTokens { bos: None, eos: vec![0] }, 6)
    }

    /// Each of them panics within the library, by itself.
    #[test]
    fn what_the_library_panics_at_is_an_error_of_the_file() {
        let special = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
        let second = json!({"Sequence": {"id": "B", "type_id": 0}});
        let template =
            |single: Value| json!({"type": "TemplateProcessing", "single": [single], "pair": [], "special_tokens": {}});
        for (part, value) in [
            ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "no base64"})),
            ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"})),
            ("post_processor", template(special)),
            ("post_processor", template(second)),
            ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        ] {
            assert!(with(part, value.clone()).is_err(), "{part}: {value}");
        }
    }

    /// It is seen only at a text.
    #[test]
    fn a_decoder_that_panics_is_an_error_of_its_text() {
        let tokenizer = with("decoder", json!({"type": "Strip", "content": "a", "start": 0, "stop": 9})).unwrap();
        let ids = tokenizer.encode("aa", Place::Start).unwrap().ids;
        assert!(matches!(tokenizer.decode(&ids), Err(TokenizerError::Library(_))));
    }

    #[test]
    fn a_character_map_is_not_larger_than_its_bytes_wherever_it_is() {
        // 2^32 - 4 bytes of trie, in six bytes.
        let error = with(
            "normalizer",
            json!({"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": "/P///wAA"}]}),
        );
        assert!(matches!(error, Err(TokenizerError::Field { key: "precompiled_charsmap", .. })));
    }
}
