//! The table of a `Precompiled` normalizer: the length of a trie, the trie, and the texts that it leads to, each ended by a
//! zero; all of it in base64. The library believes the length, and reserves 8 GiB for a table of a few bytes.

use serde_json::Value;

use super::TokenizerError;

/// The field of a normalizer that holds it.
const FIELD: &str = "precompiled_charsmap";

/// A table that is as long as it states.
pub struct Charsmap {
    /// What follows the trie.
    texts: Vec<u8>,
}

impl Charsmap {
    /// Whether a normalizer has one.
    pub fn is_in(normalizer: &Value) -> bool {
        normalizer.get(FIELD).is_some_and(Value::is_string)
    }

    /// Of a normalizer that has one.
    pub fn of(normalizer: &Value) -> Result<Self, TokenizerError> {
        Self::read(normalizer.get(FIELD).and_then(Value::as_str).unwrap_or_default())
    }

    /// From base64.
    fn read(text: &str) -> Result<Self, TokenizerError> {
        let wrong = |reason: &str| TokenizerError::Field { key: FIELD, reason: reason.to_owned() };
        let table = from_base64(text).ok_or_else(|| wrong("it is no base64"))?;
        let short = || wrong("it is shorter than the trie that it states");
        let (trie, rest) = table.split_first_chunk::<4>().ok_or_else(short)?;
        let texts = rest.get(u32::from_le_bytes(*trie) as usize..).ok_or_else(short)?;
        Ok(Self { texts: texts.to_vec() })
    }

    /// Bytes of its longest text.
    pub fn longest(&self) -> usize {
        self.texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0)
    }
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_of_a_table_is_found() {
        // A trie of four bytes, then `ab`, `` and `abcde`.
        let base64 = "BAAAAAAAAABhYgAAYWJjZGUA";
        assert_eq!(from_base64(base64).unwrap(), b"\x04\0\0\0\0\0\0\0ab\0\0abcde\0");
        assert_eq!(Charsmap::read(base64).unwrap().longest(), 5);
        assert_eq!(Charsmap::read("BAAAAAAAAAA=").unwrap().longest(), 0, "no text");
    }

    #[test]
    fn a_table_is_not_longer_than_its_bytes() {
        // 2^32 - 4 bytes of trie, in six bytes; one byte more than there are; no length; no base64.
        for wrong in ["/P///wAA", "/////w==", "BQAAAAAAAAA=", "AAA", "", "no base64"] {
            let error = Charsmap::read(wrong).err();
            assert!(matches!(error, Some(TokenizerError::Field { key: FIELD, .. })), "{wrong}");
        }
    }
}
