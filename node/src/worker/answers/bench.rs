//! What was measured of this machine.

use potluck_trainer::model::block::Recompute;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LeastKept, MethodName};
use crate::json_forms;
use crate::worker::proto::Engine;

/// Whole training steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepMeasured {
    /// Of all steps but the first.
    pub tokens_per_second: f64,
    /// The median of all steps but the first.
    pub step_seconds: f64,
    /// Most memory that the worker process held, in 10^6 bytes, where the system tells.
    pub peak_rss_mb: Option<f64>,
    /// What was foretold before the first step, in 10^6 bytes. Left out where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_mb: Option<f64>,
    /// Of each step.
    #[serde(deserialize_with = "crate::ipc::numbers")]
    pub losses: Vec<f64>,
    /// BLAKE3 of the factors after the last step.
    pub params_digest: String,
    /// Arithmetic of a step in 10^9 operations, by formula.
    pub step_gflop: f64,
    /// 10^9 operations a second.
    pub gflops: f64,
    /// What the processor reaches at most. Left out where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_gflops: Option<f64>,
    /// What was computed again in the backward pass.
    #[schema(value_type = json_forms::Recompute)]
    pub recompute: Recompute,
    /// As it was asked for.
    pub seed: u64,
    /// `backend`, `dtype` and `instructions`.
    #[serde(flatten)]
    pub engine: Engine,
    /// Threads that computed.
    pub threads: usize,
}

/// Reading a prompt and generating.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerateMeasured {
    /// How many were read.
    pub prompt_tokens: usize,
    /// How many were generated.
    pub new_tokens: usize,
    /// Of reading.
    pub prompt_tokens_per_second: f64,
    /// Of generating; `None` of a single token.
    pub new_tokens_per_second: Option<f64>,
    /// Most memory that the worker process held, in 10^6 bytes, where the system tells.
    pub peak_rss_mb: Option<f64>,
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// `backend`, `dtype` and `instructions`.
    #[serde(flatten)]
    pub engine: Engine,
    /// Threads that computed.
    pub threads: usize,
}

/// A merge of adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MergeMeasured {
    /// Of the merge, without making the adapters.
    pub seconds: f64,
    /// Most memory that the worker process held, in 10^6 bytes, where the system tells; with making the adapters.
    pub peak_rss_mb: Option<f64>,
    /// Relative to the exact sum, Frobenius, in f64.
    #[serde(deserialize_with = "crate::ipc::number")]
    pub error: f64,
    /// Share of the energy of the exact sum that the result keeps.
    pub kept_energy: f64,
    /// The module that keeps least. Left out if every module keeps all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_kept: Option<LeastKept>,
    /// BLAKE3 of the result.
    pub digest: String,
    /// Merge method.
    pub method: MethodName,
    /// Of made-up adapters; `None` of those that were named.
    pub rank: Option<usize>,
    /// Share of each update's elements that was kept, of `ties` and `dare`. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// What the mean was multiplied with, of `ties`. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Of `ties` and `dare`. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How many were merged.
    pub adapters: usize,
    /// Of the result.
    pub rank_out: usize,
    /// Threads that computed.
    pub threads: usize,
}
