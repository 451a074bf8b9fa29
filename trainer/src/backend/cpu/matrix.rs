//! A buffer of the backend: a row-major matrix in a piece of pooled memory.

use std::sync::Arc;

use super::element::{Element, convert};
use super::kernel::output::Out;
use super::kernel::product::{Rows, Values, ValuesMut};
use super::pool::{Piece, Pool};
use super::precision::Precision;
use crate::backend::{BackendError, Result};

/// A row-major matrix. Copies share their memory; it changes only while there is one.
#[derive(Clone)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Precision,
    piece: Arc<Piece>,
    /// Elements before the first.
    offset: usize,
}

impl Matrix {
    /// A matrix of any content.
    pub fn new(pool: &Arc<Pool>, rows: usize, cols: usize, storage: Precision) -> Result<Self> {
        let bytes = rows * cols * storage.size();
        let piece = pool.take(bytes).map_err(|source| BackendError::Memory { bytes, source })?;
        Ok(Self { rows, cols, storage, piece: Arc::new(piece), offset: 0 })
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What its values are stored in.
    pub fn storage(&self) -> Precision {
        self.storage
    }

    /// All elements, row-major.
    pub fn values(&self) -> Values<'_> {
        match self.storage {
            Precision::F32 => Values::F32(self.piece.slice(self.offset, self.len())),
            Precision::Bf16 => Values::Bf16(self.piece.slice(self.offset, self.len())),
        }
    }

    /// An error while another matrix shares the memory.
    pub fn values_mut(&mut self) -> Result<ValuesMut<'_>> {
        let (offset, len) = (self.offset, self.len());
        let piece = Arc::get_mut(&mut self.piece).ok_or(BackendError::Shared)?;
        Ok(match self.storage {
            Precision::F32 => ValuesMut::F32(piece.slice_mut(offset, len)),
            Precision::Bf16 => ValuesMut::Bf16(piece.slice_mut(offset, len)),
        })
    }

    /// The values of a matrix that is stored in `f32`, as all but activations are.
    pub fn f32(&self, what: &'static str) -> Result<&[f32]> {
        match self.values() {
            Values::F32(values) => Ok(values),
            Values::Bf16(_) => Err(BackendError::Storage { what }),
        }
    }

    /// All elements, to be changed; `what` names the matrix in an error. An error if it is stored in bf16, or if another matrix
    /// shares the memory.
    pub fn f32_mut(&mut self, what: &'static str) -> Result<&mut [f32]> {
        match self.values_mut()? {
            ValuesMut::F32(values) => Ok(values),
            ValuesMut::Bf16(_) => Err(BackendError::Storage { what }),
        }
    }

    /// As the left-hand factor of a product, from a column on.
    pub fn columns(&self, from: usize) -> Rows<'_> {
        let values = match self.values() {
            Values::F32(values) => Values::F32(values.get(from..).unwrap_or_default()),
            Values::Bf16(values) => Values::Bf16(values.get(from..).unwrap_or_default()),
        };
        Rows { values, stride: self.cols }
    }

    /// As a product's output.
    pub fn out(&mut self) -> Result<Out<'_>> {
        self.out_from(0)
    }

    /// The same, from a column on.
    pub fn out_from(&mut self, col: usize) -> Result<Out<'_>> {
        let stride = self.cols;
        Ok(match self.values_mut()? {
            ValuesMut::F32(values) => Out::F32 { values: values.get_mut(col..).unwrap_or_default(), stride },
            ValuesMut::Bf16(values) => Out::Bf16 { values: values.get_mut(col..).unwrap_or_default(), stride },
        })
    }

    /// Some of its values as a matrix that shares them.
    pub fn part(&self, offset: usize, rows: usize, cols: usize) -> Result<Self> {
        if offset + rows * cols > self.len() {
            return Err(BackendError::Range { what: "element", index: offset + rows * cols, last: self.len() });
        }
        Ok(Self { rows, cols, offset: self.offset + offset, ..self.clone() })
    }

    /// All values, widened.
    pub fn read(&self) -> Vec<f32> {
        match self.values() {
            Values::F32(values) => values.to_vec(),
            Values::Bf16(values) => values.iter().map(|value| value.widen()).collect(),
        }
    }

    /// Writes values over its own from an offset on.
    pub fn write(&mut self, offset: usize, from: Values<'_>) -> Result<()> {
        match (self.values_mut()?, from) {
            (ValuesMut::F32(to), Values::F32(from)) => to[offset..][..from.len()].copy_from_slice(from),
            (ValuesMut::F32(to), Values::Bf16(from)) => convert(from, &mut to[offset..]),
            (ValuesMut::Bf16(to), Values::F32(from)) => convert(from, &mut to[offset..]),
            (ValuesMut::Bf16(to), Values::Bf16(from)) => to[offset..][..from.len()].copy_from_slice(from),
        }
        Ok(())
    }
}

impl<'a> Values<'a> {
    pub fn part(self, from: usize, len: usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(&values[from..from + len]),
            Self::Bf16(values) => Self::Bf16(&values[from..from + len]),
        }
    }
}
