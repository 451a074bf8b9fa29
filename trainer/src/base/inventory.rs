//! Every tensor of the architecture is there once, with its shape, and no other.

use std::collections::BTreeMap;

use potluck_protocol::base::Architecture;
use potluck_protocol::tensor::DType;

use super::stored::Stored;

/// The output projection, which a model with tied embeddings does not need.
const OUTPUT: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Buffers of old files that hold no weights: the decoder computes them from `rope_theta`.
const HARMLESS: &str = "rotary_emb.inv_freq";

/// Why a set of tensors is not this architecture's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum InventoryError {
    #[error("the tensor `{name}` is missing")]
    Missing { name: String },
    #[error("the tensor `{name}` does not belong to a Llama model of this config")]
    Extra { name: String },
    #[error("the tensor `{name}` is there twice")]
    Twice { name: String },
    #[error("the tensor `{name}` has shape {found:?}, the config says {wanted:?}")]
    Shape { name: String, found: Vec<usize>, wanted: Vec<u64> },
    #[error("the tensor `{name}` is F64: F32, F16, BF16 and ggml's block types are supported")]
    Type { name: String },
    #[error("`lm_head.weight` differs from `model.embed_tokens.weight`, but the config says that they are tied")]
    NotTied,
}

/// The tensors that the architecture names. Leaves out what old files carry without need: rotary buffers, and an
/// output projection equal to the embedding that it is tied to, so that files with and without it are one base.
pub fn settle(
    architecture: &Architecture,
    mut found: BTreeMap<String, Stored>,
) -> Result<BTreeMap<String, Stored>, InventoryError> {
    found.retain(|name, _| !name.ends_with(HARMLESS));
    if architecture.tie_word_embeddings {
        if let (Some(output), Some(embedding)) = (found.get(OUTPUT), found.get(EMBEDDING))
            && !output.same_as(embedding)
        {
            return Err(InventoryError::NotTied);
        }
        found.remove(OUTPUT);
    }
    let mut settled = BTreeMap::new();
    for (name, wanted) in architecture.tensors() {
        let stored = found.remove(&name).ok_or_else(|| InventoryError::Missing { name: name.clone() })?;
        check(&name, &stored, &wanted)?;
        settled.insert(name, stored);
    }
    match found.into_keys().next() {
        None => Ok(settled),
        Some(name) => Err(InventoryError::Extra { name }),
    }
}

fn check(name: &str, stored: &Stored, wanted: &[u64]) -> Result<(), InventoryError> {
    let found = stored.shape();
    if stored.dtype() == DType::F64 {
        return Err(InventoryError::Type { name: name.to_owned() });
    }
    if found.len() != wanted.len() || found.iter().zip(wanted).any(|(&found, &wanted)| found as u64 != wanted) {
        let (found, wanted) = (found.to_vec(), wanted.to_vec());
        return Err(InventoryError::Shape { name: name.to_owned(), found, wanted });
    }
    Ok(())
}
