//! Low-rank adapters: what one is ([`adapter`], [`config`], [`targets`]), its factors one module at a time
//! ([`factors`]) and how large they are ([`norm`]), how they lie in memory ([`layout`]), how they start ([`init`]) and how they act on a model
//! ([`attached`]).
//!
//! A module's output gains `scale * (x A^T) B^T` with `A: [r, in]`, `B: [out, r]` and `scale = lora_alpha / r`
//! (Hu et al. 2021, arXiv 2106.09685; names and shapes as PEFT writes them).

pub mod adapter;
pub mod attached;
pub mod config;
pub mod factors;
pub mod init;
pub mod layout;
pub mod norm;
pub mod targets;

/// An adapter that cannot be used with a model.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum LoraError {
    #[error("rank {r} with lora_alpha {lora_alpha}: the rank must be 1 to {max} and lora_alpha finite and above 0")]
    Settings { r: usize, lora_alpha: f32, max: usize },
    #[error(
        "`target_modules` `{targets}` (with `exclude_modules` and `layers_to_transform`) selects no module of this base; its linear layers are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj"
    )]
    NoTarget { targets: String },
    #[error("layer {layer} in `layers_to_transform` is beyond this base's last one, {last}")]
    Layer { layer: u32, last: u32 },
    #[error("the share of dropped inputs, `lora_dropout` {0}, must be from 0 to below 1")]
    Dropout(f32),
    #[error("`{pattern}` in `target_modules` is no regular expression that is taken: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("adapter tensor `{name}` belongs to no module of this base")]
    Unknown { name: String },
    #[error("the adapter has no tensor `{name}`, which these settings train")]
    Absent { name: String },
    #[error("module `{module}` has one of its two factors, `{missing}` is missing")]
    Unpaired { module: String, missing: String },
    #[error("adapter tensor `{name}` has shape {got:?}, but this base and rank {r} need {expected:?}")]
    Shape { name: String, got: [usize; 2], expected: [usize; 2], r: usize },
    #[error("adapter tensor `{name}` has {got} values for shape {shape:?}")]
    Values { name: String, got: usize, shape: [usize; 2] },
    #[error(transparent)]
    Backend(#[from] crate::backend::BackendError),
}
