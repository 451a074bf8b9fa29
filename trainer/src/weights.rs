//! Where a model's frozen weights come from.

use potluck_protocol::base::Architecture;

use crate::tensor::HostTensor;

/// Any failure to produce a tensor, with the source's own words.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A source of frozen weights under their Hugging Face names: a safetensors folder, a GGUF file, a folded base.
pub trait Weights: Send + Sync {
    /// The shape of the model, from which the names and shapes of all its tensors follow.
    fn architecture(&self) -> &Architecture;

    /// The tensor of this name, e.g. `model.layers.0.self_attn.q_proj.weight` (`[out, in]`).
    fn tensor(&self, hf_name: &str) -> Result<HostTensor, SourceError>;
}
