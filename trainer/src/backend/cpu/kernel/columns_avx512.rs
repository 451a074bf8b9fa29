//! Packing rows of bf16 as a panel's columns: pairs of them are 32-bit lanes, turned 16 by 16 in registers.

use std::arch::x86_64::*;

use half::bf16;

use super::{Bf16Avx512, Tile};

const COLS: usize = Bf16Avx512::COLS;
/// Rows, and pairs of each, that are turned at a time.
const SIDE: usize = 16;

impl Bf16Avx512 {
    /// `count` rows of `depth` values, `stride` apart, become the columns of a panel; columns beyond them are zero.
    ///
    /// # Panics
    /// If a slice is too short, the depth is odd, or there are more rows than columns.
    #[inline]
    pub fn columns(self, from: &[bf16], stride: usize, depth: usize, count: usize, out: &mut [bf16]) {
        assert!(
            depth.is_multiple_of(2) && count <= COLS,
            "a panel holds whole pairs of no more rows than it has columns"
        );
        assert!(count == 0 || (count - 1) * stride + depth <= from.len(), "rows reach beyond their slice");
        assert!(depth * COLS <= out.len(), "the panel is shorter than the rows");
        // SAFETY: a value of this type proves the instructions; the bounds were just asserted.
        unsafe { columns(from.as_ptr(), stride, depth / 2, count, out.as_mut_ptr()) }
    }
}

/// # Safety
/// The machine has the instructions, `from` reaches to the end of the last row, and `out` has room for a panel.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn columns(from: *const bf16, stride: usize, pairs: usize, count: usize, out: *mut bf16) {
    for first in (0..COLS).step_by(SIDE) {
        let rows = count.saturating_sub(first).min(SIDE);
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
                unsafe { _mm512_storeu_si512(out.add(2 * ((pair + step) * COLS + first)).cast(), square) }
            }
        }
    }
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
    use super::*;
    use crate::backend::cpu::factor;

    #[test]
    fn columns_are_those_of_the_plain_loops() {
        let Some(tile) = Bf16Avx512::new() else { return };
        let from: Vec<bf16> = (0..32 * 150).map(|i| bf16::from_bits(i as u16)).collect();
        for (stride, depth, count) in [(64, 64, 32), (150, 130, 31), (40, 34, 17), (3, 2, 1), (2, 2, 16), (16, 6, 0)] {
            let mut expected = vec![bf16::ZERO; depth * COLS];
            factor::columns::<Bf16Avx512, _>(&from, stride, depth, count, &mut expected);
            let mut got = vec![bf16::NAN; depth * COLS];
            let end = count.checked_sub(1).map_or(0, |last| last * stride + depth);
            tile.columns(&from[..end], stride, depth, count, &mut got);
            assert_eq!(got, expected, "{count} rows of {depth}, {stride} apart");
        }
    }
}
