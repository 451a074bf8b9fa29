//! Frozen matrices: floats of the backend's type, or ggml blocks that are widened where an operation needs them.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use potluck_protocol::tensor::DType;
use rayon::prelude::*;

use super::host::{Element, View, matrix};
use crate::backend::{BackendError, Result};
use crate::tensor::HostTensor;

/// Rows of a quantised matrix that one thread widens at a time.
const PANEL: usize = 64;

/// A frozen matrix `[out, in]`. Plain floats take `size_of::<T>()` bytes an element; blocks take what their file took,
/// and the widened copy of one matrix while an operation uses it.
#[derive(Clone)]
pub enum Weight {
    /// Floats of the backend's type.
    Plain(Tensor),
    /// Blocks as the file stores them, widened for each operation.
    Blocks(Arc<Blocks>),
}

/// A quantised matrix, cut into panels of [`PANEL`] rows so that all threads widen it.
pub struct Blocks {
    panels: Vec<QTensor>,
    out: usize,
    inner: usize,
}

impl Weight {
    /// From `[out, in]` elements of any stored type; another number of dimensions is an error.
    pub fn load<T: Element>(tensor: &HostTensor) -> Result<Self> {
        let [out, inner] = tensor.shape[..] else {
            return Err(BackendError::Size { what: "dimensions of a matrix", got: tensor.shape.len(), expected: 2 });
        };
        match block_type(tensor.dtype) {
            None => Ok(Self::Plain(matrix(floats::<T>(tensor), out, inner)?)),
            Some(kind) => {
                let row = kind.type_size() * (inner / kind.block_size());
                let panels = tensor.bytes().chunks(row * PANEL).map(|bytes| panel(bytes, kind, inner));
                Ok(Self::Blocks(Arc::new(Blocks { panels: panels.collect::<Result<_>>()?, out, inner })))
            }
        }
    }

    /// The matrix as floats; borrowed memory if it is plain.
    pub fn dense<T: Element>(&self) -> Result<Tensor> {
        match self {
            Self::Plain(tensor) => Ok(tensor.clone()),
            Self::Blocks(blocks) => blocks.widen::<T>(),
        }
    }

    /// Some rows as floats.
    pub fn rows<T: Element>(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Plain(tensor) => {
                let (out, inner) = tensor.dims2()?;
                let view = View::<T>::new(tensor)?;
                let mut values = Vec::with_capacity(ids.len() * inner);
                for &id in ids {
                    let row = checked(id, out)?;
                    values.extend_from_slice(&view.slice()[row * inner..][..inner]);
                }
                matrix(values, ids.len(), inner)
            }
            Self::Blocks(blocks) => blocks.rows::<T>(ids),
        }
    }
}

impl Blocks {
    fn widen<T: Element>(&self) -> Result<Tensor> {
        let mut values = vec![T::ZERO; self.out * self.inner];
        let parts = values.par_chunks_mut(PANEL * self.inner).zip(&self.panels);
        parts.try_for_each(|(part, panel)| copy_widened(panel, part))?;
        matrix(values, self.out, self.inner)
    }

    fn rows<T: Element>(&self, ids: &[u32]) -> Result<Tensor> {
        let mut needed: Vec<usize> = ids.iter().map(|&id| id as usize / PANEL).collect();
        needed.sort_unstable();
        needed.dedup();
        ids.iter().try_for_each(|&id| checked(id, self.out).map(|_| ()))?;
        let widened: Vec<Vec<T>> = needed
            .par_iter()
            .map(|&index| {
                let panel = &self.panels[index];
                let mut values = vec![T::ZERO; panel.shape().elem_count()];
                copy_widened(panel, &mut values).map(|()| values)
            })
            .collect::<Result<_>>()?;
        let mut values = Vec::with_capacity(ids.len() * self.inner);
        for &id in ids {
            let (index, row) = (id as usize / PANEL, id as usize % PANEL);
            let at = needed.binary_search(&index).unwrap_or_default();
            values.extend_from_slice(&widened[at][row * self.inner..][..self.inner]);
        }
        matrix(values, ids.len(), self.inner)
    }
}

fn checked(id: u32, out: usize) -> Result<usize> {
    let index = id as usize;
    if index < out { Ok(index) } else { Err(BackendError::Range { what: "row", index, last: out.saturating_sub(1) }) }
}

fn copy_widened<T: Element>(panel: &QTensor, part: &mut [T]) -> Result<()> {
    let floats = panel.dequantize(&Device::Cpu)?.flatten_all()?;
    for (to, &from) in part.iter_mut().zip(View::<f32>::new(&floats)?.slice()) {
        *to = T::of(f64::from(from));
    }
    Ok(())
}

fn panel(bytes: &[u8], kind: GgmlDType, inner: usize) -> Result<QTensor> {
    // A mapped file may place blocks at odd addresses; a fresh allocation is aligned for every block type.
    let aligned = bytes.as_ptr().addr().is_multiple_of(align_of::<u64>());
    let bytes = if aligned { Cow::Borrowed(bytes) } else { Cow::Owned(bytes.to_vec()) };
    let row = kind.type_size() * (inner / kind.block_size());
    let rows = bytes.len() / row;
    Ok(QTensor::new(QStorage::from_data(bytes, &Device::Cpu, kind)?, (rows, inner))?)
}

/// `None` for plain floats.
fn block_type(dtype: DType) -> Option<GgmlDType> {
    Some(match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 => return None,
        DType::Q4_0 => GgmlDType::Q4_0,
        DType::Q4_1 => GgmlDType::Q4_1,
        DType::Q5_0 => GgmlDType::Q5_0,
        DType::Q5_1 => GgmlDType::Q5_1,
        DType::Q8_0 => GgmlDType::Q8_0,
        DType::Q2K => GgmlDType::Q2K,
        DType::Q3K => GgmlDType::Q3K,
        DType::Q4K => GgmlDType::Q4K,
        DType::Q5K => GgmlDType::Q5K,
        DType::Q6K => GgmlDType::Q6K,
        DType::Q8K => GgmlDType::Q8K,
    })
}

/// A vector of plain floats as a matrix of one row.
pub fn vector<T: Element>(tensor: &HostTensor) -> Result<Tensor> {
    if block_type(tensor.dtype).is_some() {
        return Err(BackendError::Quantised { what: "the weight of a norm", dtype: tensor.dtype });
    }
    let values = floats::<T>(tensor);
    let cols = values.len();
    matrix(values, 1, cols)
}

/// The values of a tensor of plain floats, rounded to the backend's type.
fn floats<T: Element>(tensor: &HostTensor) -> Vec<T> {
    fn read<T: Element, const N: usize>(bytes: &[u8], wide: impl Fn([u8; N]) -> f64 + Sync) -> Vec<T> {
        bytes.as_chunks::<N>().0.par_iter().map(|&bytes| T::of(wide(bytes))).collect()
    }
    let bytes = tensor.bytes();
    match tensor.dtype {
        DType::F16 => read::<T, 2>(bytes, |b| f16::from_le_bytes(b).to_f64()),
        DType::BF16 => read::<T, 2>(bytes, |b| bf16::from_le_bytes(b).to_f64()),
        DType::F64 => read::<T, 8>(bytes, f64::from_le_bytes),
        _ => read::<T, 4>(bytes, |b| f32::from_le_bytes(b).into()),
    }
}
