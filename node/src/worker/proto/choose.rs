//! The job that judges proposals: what comes in with it and what goes out.

use std::path::PathBuf;

use potluck_protocol::channel::{Gate, NormBound, Role, Score, Verdict};
use potluck_protocol::id::ManifestId;
use potluck_protocol::text::Name;
use serde::{Deserialize, Serialize};

use super::{BaseSource, FoldSource};

/// Weighs proposed adapters, scores them on the rows of one shard and chooses among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChooseTask {
    pub genesis: BaseSource,
    /// In the sealed shard's order.
    pub suites: Vec<SuiteFile>,
    /// The inputs in force.
    pub held: Vec<FoldSource>,
    /// Each adapter once.
    pub proposed: Vec<Proposed>,
    pub gate: Gate,
    pub norm: NormBound,
}

/// A suite's rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteFile {
    pub name: Name,
    pub role: Role,
    pub rows: PathBuf,
}

/// An adapter that passed every check that needs no numerics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposed {
    pub proposal: ManifestId,
    /// At the weight that was proposed.
    pub adapter: FoldSource,
}

/// What came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chosen {
    /// One for each proposed adapter, sorted by proposal.
    pub verdicts: Vec<Verdict>,
    /// One for each suite; `None` if nothing was left to score, and no row was looked at.
    pub scores: Option<Vec<Score>>,
    pub weighed: Vec<Weighed>,
}

/// The norm of an adapter's update beside that of the weights that it changes, at the weight that was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    pub adapter: ManifestId,
    pub ppm: u64,
}
