//! Settings of training and merging, as JSON. The types are `potluck_trainer`'s.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How several adapters become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// The weighted sum of the products `B A`, without error: stacked, of the ranks together.
    Sum,
    /// The adapter of a smaller rank that is nearest to that sum (Eckart and Young 1936).
    Refit {
        /// Of the result; the largest among the inputs if not said.
        rank: Option<usize>,
    },
    /// Trim, elect sign, disjoint mean (Yadav et al. 2023, arXiv 2306.01708), then the nearest adapter of a rank.
    Ties {
        /// Of the result; the largest among the inputs if not said.
        rank: Option<usize>,
        /// Share of each update's elements, the largest, that are kept.
        density: f64,
        /// What the mean is multiplied with.
        lambda: f64,
        /// Starts the range finder.
        seed: u64,
    },
    /// Drop and rescale (Yu et al. 2023, arXiv 2311.03099), sum, then the nearest adapter of a rank.
    Dare {
        /// Of the result; the largest among the inputs if not said.
        rank: Option<usize>,
        /// Share of each update's elements, drawn by chance, that are kept.
        density: f64,
        /// Decides the draw, and starts the range finder.
        seed: u64,
    },
}

/// Ends a run whose held-out loss has stopped falling (`early_stopping_patience` and `early_stopping_threshold` of the
/// Hugging Face trainer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// So many evaluations in a row without an improvement end the run.
    pub patience: u32,
    /// A fall of at least so much is an improvement.
    pub min_delta: f64,
}

/// The shape after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ScheduleShape {
    /// The peak rate to the end.
    #[serde(rename = "constant")]
    Constant,
    /// Down to zero in a line.
    #[serde(rename = "linear")]
    Linear,
    /// Down to zero along half a cosine.
    #[serde(rename = "cosine")]
    Cosine,
}

/// Which factors of every pair are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum TrainedFactors {
    /// Ordinary LoRA.
    #[serde(rename = "both")]
    Both,
    /// `B` stays as it is: the adapter to start from must have one that is not zero.
    #[serde(rename = "a")]
    A,
    /// `A` stays as it was drawn, or as it was in the adapter to start from.
    #[serde(rename = "b")]
    B,
}

/// Which state of a run becomes its adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Keep {
    /// The state after the last step.
    #[serde(rename = "last")]
    Last,
    /// The state with the lowest held-out loss.
    #[serde(rename = "best")]
    Best,
}

/// What the backward pass computes again rather than finding it kept. The gradients' bits do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Recompute {
    /// Nothing: the fastest.
    #[serde(rename = "none")]
    None,
    /// `gate` and `up`, about half of what is kept: their two linear layers run twice.
    #[serde(rename = "selective")]
    Selective,
    /// All but each block's input: the least memory. Every linear layer but the last of a block runs twice.
    #[serde(rename = "full")]
    Full,
}

/// What happens to a row that is longer than the limit. Plain text is never too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Overlong {
    /// The row is an error.
    #[serde(rename = "refuse")]
    Refuse,
    /// Tokens are cut off: from the start of a prompt (never from its completion), from the end of a chat. A row that
    /// then has no label is an error.
    #[serde(rename = "cut")]
    Cut,
}

/// What matrix products multiply and activations are kept in; sums, factors, gradients and the optimiser are `f32` in both.
/// `auto` is the best that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PrecisionOrAuto {
    /// The best that this machine has.
    #[serde(rename = "auto")]
    Auto,
    /// 32 bits.
    #[serde(rename = "f32")]
    F32,
    /// 16 bits: the range of an `f32`, with 8 bits of precision.
    #[serde(rename = "bf16")]
    Bf16,
}

/// Instruction sets that kernels are written for, least first. Each includes those before it on its processor family.
/// `auto` is the best that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum InstructionsOrAuto {
    /// The best that this machine has.
    #[serde(rename = "auto")]
    Auto,
    /// What the compiler assumes of every processor it builds for.
    #[serde(rename = "portable")]
    Portable,
    /// aarch64, where every processor has it: the portable loops, compiled for it, with fused multiply-add.
    #[serde(rename = "neon")]
    Neon,
    /// AVX2 and FMA (x86-64-v3).
    #[serde(rename = "avx2")]
    Avx2,
    /// AVX-512 F, BW, CD, DQ and VL (x86-64-v4).
    #[serde(rename = "avx512")]
    Avx512,
    /// The same with products of bf16 pairs, `VDPBF16PS`.
    #[serde(rename = "avx512-bf16")]
    Avx512Bf16,
}

/// Which modules get an adapter: `all-linear` (every linear layer of every block, not `lm_head`) or a regular expression
/// that matches whole paths, as one text; or a list of names such as `q_proj`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Targets {
    /// `all-linear`, or a regular expression.
    Text(String),
    /// A name selects each module whose path equals it or ends in `.` and it.
    Names(Vec<String>),
}
