//! Text taken word for word: a special token that is written in it is text like any other.
//!
//! Whoever puts other people's words into a chat needs this: a message that says `<|im_end|>` must not end its turn.

use tokenizers::{Model, OffsetType, PreTokenizedString, PreTokenizer};

use super::{Tokenizer, TokenizerError};

/// A token of its own beside the model's vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddedToken {
    pub text: String,
    pub id: u32,
    /// Left out when decoding: it steers the model and is no text.
    pub special: bool,
}

impl Tokenizer {
    /// Tokens that are found in a text before it is split.
    pub fn added_tokens(&self) -> Vec<AddedToken> {
        let tokens = self.inner.get_added_tokens_decoder().into_iter();
        let mut tokens: Vec<_> = tokens
            .filter(|(_, token)| !token.content.is_empty())
            .map(|(id, token)| AddedToken { text: token.content, id, special: token.special })
            .collect();
        tokens.sort();
        tokens
    }

    /// Ids of a text in which no added token is found.
    pub fn encode_verbatim(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let failed = |error: tokenizers::Error| TokenizerError::Encode(error.to_string());
        let mut normalized = tokenizers::NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            tokenizers::Normalizer::normalize(normalizer, &mut normalized).map_err(failed)?;
        }
        let mut split = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut split).map_err(failed)?;
        }
        split.tokenize(|piece| self.inner.get_model().tokenize(piece.get())).map_err(failed)?;
        let encoding = split.into_encoding(None, 0, OffsetType::Byte).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use crate::base::small;

    #[test]
    fn without_added_tokens_both_ways_agree() {
        let tokenizer = small::tokenizer();
        assert_eq!(tokenizer.encode_verbatim("abcab").unwrap(), tokenizer.encode_continuation("abcab").unwrap());
        assert!(tokenizer.added_tokens().is_empty());
    }
}
