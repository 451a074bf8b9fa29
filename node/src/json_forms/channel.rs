//! What a channel's steward, proposers and auditors sign, as JSON. The types are `potluck_protocol::channel`'s.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::manifest::DType;
use super::texts::{BaseId, Digest, FileDigest, FoldDigest, ManifestId, Name, PublicKey};

/// A channel. Its steward is the manifest's publisher, its id the manifest's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Commitments to sealed evaluation shards (`commitment`), in the order in which they are opened.
    pub evaluation: Vec<Digest>,
}

/// Whose adapters are looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub enum Admission {
    /// Anybody's.
    Open,
    /// These publishers alone; sorted.
    Listed(Vec<PublicKey>),
}

/// What an adapter must do to the losses on the opened shard, in parts per million.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Gate {
    /// The mean loss over the suites that are to improve falls at least by this share of itself.
    pub gain_ppm: u32,
    /// The perplexity (exp of the mean loss) of the suites that are to be kept rises at most by this above genesis.
    pub guard_ppm: u32,
}

/// Bounds on an adapter's size: the Frobenius norm of its update over that of the weights that it changes, in parts per
/// million, at the weight that was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NormBound {
    /// Above it the weight is lowered until it is met.
    pub clip_ppm: u64,
    /// Above it the adapter is refused.
    pub refuse_ppm: u64,
}

/// An adapter offered to a channel. Who offers it is the manifest's publisher; one adapter by one publisher counts
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProposalInfo {
    /// The channel's genesis: the topic on which the proposal is announced.
    pub genesis: BaseId,
    /// To which it is offered.
    pub channel: ManifestId,
    /// What is offered.
    pub adapter: ManifestId,
    /// How much of it should be taken. The norm clip and the choice may lower it; they never raise it.
    pub weight: i32,
}

/// A version. Whether it fits the chain before it, its lineage says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The channel that it is a version of.
    pub channel: ManifestId,
    /// From 1; genesis is 0.
    pub height: u32,
    /// The version before; none at height 1.
    pub previous: Option<ManifestId>,
    /// What it does to the version before.
    pub change: Change,
    /// From genesis, always: folding a fold loses small updates.
    pub recipe: Recipe,
    /// What the recipe gives.
    pub digest: FoldDigest,
    /// The id of those weights as a base: what an adapter trained on this version names.
    pub base: BaseId,
    /// Everything that the channel has ever revoked; sorted.
    pub revoked: Vec<ManifestId>,
    /// Of a release.
    pub opened: Option<Opened>,
    /// Of a release; sorted by proposal.
    pub verdicts: Vec<Verdict>,
}

/// What a version does to the one before. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Adds proposals that passed the gate.
    Release,
    /// Takes inputs out, for good.
    Revoke,
    /// Goes back to the recipe of that height, less what was revoked since.
    Rollback(u32),
}

/// A base version: a genesis and a set of weighted adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recipe {
    /// The arithmetic.
    pub rule: Rule,
    /// The base that the adapters are added to.
    pub parent: BaseId,
    /// The float type of the result.
    pub dtype: DType,
    /// Sorted by adapter, each once, no weight zero.
    pub inputs: Vec<(ManifestId, i32)>,
}

/// Which arithmetic turns the inputs into the result. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub enum Rule {
    /// `fold-f32/1`, see `docs/protocol.md`.
    FoldF32,
}

/// A shard that a release has opened, with what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Opened {
    /// Which of the channel's commitments.
    pub index: u32,
    /// What the commitment was made of.
    pub sealed: Sealed,
    /// One for each suite, in their order.
    pub scores: Vec<Score>,
}

/// A sealed shard's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sealed {
    /// 32 random bytes.
    pub salt: Digest,
    /// Sorted by name, each once; at least one that is to improve.
    pub suites: Vec<Suite>,
}

/// Rows of one suite in a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suite {
    /// Also the name of its file.
    pub name: Name,
    /// Whether the loss on it is to fall or not to rise.
    pub role: Role,
    /// BLAKE3 of its JSONL file, in the version's manifest `evaluation/NAME.jsonl`.
    pub rows: FileDigest,
}

/// What a suite's loss decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It is to fall.
    Improve,
    /// It is not to rise: what the base can do by itself.
    Keep,
}

/// The mean loss per labelled token over a suite, in millionths of a nat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Score {
    /// Of the base that the channel starts from.
    pub genesis_micro: u64,
    /// Of the version before.
    pub before_micro: u64,
    /// Of this version.
    pub after_micro: u64,
}

/// One proposal's fate in one release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The proposal that was judged.
    pub proposal: ManifestId,
    /// The adapter that it offers.
    pub adapter: ManifestId,
    /// What became of it.
    pub outcome: VerdictOutcome,
}

/// Whether a proposal was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    /// It is in the recipe.
    Taken {
        /// With this weight: what was proposed, after the norm clip and the choice.
        weight: i32,
        /// What it does to the mean loss alone, in millionths of a nat; less is better.
        alone_micro: i64,
    },
    /// It is not in the recipe, for this reason.
    Refused(Refusal),
}

/// Why a proposal was not taken. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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

/// What an auditor has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProofInfo {
    /// The channel's genesis: the topic on which the proof is announced.
    pub genesis: BaseId,
    /// Whose steward lied.
    pub channel: ManifestId,
    /// What about.
    pub claim: Claim,
}

/// What a steward did, and where to see it. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// The same, and both are here.
    Enclosed {
        /// The signed manifest of one of them, as it travels: hex digits.
        first: String,
        /// That of the other.
        second: String,
    },
}
