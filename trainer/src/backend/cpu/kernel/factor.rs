//! The right-hand factor of a product, in whatever form it is stored, and its packing into panels.
//!
//! A frozen matrix is kept once, as its file has it; what a kernel wants (pairs side by side, columns in panels, either
//! way round) is made panel by panel where it is used. For a training batch that costs a few in a hundred of the
//! product's time, and saves two packed copies of every matrix.

use half::bf16;
use potluck_protocol::tensor::DType;

use super::Tile;
use super::product::typed;
use crate::backend::cpu::element::{Element, convert, same};
use crate::tensor::dequantise;

/// Row-major values in any storage.
#[derive(Clone, Copy)]
pub enum Stored<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    /// Whole blocks in each row (blocks of one for `f16` and `f64`).
    Blocks {
        dtype: DType,
        bytes: &'a [u8],
    },
}

/// Which way a stored matrix enters a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Stored row `n` is column `n` of the product: `x W^T` with `W` as `[out, in]`.
    RowsAreColumns,
    /// Stored row `k` is the contraction's step `k`: `dy W`.
    RowsAreSteps,
}

/// A stored matrix as a factor.
#[derive(Clone, Copy)]
pub struct Factor<'a> {
    pub stored: Stored<'a>,
    /// Elements from one stored row to the next.
    pub stride: usize,
    pub orientation: Orientation,
    /// Steps of the contraction.
    pub depth: usize,
    /// Columns of the product.
    pub cols: usize,
}

/// Scratch of one thread.
#[derive(Default)]
pub struct Widened {
    row: Vec<f32>,
    values: Vec<u8>,
}

impl<'a> Factor<'a> {
    /// The stored values if they are of this type.
    #[inline(always)]
    pub fn elements<E: Element>(&self) -> Option<&'a [E]> {
        match self.stored {
            Stored::F32(values) => same(values),
            Stored::Bf16(values) => same(values),
            Stored::Blocks { .. } => None,
        }
    }

    /// Packs the steps `from .. from + depth` of the columns `first .. first + count`, at most `COLS`, into a panel. Columns
    /// beyond the last and steps that fill up a group are zero.
    #[inline(always)]
    pub fn pack<T: Tile>(
        &self,
        tile: T,
        (from, depth): (usize, usize),
        (first, count): (usize, usize),
        out: &mut [T::Element],
        widened: &mut Widened,
    ) {
        if count < T::COLS || !depth.is_multiple_of(T::GROUP) {
            out.fill(T::Element::ZERO);
        }
        match self.orientation {
            Orientation::RowsAreColumns => self.columns(tile, (from, depth), (first, count), out, widened),
            Orientation::RowsAreSteps => self.steps(tile, (from, depth), (first, count), out, widened),
        }
    }

    #[inline(always)]
    fn columns<T: Tile>(
        &self,
        tile: T,
        (from, depth): (usize, usize),
        (first, count): (usize, usize),
        out: &mut [T::Element],
        widened: &mut Widened,
    ) {
        match self.stored {
            Stored::F32(values) => {
                tile.columns(&values[first * self.stride + from..], self.stride, depth, count, out);
            }
            Stored::Bf16(values) => {
                tile.columns(&values[first * self.stride + from..], self.stride, depth, count, out);
            }
            Stored::Blocks { .. } => {
                let rows = (first..first + count).map(|row| (row, from));
                let values = self.widen_parts::<T::Element>(rows, depth, widened);
                tile.columns(values, depth, depth, count, out);
            }
        }
    }

    #[inline(always)]
    fn steps<T: Tile>(
        &self,
        tile: T,
        (from, depth): (usize, usize),
        (first, count): (usize, usize),
        out: &mut [T::Element],
        widened: &mut Widened,
    ) {
        match self.stored {
            Stored::F32(values) => {
                tile.steps(&values[from * self.stride + first..], self.stride, depth, count, out);
            }
            Stored::Bf16(values) => {
                tile.steps(&values[from * self.stride + first..], self.stride, depth, count, out);
            }
            Stored::Blocks { .. } => {
                let rows = (from..from + depth).map(|row| (row, first));
                let values = self.widen_parts::<T::Element>(rows, count, widened);
                tile.steps(values, count, depth, count, out);
            }
        }
    }

    /// Parts of stored rows (a row and its first element) of one length, one behind another, in the kernel's type.
    #[inline(always)]
    fn widen_parts<'w, E: Element>(
        &self,
        parts: impl ExactSizeIterator<Item = (usize, usize)>,
        len: usize,
        widened: &'w mut Widened,
    ) -> &'w [E] {
        let values = typed::<E>(&mut widened.values, parts.len() * len);
        widened.row.resize(len, 0.0);
        for ((row, first), values) in parts.zip(values.chunks_exact_mut(len.max(1))) {
            self.widen(row, first, &mut widened.row);
            convert(&widened.row, values);
        }
        values
    }

    /// `to` = elements `first ..` of a stored row.
    #[inline(always)]
    pub fn widen(&self, row: usize, first: usize, to: &mut [f32]) {
        let at = row * self.stride + first;
        match self.stored {
            Stored::F32(values) => to.copy_from_slice(&values[at..][..to.len()]),
            Stored::Bf16(values) => convert(&values[at..][..to.len()], to),
            Stored::Blocks { dtype, bytes } => widen_blocks(dtype, bytes, at, to),
        }
    }
}

/// Elements `at ..` of blocks. What does not begin or end at a block is widened aside.
fn widen_blocks(dtype: DType, bytes: &[u8], at: usize, to: &mut [f32]) {
    const BLOCK_MAX: usize = 256;
    let (elements, size) = dtype.block();
    let blocks = |index: usize, count: usize| &bytes[index * size..(index + count) * size];
    let mut aside = [0.0; BLOCK_MAX];
    let mut done = 0;
    while done < to.len() {
        let (index, within) = ((at + done) / elements, (at + done) % elements);
        let left = to.len() - done;
        if within == 0 && left >= elements {
            let whole = left / elements;
            dequantise::sequential(dtype, blocks(index, whole), &mut to[done..done + whole * elements]);
            done += whole * elements;
        } else {
            let part = left.min(elements - within);
            dequantise::sequential(dtype, blocks(index, 1), &mut aside[..elements]);
            to[done..done + part].copy_from_slice(&aside[within..within + part]);
            done += part;
        }
    }
}
