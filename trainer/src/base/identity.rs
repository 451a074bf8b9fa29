//! The identity of a base: what its weights are, whatever files hold them.

use potluck_protocol::base::BaseIdentity;
use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::tensor::TensorEntry;
use rayon::prelude::*;

use super::{Base, BaseError};

impl Base {
    /// The table behind the [`BaseId`]: each tensor by its Hugging Face name, in Hugging Face layout, hashed in
    /// parallel. Reads all weights once.
    pub fn identity(&self) -> BaseIdentity {
        let tensors = self.tensors.par_iter().map(|(name, stored)| {
            let tensor = stored.get();
            let shape = tensor.shape.iter().map(|&n| n as u64).collect();
            TensorEntry { name: name.clone(), dtype: tensor.dtype, shape, digest: Digest::of(tensor.bytes()) }
        });
        BaseIdentity::new(self.architecture.clone(), self.tokenizer.digest(), tensors.collect())
    }

    pub fn id(&self) -> Result<BaseId, BaseError> {
        Ok(self.identity().id()?)
    }
}
