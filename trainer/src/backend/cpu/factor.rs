//! The right-hand factor of a product, in whatever form it is stored, and its packing into panels.
//!
//! A frozen matrix is kept once, as its file has it; what a kernel wants (pairs side by side, columns in panels, either
//! way round) is made panel by panel where it is used. For a training batch that costs a few in a hundred of the
//! product's time, and saves two packed copies of every matrix.

use half::bf16;
use potluck_protocol::tensor::DType;

use super::element::{Element, convert};
use super::kernel::Tile;
use crate::base::dequantise;

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
pub struct Widened(Vec<f32>);

impl<'a> Factor<'a> {
    /// The stored values if they are of this type.
    #[inline(always)]
    pub fn elements<E: Element>(&self) -> Option<&'a [E]> {
        match self.stored {
            Stored::F32(values) => bytemuck::try_cast_slice(values).ok().filter(|_| size_of::<E>() == 4),
            Stored::Bf16(values) => bytemuck::try_cast_slice(values).ok().filter(|_| size_of::<E>() == 2),
            Stored::Blocks { .. } => None,
        }
    }

    /// Packs the steps `from .. from + depth` of the columns `first .. first + count` into consecutive panels. Columns
    /// beyond the last and steps that fill up a group are zero.
    #[inline(always)]
    pub fn pack<T: Tile>(
        &self,
        (from, depth): (usize, usize),
        (first, count): (usize, usize),
        out: &mut [T::Element],
        widened: &mut Widened,
    ) {
        let padded = depth.next_multiple_of(T::GROUP);
        for (panel, out) in out.chunks_exact_mut(padded * T::COLS).enumerate().take(count.div_ceil(T::COLS)) {
            let (first, count) = (first + panel * T::COLS, (count - panel * T::COLS).min(T::COLS));
            if count < T::COLS || padded > depth {
                out.fill(T::Element::ZERO);
            }
            match self.orientation {
                Orientation::RowsAreColumns => self.columns::<T>((from, depth), (first, count), out, widened),
                Orientation::RowsAreSteps => self.steps::<T>((from, depth), (first, count), out, widened),
            }
        }
    }

    #[inline(always)]
    fn columns<T: Tile>(
        &self,
        (from, depth): (usize, usize),
        (first, count): (usize, usize),
        out: &mut [T::Element],
        widened: &mut Widened,
    ) {
        match self.stored {
            Stored::F32(values) => {
                columns::<T, _>(&values[first * self.stride + from..], self.stride, depth, count, out)
            }
            Stored::Bf16(values) => {
                columns::<T, _>(&values[first * self.stride + from..], self.stride, depth, count, out)
            }
            Stored::Blocks { .. } => {
                widened.0.resize(depth * count, 0.0);
                for (n, row) in widened.0.chunks_exact_mut(depth).enumerate() {
                    self.widen(first + n, from, row);
                }
                columns::<T, _>(&widened.0, depth, depth, count, out);
            }
        }
    }

    #[inline(always)]
    fn steps<T: Tile>(
        &self,
        (from, depth): (usize, usize),
        (first, count): (usize, usize),
        out: &mut [T::Element],
        widened: &mut Widened,
    ) {
        match self.stored {
            Stored::F32(values) => steps::<T, _>(&values[from * self.stride + first..], self.stride, depth, count, out),
            Stored::Bf16(values) => {
                steps::<T, _>(&values[from * self.stride + first..], self.stride, depth, count, out)
            }
            Stored::Blocks { .. } => {
                widened.0.resize(depth * count, 0.0);
                for (k, row) in widened.0.chunks_exact_mut(count).enumerate() {
                    self.widen(from + k, first, row);
                }
                steps::<T, _>(&widened.0, count, depth, count, out);
            }
        }
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

/// Columns of the widest panel.
const MAX_COLS: usize = 32;

/// Steps that are packed before going on to the next row, so that the panel's lines stay in the first cache.
const STRIP: usize = 32;

/// Rows of `from` become the panel's columns.
#[inline(always)]
pub fn columns<T: Tile, S: Element>(from: &[S], stride: usize, depth: usize, count: usize, out: &mut [T::Element]) {
    if T::GROUP == 2 && pairs::<T, S>(from, stride, depth, count, out) {
        return;
    }
    for strip in (0..depth).step_by(STRIP) {
        let end = (strip + STRIP).min(depth);
        for n in 0..count {
            let row = &from[n * stride..][strip..end];
            for (k, value) in (strip..end).zip(row) {
                out[(k / T::GROUP * T::COLS + n) * T::GROUP + k % T::GROUP] = T::Element::narrow(value.widen());
            }
        }
    }
}

/// The same where nothing is converted and pairs can be moved as one; `false` if they cannot.
#[inline(always)]
fn pairs<T: Tile, S: Element>(from: &[S], stride: usize, depth: usize, count: usize, out: &mut [T::Element]) -> bool {
    let even = depth.is_multiple_of(2) && stride.is_multiple_of(2) && size_of::<S>() == 2;
    let whole = &from[..if even { from.len() / 2 * 2 } else { 0 }];
    let (Ok(from), Ok(out)) = (bytemuck::try_cast_slice::<S, u32>(whole), bytemuck::try_cast_slice_mut::<_, u32>(out))
    else {
        return false;
    };
    if !even {
        return false;
    }
    let (stride, depth) = (stride / 2, depth / 2);
    let squares = |len: usize| len / SQUARE * SQUARE;
    for n in (0..squares(count)).step_by(SQUARE) {
        for k in (0..squares(depth)).step_by(SQUARE) {
            square(&from[n * stride + k..], stride, &mut out[k * T::COLS + n..], T::COLS);
        }
    }
    for n in 0..count {
        let done = if n < squares(count) { squares(depth) } else { 0 };
        for (k, &pair) in (done..depth).zip(&from[n * stride + done..]) {
            out[k * T::COLS + n] = pair;
        }
    }
    true
}

/// Rows and columns that are turned at a time, as the compiler does it well.
const SQUARE: usize = 4;

/// A square of pairs, turned.
#[inline(always)]
fn square(from: &[u32], stride: usize, out: &mut [u32], cols: usize) {
    let row = |n: usize| from[n * stride..].first_chunk::<SQUARE>().copied().unwrap_or_default();
    let rows: [[u32; SQUARE]; SQUARE] = std::array::from_fn(row);
    for k in 0..SQUARE {
        if let Some(out) = out[k * cols..].first_chunk_mut() {
            *out = rows.map(|row| row[k]);
        }
    }
}

/// Two rows as one row of pairs, where nothing is converted.
#[inline(always)]
fn interleave(even: &[u16], odd: &[u16], out: &mut [u16]) {
    for ((out, &even), &odd) in out.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
        *out = [even, odd];
    }
}

