//! The float type of the cpu backend's matrices.

use crate::names::named;

/// What matrix products multiply and activations are kept in; sums, factors, gradients and the optimiser are `f32` in both.
/// Of one matrix: what its values are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits: the range of an `f32`, with 8 bits of precision.
    Bf16,
}

named!(Precision { F32 = "f32", Bf16 = "bf16" });

impl Precision {
    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}
