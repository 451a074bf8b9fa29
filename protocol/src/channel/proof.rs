//! Proofs against a steward. A proof is a pointer: whoever gets one looks for themselves, and acts on what they find.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}
