//! Adapters merged into one.

use std::path::PathBuf;

use potluck_trainer::merge::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Several adapters became one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MergedAdapter {
    /// The PEFT folder that was written.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    /// Merge method.
    pub method: MethodName,
    /// Of the result.
    pub rank: usize,
    /// Share of each update's elements that was kept, of `ties` and `dare`. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// What the mean was multiplied with, of `ties`. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Of `ties` and `dare`. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// One for each adapter, in the order in which they were given.
    pub weights: Vec<f64>,
    /// Share of the energy (squared Frobenius norm) of the exact sum that the result keeps, over all modules.
    pub kept_energy: f64,
    /// The module that keeps least. Left out if every module keeps all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_kept: Option<LeastKept>,
    /// How the weights were chosen. Left out if they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// A way to merge adapters into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// The exact sum, of the ranks together.
    Sum,
    /// The nearest adapter of a smaller rank.
    Refit,
    /// Trim, elect sign, disjoint mean.
    Ties,
    /// Drop by chance and rescale.
    Dare,
}

impl MethodName {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Refit => "refit",
            Self::Ties => "ties",
            Self::Dare => "dare",
        }
    }
}

impl From<&Method> for MethodName {
    fn from(method: &Method) -> Self {
        match method {
            Method::Sum => Self::Sum,
            Method::Refit { .. } => Self::Refit,
            Method::Ties { .. } => Self::Ties,
            Method::Dare { .. } => Self::Dare,
        }
    }
}

/// The module of a merged adapter that is farthest from the exact sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LeastKept {
    /// Its name.
    pub module: String,
    /// Share of its energy.
    pub kept_energy: f64,
}

/// How weights were chosen by rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Chosen {
    /// With the weights that were given.
    #[serde(deserialize_with = "crate::ipc::number")]
    pub given_loss: f64,
    /// With those that were chosen.
    #[serde(deserialize_with = "crate::ipc::number")]
    pub loss: f64,
    /// Sets of weights that were measured.
    pub evaluations: usize,
}
