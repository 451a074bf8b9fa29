//! Sealed evaluation shards: rows that nobody but the steward has seen until they score.
//!
//! A channel commits to them before anybody proposes. A release opens the next one and publishes its rows, so that
//! everybody can score again; an opened one never scores a second time. The salt keeps small or guessable rows from
//! being found by trying.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Malformed, Wire};
use crate::id::{Digest, FileDigest};
use crate::limits::SUITES_MAX;
use crate::text::Name;

/// What a suite's loss decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It is to fall.
    Improve,
    /// It is not to rise: what the base can do by itself.
    Keep,
}

/// Rows of one suite in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// Also the name of its file.
    pub name: Name,
    /// Whether the loss on it is to fall or not to rise.
    pub role: Role,
    /// BLAKE3 of its JSONL file, in the version's manifest `evaluation/NAME.jsonl`.
    pub rows: FileDigest,
}

/// A sealed shard's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// 32 random bytes.
    pub salt: Digest,
    /// Sorted by name, each once; at least one that is to improve.
    pub suites: Vec<Suite>,
}

/// The mean loss per labelled token over a suite, in millionths of a nat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Of the base that the channel starts from.
    pub genesis_micro: u64,
    /// Of the version before.
    pub before_micro: u64,
    /// Of this version.
    pub after_micro: u64,
}

/// A shard that a release has opened, with what came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Which of the channel's commitments.
    pub index: u32,
    /// What the commitment was made of.
    pub sealed: Sealed,
    /// One for each suite, in their order.
    pub scores: Vec<Score>,
}

impl Suite {
    /// Where its rows lie in the version's manifest.
    pub fn path(&self) -> String {
        format!("evaluation/{}.jsonl", self.name)
    }
}

impl Sealed {
    /// What the channel publishes of it beforehand.
    pub fn commitment(&self) -> Result<Digest, CodecError> {
        Ok(Digest::of_context("potluck 2026 sealed evaluation/1", &codec::encode(self)?))
    }
}

impl Wire for Sealed {
    const NAME: &'static str = "sealed evaluation shard";
    const MAX: usize = SUITES_MAX * 128 + 64;

    fn check(&self) -> Result<(), Malformed> {
        let suites = &self.suites;
        let sorted = suites.windows(2).all(|pair| pair[0].name < pair[1].name);
        Malformed::unless(sorted && (1..=SUITES_MAX).contains(&suites.len()), || {
            format!("the suites are not 1 to {SUITES_MAX}, sorted by name, each once")
        })?;
        Malformed::unless(suites.iter().any(|suite| suite.role == Role::Improve), || {
            "no suite of the shard is to improve".to_owned()
        })
    }
}

impl Opened {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        self.sealed.check()?;
        let one_each = self.scores.len() == self.sealed.suites.len();
        Malformed::unless(one_each, || "not one score for each suite".to_owned())
    }
}
