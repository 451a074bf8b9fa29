//! Proofs against a steward. Whoever gets one looks for themselves, and acts on what they find: a proof is a pointer, or
//! encloses all that has to be seen.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::Malformed;
use crate::id::{BaseId, FoldDigest, ManifestId};

/// What an auditor has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofInfo {
    /// The channel's genesis: the topic on which the proof is announced.
    pub genesis: BaseId,
    /// Whose steward lied.
    pub channel: ManifestId,
    /// What about.
    pub claim: Claim,
}

/// What a steward did, and where to see it. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A version's recipe does not give the digest that the version states: fold it and see.
    Mismatch {
        /// The version's manifest.
        version: ManifestId,
        /// What its recipe gives.
        digest: FoldDigest,
    },
    /// The steward signed two versions for one height: read both and see.
    Equivocation {
        /// The manifest of one of them.
        first: ManifestId,
        /// The manifest of the other.
        second: ManifestId,
    },
    /// The same, and both are here: [`crate::lineage::enclosed`] checks it without asking anybody. Where both do not fit
    /// into one manifest, [`Claim::Equivocation`] says it.
    Enclosed {
        /// The signed manifest of one of them.
        first: Envelope,
        /// That of the other.
        second: Envelope,
    },
}

/// A signed manifest as it travels, inside another one. Nothing of it is believed. In JSON hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope(pub Vec<u8>);

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes)", self.0.len())
    }
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0);
        }
        let digits = |byte: &u8| [byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or('0'));
        serializer.serialize_str(&self.0.iter().flat_map(digits).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return serde_bytes::ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec()));
        }
        let text = String::deserialize(deserializer)?;
        let half = |digit: u8| char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
        let byte = |pair: &[u8]| Some((half(*pair.first()?)? << 4 | half(*pair.get(1)?)?) as u8);
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not pairs of lower-case hex digits"))
    }
}

impl ProofInfo {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let Claim::Enclosed { first, second } = &self.claim else { return Ok(()) };
        // In one order: the same two make one proof by one prover.
        Malformed::unless(!first.0.is_empty() && first.0 < second.0, || {
            "the enclosed versions are empty, the same, or not in the order of their bytes".to_owned()
        })
    }
}
