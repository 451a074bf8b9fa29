//! Proofs against a steward. A proof is a pointer: whoever gets one looks for himself, and obeys what he finds.

use serde::{Deserialize, Serialize};

use crate::id::{BaseId, FoldDigest, ManifestId};
use crate::manifest::{Kind, Manifest};
use crate::signed::Authentic;

/// What an auditor has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofInfo {
    /// The channel's genesis: the topic on which the proof is announced.
    pub genesis: BaseId,
    pub channel: ManifestId,
    pub claim: Claim,
}

/// Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The version's recipe gives this digest, not the one that it states: fold it and see.
    Mismatch { version: ManifestId, digest: FoldDigest },
    /// The steward signed two versions for one height: read both and see.
    Equivocation { first: ManifestId, second: ManifestId },
}

/// Two different versions of one channel for one height, both signed by one key: one of them is a lie, whichever.
pub fn is_conflict(one: &Authentic<Manifest>, other: &Authentic<Manifest>) -> bool {
    let (Kind::Version(a), Kind::Version(b)) = (&one.body().kind, &other.body().kind) else { return false };
    a.channel == b.channel
        && a.height == b.height
        && one.body().publisher == other.body().publisher
        && one.id() != other.id()
}
