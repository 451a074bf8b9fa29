//! The job that judges proposals: what comes in with it and what goes out.

use std::path::PathBuf;

use potluck_protocol::channel::{Gate, NormBound, Role, Score, Verdict};
use potluck_protocol::id::ManifestId;
use potluck_protocol::text::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BaseSource, FoldSource};
use crate::json_forms;

/// Weighs proposed adapters, scores them on the rows of one shard and chooses among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChooseTask {
    /// What every release of the channel is folded into.
    pub genesis: BaseSource,
    /// In the sealed shard's order.
    pub suites: Vec<SuiteFile>,
    /// The inputs in force.
    pub held: Vec<FoldSource>,
    /// Each adapter once.
    pub proposed: Vec<Proposed>,
    /// What an adapter must do to the losses.
    pub gate: Gate,
    /// How large an update may be.
    pub norm: NormBound,
}

/// A suite's rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteFile {
    /// As the channel's rules name it.
    pub name: Name,
    /// Whether its loss is to fall or to be kept.
    pub role: Role,
    /// Rows: JSON lines.
    pub rows: PathBuf,
}

/// An adapter that passed every check that needs no numerics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposed {
    /// The proposal's manifest.
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
    /// One for each adapter whose norm is known.
    pub weighed: Vec<Weighed>,
}

/// The norm of an adapter's update beside that of the weights that it changes, at the weight that was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Weighed {
    /// Which one.
    #[schema(value_type = json_forms::ManifestId)]
    pub adapter: ManifestId,
    /// Parts per million of the weights that it changes.
    pub ppm: u64,
}
