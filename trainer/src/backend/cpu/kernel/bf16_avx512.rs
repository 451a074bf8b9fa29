//! 12 rows by 32 columns of bf16 pairs, `VDPBF16PS`: 24 sums of 16 lanes, two loads and twelve broadcasts for each pair
//! of the contraction. The instruction adds both products of a pair to an `f32` lane.

use std::arch::x86_64::*;

use half::bf16;

use super::{Tile, check, check_transposed};

const ROWS: usize = 12;
const COLS: usize = 32;

/// Exists only on a machine that has AVX-512 with bf16.
#[derive(Clone, Copy)]
pub struct Bf16Avx512(());

impl Bf16Avx512 {
    pub fn new() -> Option<Self> {
        super::super::instructions::Instructions::Avx512Bf16.available().then_some(Self(()))
    }
}

impl Tile for Bf16Avx512 {
    type Element = bf16;
    const ROWS: usize = ROWS;
    const COLS: usize = COLS;
    const GROUP: usize = 2;
    const FUSED: bool = true;

    #[inline]
    fn run(self, depth: usize, x: &[bf16], stride: usize, panel: &[bf16], sums: &mut [f32]) {
        check::<Self>(depth, x, stride, panel, sums);
        // SAFETY: a value of this type proves the instructions; `check` proved the bounds.
        unsafe { tile::<false>(depth / 2, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
    }

    #[inline]
    fn run_transposed(self, depth: usize, x: &[bf16], stride: usize, panel: &[bf16], sums: &mut [f32]) {
        check_transposed::<Self>(depth, x, stride, panel, sums);
        // SAFETY: a value of this type proves the instructions; `check_transposed` proved the bounds.
        unsafe { tile::<true>(depth / 2, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
    }

    #[inline(always)]
    fn narrow(self, sums: &[f32], to: &mut [bf16]) {
        assert!(to.len() <= COLS && to.len() <= sums.len(), "a row of sums is as wide as the tile");
        // SAFETY: a value of this type proves the instructions; the lengths were just asserted.
        unsafe { narrow(sums.as_ptr(), to) }
    }

    #[inline(always)]
    fn prefetch<E>(self, to: *const E) {
        for line in (0..COLS * size_of::<E>()).step_by(64) {
            // SAFETY: a prefetch of any address is allowed.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(to.wrapping_byte_add(line).cast()) }
        }
    }
}

/// # Safety
/// The machine has the instructions, and the slices reach as far as `check` or, if `TRANSPOSED`, `check_transposed` asks.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile<const TRANSPOSED: bool>(
    pairs: usize,
    x: *const bf16,
    stride: usize,
    panel: *const bf16,
    sums: *mut f32,
) {
    let (row, step) = if TRANSPOSED { (2, stride) } else { (stride, 2) };
    // SAFETY (all of it): pointers stay within what the checks proved; bit patterns of 512-bit vectors are interchangeable.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); 2]; ROWS];
        for (i, c) in c.iter_mut().enumerate() {
            *c = [_mm512_loadu_ps(sums.add(i * COLS)), _mm512_loadu_ps(sums.add(i * COLS + 16))];
        }
        for pair in 0..pairs {
            let b = panel.add(pair * 2 * COLS);
            let b0: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.cast()));
            let b1: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.add(COLS).cast()));
            for (i, c) in c.iter_mut().enumerate() {
                let two = x.add(i * row + pair * step).cast::<i32>().read_unaligned();
                let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(two));
                c[0] = _mm512_dpbf16_ps(c[0], a, b0);
                c[1] = _mm512_dpbf16_ps(c[1], a, b1);
            }
        }
        for (i, c) in c.iter().enumerate() {
            _mm512_storeu_ps(sums.add(i * COLS), c[0]);
            _mm512_storeu_ps(sums.add(i * COLS + 16), c[1]);
        }
    }
}

/// # Safety
/// The machine has the instructions, and `sums` reaches as far as `to`, which is no longer than a tile's row.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn narrow(sums: *const f32, to: &mut [bf16]) {
    let mask = u32::MAX >> (COLS - to.len()).min(31);
    // SAFETY: masked lanes are neither read nor written.
    unsafe {
        let low = _mm512_maskz_loadu_ps(mask as u16, sums);
        let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, sums.wrapping_add(16));
        let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
        _mm512_mask_storeu_epi16(to.as_mut_ptr().cast(), mask, both);
    }
}
