//! Frozen matrices and vectors: kept once, in the form that their file has where the kernels read it.

use half::bf16;
use potluck_protocol::tensor::DType;

use super::element::convert;
use super::kernel::factor::{Factor, Orientation, Stored};
use super::precision::Precision;
use crate::backend::{BackendError, Result};
use crate::tensor::HostTensor;
use crate::tensor::dequantise;

/// A frozen matrix `[out, in]`.
pub struct Weight {
    /// Rows: what the layer gives.
    pub out: usize,
    /// Columns: what it reads.
    pub inner: usize,
    held: Held,
}

enum Held {
    /// The file's own bytes (mapped, if the base is a file): quantised blocks, or floats of a type that is read as it
    /// lies.
    File(HostTensor),
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    /// On paper: the bytes of a copy that was not made, and those of the file that it would be read from.
    Dry {
        owned: usize,
        file: usize,
    },
}

impl Weight {
    /// `storage` is the type that plain floats are kept in; quantised blocks stay as they are. On paper nothing is
    /// copied.
    pub fn load(tensor: &HostTensor, storage: Precision, dry: bool) -> Result<Self> {
        let [out, inner] = tensor.shape[..] else {
            return Err(BackendError::Size { what: "dimensions of a matrix", got: tensor.shape.len(), expected: 2 });
        };
        Ok(Self { out, inner, held: hold(tensor, storage, dry) })
    }

    /// As a product's factor: `[out, in]` used as `W^T` (columns) or as `W` (steps).
    pub fn factor(&self, orientation: Orientation) -> Factor<'_> {
        let (depth, cols) = match orientation {
            Orientation::RowsAreColumns => (self.inner, self.out),
            Orientation::RowsAreSteps => (self.out, self.inner),
        };
        Factor { stored: self.stored(), stride: self.inner, orientation, depth, cols }
    }

    /// Bytes that are this process's own, rather than a file's that the system may drop and read again.
    pub fn owned_bytes(&self) -> usize {
        match &self.held {
            Held::File(_) => 0,
            Held::F32(values) => size_of_val(&values[..]),
            Held::Bf16(values) => size_of_val(&values[..]),
            Held::Dry { owned, .. } => *owned,
        }
    }

    /// Bytes that are in memory once the weight has been read, those of a mapped file included.
    pub fn resident_bytes(&self) -> usize {
        match &self.held {
            Held::File(tensor) => tensor.bytes().len(),
            Held::Dry { owned, file } => owned + file,
            Held::F32(_) | Held::Bf16(_) => self.owned_bytes(),
        }
    }

    fn stored(&self) -> Stored<'_> {
        match &self.held {
            Held::F32(values) => Stored::F32(values),
            Held::Bf16(values) => Stored::Bf16(values),
            Held::File(tensor) => as_stored(tensor),
            Held::Dry { .. } => Stored::F32(&[]),
        }
    }
}

/// Floats as they lie, if their alignment allows; blocks otherwise.
fn as_stored(tensor: &HostTensor) -> Stored<'_> {
    let bytes = tensor.bytes();
    if cfg!(target_endian = "little") {
        if let (DType::F32, Ok(values)) = (tensor.dtype, bytemuck::try_cast_slice(bytes)) {
            return Stored::F32(values);
        }
        if let (DType::BF16, Ok(values)) = (tensor.dtype, bytemuck::try_cast_slice(bytes)) {
            return Stored::Bf16(values);
        }
    }
    Stored::Blocks { dtype: tensor.dtype, bytes }
}

fn hold(tensor: &HostTensor, storage: Precision, dry: bool) -> Held {
    let as_it_is = match (tensor.dtype, storage) {
        (DType::F32, Precision::F32) | (DType::BF16, _) => !matches!(as_stored(tensor), Stored::Blocks { .. }),
        (dtype, _) => !dtype.is_float(),
    };
    if as_it_is {
        return Held::File(tensor.clone());
    }
    if dry {
        let kept = if tensor.dtype == DType::BF16 { Precision::Bf16 } else { storage };
        return Held::Dry { owned: tensor.shape.iter().product::<usize>() * kept.size(), file: tensor.bytes().len() };
    }
    match (storage, tensor.dtype) {
        // bf16 that does not lie on its alignment: widening it would only take room.
        (Precision::Bf16, _) | (Precision::F32, DType::BF16) => Held::Bf16(narrow_all(tensor)),
        (Precision::F32, _) => Held::F32(dequantise::tensor(tensor)),
    }
}

/// All values as bf16, a stretch at a time, so that they never exist as `f32` whole.
fn narrow_all(tensor: &HostTensor) -> Vec<bf16> {
    const STRETCH: usize = 1 << 14;
    let (_, size) = tensor.dtype.block();
    let mut values = vec![bf16::ZERO; tensor.shape.iter().product()];
    let mut wide = vec![0.0; STRETCH];
    for (values, bytes) in values.chunks_mut(STRETCH).zip(tensor.bytes().chunks(STRETCH * size)) {
        let wide = &mut wide[..values.len()];
        dequantise::sequential(tensor.dtype, bytes, wide);
        convert(wide, values);
    }
    values
}
