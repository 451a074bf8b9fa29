//! Packing bf16 into panels: pairs of values are 32-bit lanes. Rows that become columns are turned 16 by 16 in registers,
//! rows that become steps are woven two by two.

use std::arch::x86_64::*;

use half::bf16;

use super::{Bf16Avx512, Tile};

const COLS: usize = Bf16Avx512::COLS;
/// Rows, and pairs of each, that are turned at a time.
const SIDE: usize = 16;

/// [`Tile::columns`]; the depth is even.
#[inline]
pub fn columns(_proof: Bf16Avx512, from: &[bf16], stride: usize, depth: usize, count: usize, out: &mut [bf16]) {
    assert!(depth.is_multiple_of(2) && count <= COLS, "whole pairs of no more rows than a panel has columns");
    assert!(count == 0 || (count - 1) * stride + depth <= from.len(), "rows reach beyond their slice");
    assert!(depth * COLS <= out.len(), "the panel is shorter than the rows");
    // SAFETY: the tile's value proves the instructions; the bounds were just asserted.
    unsafe { turn(from.as_ptr(), stride, depth / 2, count, out.as_mut_ptr()) }
}

/// [`Tile::steps`].
#[inline]
pub fn steps(_proof: Bf16Avx512, from: &[bf16], stride: usize, depth: usize, count: usize, out: &mut [bf16]) {
    assert!((1..=COLS).contains(&count), "a panel has no more columns");
    assert!(depth == 0 || (depth - 1) * stride + count <= from.len(), "rows reach beyond their slice");
    assert!(depth.next_multiple_of(2) * COLS <= out.len(), "the panel is shorter than the rows");
    // SAFETY: the tile's value proves the instructions; the bounds were just asserted.
    unsafe { weave(from.as_ptr(), stride, depth, count, out.as_mut_ptr()) }
}

/// # Safety
/// The machine has the instructions, `from` reaches to the end of the last row, and `out` has room for a panel.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn turn(from: *const bf16, stride: usize, pairs: usize, count: usize, out: *mut bf16) {
    for first in (0..count).step_by(SIDE) {
        let rows = (count - first).min(SIDE);
        let columns = (u32::MAX >> (32 - rows)) as __mmask16;
        for pair in (0..pairs).step_by(SIDE) {
            let width = (pairs - pair).min(SIDE);
            let mask = (u32::MAX >> (32 - width)) as __mmask16;
            let mut square = [_mm512_setzero_si512(); SIDE];
            for (row, square) in square.iter_mut().enumerate().take(rows) {
                // SAFETY: within a row; lanes beyond it are not read.
                unsafe {
                    let at = from.add((first + row) * stride + 2 * pair);
                    *square = _mm512_maskz_loadu_epi32(mask, at.cast());
                }
            }
            for (step, square) in turned(square).into_iter().enumerate().take(width) {
                // SAFETY: within the panel, which has `COLS` pairs for each of `pairs` steps.
                unsafe {
                    let at = out.add(2 * ((pair + step) * COLS + first));
                    _mm512_mask_storeu_epi32(at.cast(), columns, square);
                }
            }
        }
    }
}

/// # Safety
/// The machine has the instructions, `from` reaches to the end of the last row, and `out` has room for a panel.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn weave(from: *const bf16, stride: usize, depth: usize, count: usize, out: *mut bf16) {
    let mask = u32::MAX >> (COLS - count);
    let masks = [(mask as u16, 0), ((mask >> 16) as u16, 16i16)];
    for k in (0..depth).step_by(2) {
        // SAFETY: within a row; lanes beyond it, and a row beyond the last, are not read.
        let (even, odd) = unsafe {
            let odd = if k + 1 < depth { mask } else { 0 };
            let row = |k: usize| from.wrapping_add(k * stride).cast();
            (_mm512_maskz_loadu_epi16(mask, row(k)), _mm512_maskz_loadu_epi16(odd, row(k + 1)))
        };
        for (mask, first) in masks {
            // SAFETY: within the panel, which has `COLS` pairs for each of its steps.
            unsafe {
                let to = out.add(k * COLS + 2 * first as usize);
                let pairs = _mm512_permutex2var_epi16(even, woven_lanes(first), odd);
                _mm512_mask_storeu_epi32(to.cast(), mask, pairs);
            }
        }
    }
}

/// The lanes of two vectors in turn, from one on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn woven_lanes(first: i16) -> __m512i {
    let mut index = [0i16; 32];
    for (i, index) in index.iter_mut().enumerate() {
        *index = first + i as i16 / 2 + if i % 2 == 1 { 32 } else { 0 };
    }
    // SAFETY: an array of the vector's size.
    unsafe { _mm512_loadu_si512(index.as_ptr().cast()) }
}

/// A square of 32-bit lanes, turned: by two and four rows within 128 bits, then the 128 bits among rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn turned(rows: [__m512i; SIDE]) -> [__m512i; SIDE] {
    let zero = _mm512_setzero_si512();
    let (mut twos, mut fours, mut out) = ([zero; SIDE], [zero; SIDE], [zero; SIDE]);
    for i in (0..SIDE).step_by(2) {
        twos[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        twos[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for i in (0..SIDE).step_by(4) {
        for half in 0..2 {
            fours[i + 2 * half] = _mm512_unpacklo_epi64(twos[i + half], twos[i + 2 + half]);
            fours[i + 2 * half + 1] = _mm512_unpackhi_epi64(twos[i + half], twos[i + 2 + half]);
        }
    }
    for i in 0..4 {
        let even = |at: usize| _mm512_shuffle_i32x4::<0x88>(fours[at + i], fours[at + 4 + i]);
        let odd = |at: usize| _mm512_shuffle_i32x4::<0xdd>(fours[at + i], fours[at + 4 + i]);
        let (even, odd) = ([even(0), even(8)], [odd(0), odd(8)]);
        out[i] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        out[i + 4] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        out[i + 8] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        out[i + 12] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::panel;
    use super::*;

    #[test]
    fn panels_are_those_of_the_plain_loops() {
        let Some(tile) = Bf16Avx512::new() else { return };
        let from: Vec<bf16> = (0..32 * 150).map(|i| bf16::from_bits(i as u16)).collect();
        for (stride, depth, count) in [(64, 64, 32), (150, 130, 31), (40, 34, 17), (3, 2, 1), (2, 2, 16), (16, 6, 0)] {
            let mut expected = vec![bf16::ONE; depth * COLS];
            panel::columns::<Bf16Avx512, _>(&from, stride, depth, count, &mut expected);
            let mut got = vec![bf16::ONE; depth * COLS];
            let end = count.checked_sub(1).map_or(0, |last| last * stride + depth);
            columns(tile, &from[..end], stride, depth, count, &mut got);
            assert_eq!(got, expected, "{count} rows of {depth}, {stride} apart, as columns");
        }
        for (stride, depth, count) in [(32, 150usize, 32), (60, 75, 31), (40, 34, 16), (3, 1, 1), (17, 8, 17)] {
            let mut expected = vec![bf16::ONE; depth.next_multiple_of(2) * COLS];
            panel::steps::<Bf16Avx512, _>(&from, stride, depth, count, &mut expected);
            let mut got = vec![bf16::ONE; depth.next_multiple_of(2) * COLS];
            steps(tile, &from[..(depth - 1) * stride + count], stride, depth, count, &mut got);
            assert_eq!(got, expected, "{depth} rows of {count}, {stride} apart, as steps");
        }
    }
}
