//! Merges of adapters into an adapter, and their benchmark.

use std::path::PathBuf;

use potluck_protocol::recipe::Weight;
use potluck_trainer::merge::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BaseSource;
use crate::json_forms;
use crate::worker::note::OfBase;

/// Several adapters into one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MergeTask {
    /// What they were trained on.
    pub base: BaseSource,
    /// At least one.
    pub adapters: Vec<MergeSource>,
    /// How they become one.
    pub method: Method,
    /// Rows on which the weights are chosen; those of the adapters are where the search begins.
    pub weights_by: Option<PathBuf>,
    /// The PEFT folder to write; it must not exist.
    pub out: PathBuf,
    /// Noted in it; `None` if none of the adapters says which base it is of.
    pub of: Option<OfBase>,
}

/// A PEFT folder and its weight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MergeSource {
    /// As PEFT writes it.
    pub folder: PathBuf,
    /// What its update is multiplied with, in 1/65536.
    pub weight: Weight,
}

/// A merge to be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchMergeTask {
    /// Where the modules' shapes come from.
    pub shape: BenchShape,
    /// What is merged, and how.
    pub settings: BenchMergeSettings,
}

/// Where the modules' shapes come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchShape {
    /// The shapes of a base that is here.
    Base(BaseSource),
    /// A `config.json`; no base is opened.
    Config(PathBuf),
}

/// What a merge is measured on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BenchMergeSettings {
    /// How many are made up.
    pub adapters: usize,
    /// Of each of them.
    pub rank: usize,
    /// Moves their values.
    pub seed: u64,
    /// PEFT folders to merge instead of made-up ones.
    #[schema(value_type = Vec<String>)]
    pub from: Vec<PathBuf>,
    /// How the adapters become one.
    #[schema(value_type = json_forms::Method)]
    pub method: Method,
    /// Where made-up adapters and the result are written; a temporary folder of the system if not said.
    #[schema(value_type = Option<String>)]
    pub folder: Option<PathBuf>,
    /// The result's speed, not its value, depends on it.
    pub threads: usize,
}
