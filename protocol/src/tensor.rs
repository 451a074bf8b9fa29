//! Tensors by name, type and shape, as the identity of a base and the safetensors header state them.

use serde::{Deserialize, Serialize};

use crate::codec::Malformed;
use crate::id::Digest;
use crate::limits::{DIMENSIONS_MAX, TENSOR_NAME_MAX};

/// How a tensor's elements are stored: the floating types of safetensors and the block types of ggml.
///
/// The order of the variants is part of the wire format: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an `F32`.
    BF16,
    /// IEEE 754 double precision.
    F64,
    /// 4 bits and a scale for 32 elements.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32 elements.
    Q4_1,
    /// 5 bits and a scale for 32 elements.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32 elements.
    Q5_1,
    /// 8 bits and a scale for 32 elements.
    Q8_0,
    /// 2 bits, with scales and minima for each 16 of 256 elements.
    Q2K,
    /// 3 bits, with scales for each 16 of 256 elements.
    Q3K,
    /// 4 bits, with scales and minima for each 32 of 256 elements.
    Q4K,
    /// 5 bits, with scales and minima for each 32 of 256 elements.
    Q5K,
    /// 6 bits, with scales for each 16 of 256 elements.
    Q6K,
    /// 8 bits and a scale for 256 elements.
    Q8K,
}

impl DType {
    /// Elements of one block and bytes of one block (ggml `ggml-common.h`); plain types have blocks of one element.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::F64 => (1, 8),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Q8K => (256, 292),
        }
    }

    /// Whether elements are plain floating numbers rather than blocks.
    pub const fn is_float(self) -> bool {
        self.block().0 == 1
    }

    /// Bytes of a tensor of this type and shape; `None` if a row is no whole number of blocks or the product
    /// overflows. The last dimension is contiguous.
    pub fn bytes(self, shape: &[usize]) -> Option<usize> {
        let (elements, bytes) = self.block();
        let row = shape.last().copied().unwrap_or(1);
        if row % elements != 0 {
            return None;
        }
        let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        (count / elements).checked_mul(bytes)
    }
}

/// The name that its format gives it, e.g. `BF16`.
impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// One row of a base's tensor table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TensorEntry {
    /// The Hugging Face name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// How its elements are stored in the file that it was read from.
    pub dtype: DType,
    /// Row-major, outermost first, as safetensors states it: `[out, in]` for a linear layer.
    pub shape: Vec<u64>,
    /// BLAKE3 of the tensor's bytes in row-major order.
    pub digest: Digest,
}

impl TensorEntry {
    /// Bounds of name and shape.
    pub fn check(&self) -> Result<(), Malformed> {
        check_name(&self.name)?;
        Malformed::unless(self.shape.len() <= DIMENSIONS_MAX, || {
            format!("tensor `{}` has {} dimensions, at most {DIMENSIONS_MAX} are allowed", self.name, self.shape.len())
        })
    }
}

/// A tensor's name: 1 to [`TENSOR_NAME_MAX`] printable ASCII bytes.
pub(crate) fn check_name(name: &str) -> Result<(), Malformed> {
    let good = !name.is_empty() && name.len() <= TENSOR_NAME_MAX && name.bytes().all(|b| b.is_ascii_graphic());
    Malformed::unless(good, || format!("`{}` is no tensor name", name.chars().take(80).collect::<String>()))
}
