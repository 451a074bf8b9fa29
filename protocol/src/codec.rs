//! The one file that names bincode: canonical bytes of every wire and disk type.
//!
//! Goals: one value has one encoding, and every other byte string is refused; what a decoder allocates is bounded by the
//! bytes that it was given and not by the counts that stand in them. Non-goals: to be self-describing, or readable without
//! this crate.
//!
//! The bounds: what is kept is a small multiple of the bytes. Before that turns out, a text of a stated length may take
//! 64 KiB if the bytes are few and [`DECODE_MAX`] if they are many, and each list that is being read (at most four within
//! each other) 1 MiB: so much serde reserves by a stated count. Whatever was reserved in vain is given back at once.
//!
//! The fixed-width integer form is used because bincode's variable-length form accepts several encodings of one
//! number. The crate is unmaintained upstream; golden vectors (`tests/vectors/`) pin the format, and
//! `docs/decisions/0002-bincode.md` names the way out.

use std::io::{self, Write};

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{DECODE_MAX, TAGS_MAX};

const CONFIG: Configuration<LittleEndian, Fixint, Limit<DECODE_MAX>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<DECODE_MAX>();

/// What most of what comes is no longer than.
const SHORT: usize = 64 << 10;
/// For those: no length in them is believed that is longer.
const SHORT_CONFIG: Configuration<LittleEndian, Fixint, Limit<SHORT>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<SHORT>();

/// A type with a canonical encoding.
pub trait Wire: Serialize + DeserializeOwned {
    /// The type's name in error messages.
    const NAME: &'static str;
    /// The longest encoding, in bytes, that is looked at. At most [`DECODE_MAX`].
    const MAX: usize;

    /// Bounds that the types of the fields cannot say. Runs in [`decode`] and in [`encode`], so that no value that
    /// breaks them comes in or goes out.
    fn check(&self) -> Result<(), Malformed>;
}

/// A type whose variants are a list that grows at its end, so that a later version may say more than this one knows.
pub trait Growing: Wire {
    /// The number of the variant that `bytes` begin with, if a later version has added it. Nothing else is known of them.
    fn later_tag(bytes: &[u8]) -> Option<u32>;
}

/// What came from another node, whose version may be later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// A value that this version knows.
    Known(T),
    /// A variant that a later version has added: its number in the list. Nobody's fault.
    Later(u32),
}

/// A value broke a rule of its type; the text says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// `Ok` if `holds`, else the rule that was broken.
    pub fn unless(holds: bool, rule: impl FnOnce() -> String) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self(rule())) }
    }
}

/// Why bytes are no value of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer than the type allows; the bytes were not looked at.
    #[error("{what}: {len} bytes, at most {max} are allowed")]
    TooLong {
        /// [`Wire::NAME`] of the type.
        what: &'static str,
        /// Bytes that there are.
        len: usize,
        /// [`Wire::MAX`] of the type.
        max: usize,
    },
    /// The bytes end too soon, or a tag or text in them is none.
    #[error("{what}: {reason}")]
    Undecodable {
        /// [`Wire::NAME`] of the type.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A whole value, and more bytes behind it.
    #[error("{what}: {extra} bytes follow the end of the value")]
    TrailingBytes {
        /// [`Wire::NAME`] of the type.
        what: &'static str,
        /// How many.
        extra: usize,
    },
    /// Another encoding of the value than the one that [`encode`] makes.
    #[error("{what}: the bytes are not the canonical encoding of the value that they hold")]
    NotCanonical {
        /// [`Wire::NAME`] of the type.
        what: &'static str,
    },
    /// A value that breaks a bound of its type.
    #[error("{what}: {rule}")]
    Malformed {
        /// [`Wire::NAME`] of the type.
        what: &'static str,
        /// The bound.
        rule: Malformed,
    },
}

/// The canonical bytes of `value`.
pub fn encode<T: Wire>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    append(value, &mut bytes)?;
    Ok(bytes)
}

/// Puts the canonical bytes of `value` behind what is there; after an error, some of them may be.
pub fn append<T: Wire>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    value.check().map_err(|rule| CodecError::Malformed { what: T::NAME, rule })?;
    let begin = bytes.len();
    write(value, bytes)?;
    let len = bytes.len() - begin;
    if len > T::MAX {
        return Err(CodecError::TooLong { what: T::NAME, len, max: T::MAX });
    }
    Ok(())
}

/// The value whose canonical encoding is exactly `bytes`. // I2, I4
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    let what = T::NAME;
    if bytes.len() > T::MAX {
        return Err(CodecError::TooLong { what, len: bytes.len(), max: T::MAX });
    }
    let read = if bytes.len() <= SHORT {
        bincode::serde::decode_from_slice(bytes, SHORT_CONFIG)
    } else {
        bincode::serde::decode_from_slice(bytes, CONFIG)
    };
    let (value, consumed): (T, usize) =
        read.map_err(|error| CodecError::Undecodable { what, reason: error.to_string() })?;
    if consumed != bytes.len() {
        return Err(CodecError::TrailingBytes { what, extra: bytes.len() - consumed });
    }
    let mut rest = Expected(bytes);
    if write(&value, &mut rest).is_err() || !rest.0.is_empty() {
        return Err(CodecError::NotCanonical { what });
    }
    value.check().map_err(|rule| CodecError::Malformed { what, rule })?;
    Ok(value)
}

/// The same for a list that grows: a number that a later version has added is told from bytes that no version makes.
pub fn decode_growing<T: Growing>(bytes: &[u8]) -> Result<Heard<T>, CodecError> {
    match T::later_tag(bytes).filter(|_| bytes.len() <= T::MAX) {
        Some(tag) => Ok(Heard::Later(tag)),
        None => decode(bytes).map(Heard::Known),
    }
}

/// The number at the start of `bytes`, if it is beyond the `known` ones and below [`TAGS_MAX`].
pub(crate) fn later_tag(bytes: &[u8], known: u32) -> Option<u32> {
    let tag = u32::from_le_bytes(*bytes.first_chunk()?);
    (known..TAGS_MAX).contains(&tag).then_some(tag)
}

fn write<T: Wire>(value: &T, to: &mut impl Write) -> Result<usize, CodecError> {
    bincode::serde::encode_into_std_write(value, to, CONFIG)
        .map_err(|error| CodecError::Undecodable { what: T::NAME, reason: error.to_string() })
}

/// Takes what is written if it is what stands here: bytes are compared without being held twice.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::Reply;

    /// The text of a manifest of so many bytes, of which five come.
    fn reason(stated: u64) -> String {
        let bytes = [&[0; 4][..], &stated.to_le_bytes(), &[7; 5]].concat();
        decode::<Reply>(&bytes).expect_err("not all of them come").to_string()
    }

    #[test]
    fn a_length_that_few_bytes_state_is_refused_before_room_is_made_for_it() {
        for stated in [SHORT as u64, 3_800_000, u64::MAX] {
            assert!(reason(stated).contains("LimitExceeded"), "{stated}: {}", reason(stated));
        }
        assert!(reason(100).contains("UnexpectedEnd"), "{}", reason(100));
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_read_on_both_sides_of_the_short_ones() {
        for len in [SHORT - 13, SHORT - 12, SHORT - 11, Reply::MAX - 64] {
            let reply = Reply::Manifest(vec![7; len]);
            assert_eq!(decode::<Reply>(&encode(&reply).expect("within bounds")).as_ref(), Ok(&reply), "{len}");
        }
    }
}
