//! What a result is called: the digest of its stream and its identity as a base, both made while it passes by.

use potluck_protocol::codec::CodecError;
use potluck_protocol::id::{BaseId, Digest, FoldDigest};
use potluck_protocol::tensor::DType;

use super::FoldError;
use crate::base::Base;
use crate::base::identity::Passing;
use crate::base::safetensors::Entry;

/// A result's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Of the stream of tensors, by the rule.
    pub digest: FoldDigest,
    /// What [`Base::id`] gives for the folder that the result is written to.
    pub base: BaseId,
}

/// The types that a result may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    pub fn new(dtype: DType) -> Result<Self, FoldError> {
        match dtype {
            DType::F32 => Ok(Self::F32),
            DType::F16 => Ok(Self::F16),
            DType::BF16 => Ok(Self::Bf16),
            other => Err(FoldError::Type(other)),
        }
    }

    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// How the digest's stream names it.
    fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 => 2,
        }
    }
}

/// Hashes a result as it passes.
pub struct Naming {
    float: Float,
    stream: blake3::Hasher,
    identity: Passing,
}

impl Naming {
    pub fn new(float: Float) -> Self {
        let stream = blake3::Hasher::new_derive_key("potluck 2026 fold/1");
        Self { float, stream, identity: Passing::default() }
    }

    /// The next tensor: its frame in the stream.
    pub fn begin(&mut self, entry: &Entry) {
        self.stream.update(&(entry.name.len() as u32).to_le_bytes());
        self.stream.update(entry.name.as_bytes());
        self.stream.update(&self.float.code().to_le_bytes());
        self.stream.update(&(entry.shape.len() as u32).to_le_bytes());
        for &dimension in &entry.shape {
            self.stream.update(&(dimension as u64).to_le_bytes());
        }
        self.identity.begin(entry);
    }

    /// The next bytes of that tensor.
    pub fn rows(&mut self, bytes: &[u8]) {
        let (stream, identity) = (&mut self.stream, &mut self.identity);
        rayon::join(|| stream.update(bytes), || identity.rows(bytes));
    }

    /// The names of the result, which keeps the parent's architecture and tokenizer.
    pub fn finish(self, parent: &Base) -> Result<Folded, CodecError> {
        let base = self.identity.finish(parent.architecture(), parent.tokenizer()).id()?;
        Ok(Folded { digest: FoldDigest(Digest(*self.stream.finalize().as_bytes())), base })
    }
}
