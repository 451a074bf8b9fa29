//! What the worker answers to jobs. A type that is a request's whole answer is named in `api::answers` too: what the worker
//! writes is what programs read.

mod bench;
mod merge;
mod training;

use potluck_protocol::base::Architecture;
use potluck_protocol::id::{BaseId, FoldDigest};
use potluck_protocol::tensor::DType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;

pub use bench::{GenerateMeasured, MergeMeasured, StepMeasured};
pub use merge::{Chosen, LeastKept, MergedAdapter, MethodName};
pub use training::{Generated, Trained};

/// What the worker says of a base that it has read whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identified {
    /// Names its weights.
    pub base: BaseId,
    /// For people, e.g. `llama, 30 layers of 576, vocabulary 49152`.
    pub architecture: String,
    /// Elements of all its tensors.
    pub parameters: u64,
    /// The type of its matrices.
    pub dtype: DType,
    /// Absolute paths of its files.
    pub files: Vec<String>,
    /// What the shapes of its tensors follow from.
    pub shapes: Architecture,
}

/// What the head of a base's files says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What the shapes of its tensors follow from.
    pub shapes: Architecture,
    /// The type of its matrices.
    pub dtype: DType,
}

impl Described {
    /// For people, e.g. `llama, 30 layers of 576, vocabulary 49152, Q4_1`.
    pub fn architecture(&self) -> String {
        format!("{}, {}", self.shapes, self.dtype)
    }

    /// Elements of all its tensors.
    pub fn parameters(&self) -> u64 {
        self.shapes.tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum()
    }
}

/// How far a tensor of a view is from the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Distance {
    /// Its Hugging Face name.
    pub tensor: String,
    /// The Frobenius norm of the difference over that of the original.
    pub error: f64,
    /// The largest error that the view's format allows.
    pub bound: f64,
}

/// What the worker says of a fold.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = WorkerFolded)]
pub struct Folded {
    /// Of the stream of tensors, by the recipe's rule.
    #[schema(value_type = json_forms::FoldDigest)]
    pub digest: FoldDigest,
    /// The result's id as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
}

/// What the worker says of a folder that it has put into the portable profile.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Normalised {
    /// Its rank.
    pub r: u32,
    /// Names, as a manifest lists them.
    pub target_modules: Vec<String>,
}
