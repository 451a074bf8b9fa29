//! The identity of a base: what its weights are, whatever files hold them.

use potluck_protocol::base::{Architecture, BaseIdentity};
use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::tensor::TensorEntry;
use rayon::prelude::*;

use super::safetensors::Entry;
use super::{Base, BaseError, Tokenizer};

/// The identity of a base that passes by as a stream of tensors, e.g. on its way into a folder: the one that
/// [`Base::identity`] finds in the folder.
#[derive(Default)]
pub struct Passing {
    done: Vec<TensorEntry>,
    current: Option<(TensorEntry, blake3::Hasher)>,
}

impl Passing {
    /// The next tensor begins.
    pub fn begin(&mut self, entry: &Entry) {
        self.end();
        let shape = entry.shape.iter().map(|&n| n as u64).collect();
        let digest = Digest::of(&[]);
        let row = TensorEntry { name: entry.name.clone(), dtype: entry.dtype, shape, digest };
        self.current = Some((row, blake3::Hasher::new()));
    }

    /// The next bytes of that tensor.
    pub fn rows(&mut self, bytes: &[u8]) {
        if let Some((_, hasher)) = &mut self.current {
            hasher.update(bytes);
        }
    }

    pub fn finish(mut self, architecture: &Architecture, tokenizer: &Tokenizer) -> BaseIdentity {
        self.end();
        BaseIdentity::new(architecture.clone(), tokenizer.digest(), self.done)
    }

    fn end(&mut self) {
        if let Some((mut row, hasher)) = self.current.take() {
            row.digest = Digest(*hasher.finalize().as_bytes());
            self.done.push(row);
        }
    }
}

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

    /// Names the weights, whatever files they lie in. Reads all of them once; an error if the table is larger than an
    /// identity may be.
    pub fn id(&self) -> Result<BaseId, BaseError> {
        Ok(self.identity().id()?)
    }
}