/// Rows of `from` are the panel's steps.
#[inline(always)]
pub fn steps<T: Tile, S: Element>(from: &[S], stride: usize, depth: usize, count: usize, out: &mut [T::Element]) {
    if T::GROUP == 2
        && size_of::<S>() == 2
        && let (Ok(from), Ok(out)) = (bytemuck::try_cast_slice(from), bytemuck::try_cast_slice_mut(out))
    {
        for (pair, out) in out.chunks_exact_mut(2 * T::COLS).enumerate() {
            let even = &from[2 * pair * stride..][..count];
            if 2 * pair + 1 < depth {
                interleave(even, &from[(2 * pair + 1) * stride..][..count], out);
            } else {
                interleave(even, &[0; MAX_COLS][..count], out);
            }
        }
        return;
    }
    let group_len = T::COLS * T::GROUP;
    for (group, out) in out.chunks_exact_mut(group_len).enumerate() {
        let k = group * T::GROUP;
        if T::GROUP == 2 && k + 1 < depth {
            let (even, odd) = (&from[k * stride..][..count], &from[(k + 1) * stride..][..count]);
            for ((out, even), odd) in out.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
                *out = [T::Element::narrow(even.widen()), T::Element::narrow(odd.widen())];
            }
        } else if k < depth {
            let row = &from[k * stride..][..count];
            for (n, value) in row.iter().enumerate() {
                out[n * T::GROUP] = T::Element::narrow(value.widen());
            }
        }
    }
}
