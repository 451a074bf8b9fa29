//! What became of each proposal, in words that its publisher can read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec::Malformed;
use crate::id::ManifestId;
use crate::limits::REASON_MAX;
use crate::recipe::Weight;
use crate::text::steers;

/// One proposal's fate in one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The proposal that was judged.
    pub proposal: ManifestId,
    /// The adapter that it offers.
    pub adapter: ManifestId,
    /// What became of it.
    pub outcome: VerdictOutcome,
}

/// Whether a proposal was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    /// It is in the recipe.
    Taken {
        /// With this weight: what was proposed, after the norm clip and the choice.
        weight: Weight,
        /// What it does to the mean loss alone, in millionths of a nat; less is better.
        alone_micro: i64,
    },
    /// It is not in the recipe, for this reason.
    Refused(Refusal),
}

/// Why a proposal was not taken. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The channel lists whom it admits, and the proposer is not among them.
    NotAdmitted,
    /// The adapter's licence is none of the channel's.
    Licence,
    /// It is for neither the genesis nor a version of this channel.
    OtherBase,
    /// Nobody had it.
    Missing,
    /// Its files are not what an adapter's are.
    Malformed(String),
    /// Its update is larger than what the channel clips.
    Norm {
        /// The update's norm over that of the weights, in parts per million.
        ppm: u64,
    },
    /// Alone it lowered the mean loss too little, or raised it.
    NoGain {
        /// By how much it changed the mean loss, in millionths of a nat.
        alone_micro: i64,
    },
    /// Beside those that were taken before it, it no longer helped.
    NothingAdded {
        /// By how much it changed the mean loss alone, in millionths of a nat.
        alone_micro: i64,
    },
    /// What is to be kept got worse.
    Guard {
        /// By how much, in parts per million of its perplexity at genesis.
        rise_ppm: u32,
    },
    /// It is in the version already.
    AlreadyIn,
    /// The channel has revoked it.
    Revoked,
}

impl Refusal {
    /// [`Self::Malformed`] with the start of a reason: at most [`REASON_MAX`] bytes, as a verdict takes it. A reason quotes
    /// what is wrong in a stranger's file, and a steward signs it for everybody to read: nothing in it steers a terminal.
    pub fn malformed(reason: &str) -> Self {
        let shown: String = reason.chars().take(REASON_MAX).map(|c| if steers(c) { ' ' } else { c }).collect();
        let end = (0..=shown.len().min(REASON_MAX)).rev().find(|end| shown.is_char_boundary(*end));
        Self::Malformed(shown[..end.unwrap_or(0)].to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ppm: u64| ppm as f64 / 1e4;
        match self {
            Self::NotAdmitted => f.write_str("the channel admits only listed publishers"),
            Self::Licence => f.write_str("its licence is none of those that the channel allows"),
            Self::OtherBase => f.write_str("it was trained on a base that is no version of this channel"),
            Self::Missing => f.write_str("nobody who was reached had its files"),
            Self::Malformed(reason) => write!(f, "its files are refused: {reason}"),
            Self::Norm { ppm } => {
                write!(
                    f,
                    "its update is {:.1} % of the weights that it changes, beyond the channel's bound",
                    percent(*ppm)
                )
            }
            Self::NoGain { alone_micro } => {
                write!(
                    f,
                    "alone it moved the held-out loss by {:+.4} nats: too little, or upwards",
                    micro(*alone_micro)
                )
            }
            Self::NothingAdded { alone_micro } => write!(
                f,
                "alone it moved the held-out loss by {:+.4} nats, beside the others it added nothing",
                micro(*alone_micro)
            ),
            Self::Guard { rise_ppm } => {
                write!(f, "the perplexity of what is to be kept would rise by {:.2} %", percent(u64::from(*rise_ppm)))
            }
            Self::AlreadyIn => f.write_str("it is in the version already"),
            Self::Revoked => f.write_str("the channel has revoked it"),
        }
    }
}

fn micro(value: i64) -> f64 {
    value as f64 / 1e6
}

impl Verdict {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let short =
            !matches!(&self.outcome, VerdictOutcome::Refused(Refusal::Malformed(reason)) if reason.len() > REASON_MAX);
        Malformed::unless(short, || format!("a reason of more than {REASON_MAX} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    #[test]
    fn a_reason_that_a_steward_signs_steers_no_terminal() {
        let refusal = Refusal::malformed("`x\u{1b}]0;PWNED\u{7}\u{202e}y`: no tensor name\n");
        assert_eq!(refusal, Refusal::Malformed("`x ]0;PWNED  y`: no tensor name ".to_owned()));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters_so_that_the_verdict_can_be_signed() {
        let id = ManifestId(Digest::of(b"one"));
        for reason in ["`x` is not finite", &"a".repeat(REASON_MAX + 1), &format!("a{}", "é".repeat(REASON_MAX))] {
            let refusal = Refusal::malformed(reason);
            let Refusal::Malformed(kept) = &refusal else { panic!("{refusal}") };
            assert!(reason.starts_with(kept.as_str()) && kept.len() >= reason.len().min(REASON_MAX - 1), "{kept}");
            let verdict = Verdict { proposal: id, adapter: id, outcome: VerdictOutcome::Refused(refusal) };
            assert_eq!(verdict.check(), Ok(()));
        }
    }
}
