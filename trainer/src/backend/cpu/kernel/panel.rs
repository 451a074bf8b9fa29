//! Packing into panels, in plain loops for every kernel; one that has better instructions overrides them.

use super::Tile;
use crate::backend::cpu::element::Element;

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
