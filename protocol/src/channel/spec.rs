//! What a steward lays down when a channel is opened. Immutable: other rules are another channel.

use serde::{Deserialize, Serialize};

use crate::codec::Malformed;
use crate::id::{BaseId, Digest, ManifestId};
use crate::limits::{ADMITTED_MAX, LICENCE_MAX, LICENCES_MAX, SEALED_MAX};
use crate::signed::PublicKey;
use crate::tensor::DType;

/// A channel. Its steward is the manifest's publisher, its id the manifest's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// The base that every version is folded from.
    pub genesis: BaseId,
    /// The version of another channel whose weights `genesis` names, if this one is a fork.
    pub forked_from: Option<ManifestId>,
    /// The float type of every version.
    pub dtype: DType,
    /// Whose proposals are looked at.
    pub admission: Admission,
    /// SPDX expressions of which a proposed adapter states one, as whoever reads them spells it; sorted; empty for any.
    pub licences: Vec<String>,
    /// What a proposal must do to the losses.
    pub gate: Gate,
    /// How large an adapter's update may be.
    pub norm: NormBound,
    /// Commitments to sealed evaluation shards ([`super::Sealed::commitment`]), in the order in which they are opened.
    pub evaluation: Vec<Digest>,
}

/// Whose adapters are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// Anybody's.
    Open,
    /// These publishers alone; sorted.
    Listed(Vec<PublicKey>),
}

/// What an adapter must do to the losses on the opened shard, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The mean loss over the suites that are to improve falls at least by this share of itself.
    pub gain_ppm: u32,
    /// The perplexity (exp of the mean loss) of the suites that are to be kept rises at most by this above genesis.
    pub guard_ppm: u32,
}

/// Bounds on an adapter's size: the Frobenius norm of its update over that of the weights that it changes, in parts per
/// million, at the weight that was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NormBound {
    /// Above it the weight is lowered until it is met.
    pub clip_ppm: u64,
    /// Above it the adapter is refused.
    pub refuse_ppm: u64,
}

impl Admission {
    /// Whether a publisher's proposals are looked at.
    pub fn admits(&self, key: &PublicKey) -> bool {
        match self {
            Self::Open => true,
            Self::Listed(keys) => keys.binary_search(key).is_ok(),
        }
    }
}

impl ChannelInfo {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let float = matches!(self.dtype, DType::F32 | DType::F16 | DType::BF16);
        Malformed::unless(float, || "the versions' type is not F32, F16 or BF16".to_owned())?;
        if let Admission::Listed(keys) = &self.admission {
            let sorted = keys.windows(2).all(|pair| pair[0] < pair[1]);
            Malformed::unless(sorted && (1..=ADMITTED_MAX).contains(&keys.len()), || {
                format!("the admitted keys are not 1 to {ADMITTED_MAX}, sorted, each once")
            })?;
        }
        let plain = |text: &String| {
            !text.is_empty() && text.len() <= LICENCE_MAX && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        };
        let sorted = self.licences.windows(2).all(|pair| pair[0] < pair[1]);
        let licences = sorted && self.licences.len() <= LICENCES_MAX && self.licences.iter().all(plain);
        Malformed::unless(licences, || "the licences are too many, not sorted, or no SPDX expressions".to_owned())?;
        Malformed::unless(self.norm.clip_ppm > 0 && self.norm.clip_ppm <= self.norm.refuse_ppm, || {
            "the norm bounds are zero or the wrong way round".to_owned()
        })?;
        let gate = self.gate.gain_ppm <= 1_000_000 && self.gate.guard_ppm <= 1_000_000;
        Malformed::unless(gate, || "the gate asks for more than the whole loss".to_owned())?;
        Malformed::unless(self.evaluation.len() <= SEALED_MAX, || format!("more than {SEALED_MAX} sealed shards"))
    }
}
