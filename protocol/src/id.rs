//! Digests and the ids made of them. Every id is the BLAKE3 of some bytes; which bytes is said at each type.
//!
//! An id of one kind cannot be passed where another is wanted: each is a type of its own, made by `ids!`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 32 bytes of BLAKE3. In JSON 64 lower-case hex digits, in the wire format the bare 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// BLAKE3 of `bytes`, without a context.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// BLAKE3 in key-derivation mode: the same bytes under two contexts give unrelated digests.
    pub fn of_context(context: &str, bytes: &[u8]) -> Self {
        Self(blake3::derive_key(context, bytes))
    }

    /// The smallest digest that starts with `first`.
    pub(crate) fn smallest(first: u8) -> Self {
        let mut bytes = [0; 32];
        bytes[0] = first;
        Self(bytes)
    }

    /// The first 12 hex digits, for people. Never an identity.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: 64 lower-case hex digits are wanted")]
pub struct ParseIdError(pub String);

impl FromStr for Digest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || ParseIdError(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return Err(wrong());
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

/// Lower case only: one id has one spelling.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self(<[u8; 32]>::deserialize(deserializer)?))
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The first 12 hex digits, for people. Never an identity.
            pub fn short(&self) -> String {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// BLAKE3 of a shard's bytes: anybody can check it with any BLAKE3 tool.
    ShardId;
    /// BLAKE3 of a whole file's bytes.
    FileDigest;
    /// BLAKE3 of an encoded [`crate::manifest::Manifest`] body under its context. Signatures are beside it, not in it.
    ManifestId;
    /// BLAKE3 of an encoded [`crate::announce::Announcement`] body under its context.
    AnnouncementId;
    /// BLAKE3 of an encoded [`crate::base::BaseIdentity`] under its context: weights, not files.
    BaseId;
    /// BLAKE3 of an encoded [`crate::recipe::Recipe`] under its context.
    RecipeId;
    /// BLAKE3 over the sorted tensor stream of a folded base: what a recipe results in.
    FoldDigest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = ShardId(Digest::of(b"potluck"));
        assert_eq!(id.to_string().parse::<ShardId>(), Ok(id));
        for wrong in ["", "ab", &id.to_string().to_uppercase(), &format!("{id}0"), &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<ShardId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_is_hex() {
        let id = ShardId(Digest::of(b""));
        let json = serde_json::to_string(&id).expect("an id serialises");
        assert_eq!(json, "\"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"");
        assert_eq!(serde_json::from_str::<ShardId>(&json).expect("and back"), id);
    }
}
