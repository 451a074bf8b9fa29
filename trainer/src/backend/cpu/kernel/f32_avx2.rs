//! 6 rows by 16 columns of `f32` with fused multiply-add on 8 lanes.

use std::arch::x86_64::*;

use super::{Tile, check, check_transposed};

const ROWS: usize = 6;
const COLS: usize = 16;

/// Exists only on a machine that has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct F32Avx2(());

impl F32Avx2 {
    pub fn new() -> Option<Self> {
        super::super::instructions::Instructions::Avx2.available().then_some(Self(()))
    }
}

impl Tile for F32Avx2 {
    type Element = f32;
    type Narrow = Self;
    const ROWS: usize = ROWS;
    const COLS: usize = COLS;
    const GROUP: usize = 1;
    const FUSED: bool = true;

    #[inline]
    fn run(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
        check::<Self>(depth, x, stride, panel, sums);
        // SAFETY: a value of this type proves the instructions; `check` proved the bounds.
        unsafe { tile::<false>(depth, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
    }

    #[inline]
    fn run_transposed(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
        check_transposed::<Self>(depth, x, stride, panel, sums);
        // SAFETY: a value of this type proves the instructions; `check_transposed` proved the bounds.
        unsafe { tile::<true>(depth, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
    }

    fn narrow_tile(self) -> Self {
        self
    }
}

/// # Safety
/// The machine has the instructions, and the slices reach as far as `check` or, if `TRANSPOSED`, `check_transposed` asks.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const TRANSPOSED: bool>(depth: usize, x: *const f32, stride: usize, panel: *const f32, sums: *mut f32) {
    let (row, step) = if TRANSPOSED { (1, stride) } else { (stride, 1) };
    // SAFETY (all of it): pointers stay within what the checks proved.
    unsafe {
        let mut c = [[_mm256_setzero_ps(); 2]; ROWS];
        for (i, c) in c.iter_mut().enumerate() {
            *c = [_mm256_loadu_ps(sums.add(i * COLS)), _mm256_loadu_ps(sums.add(i * COLS + 8))];
        }
        for k in 0..depth {
            let (b0, b1) = (_mm256_loadu_ps(panel.add(k * COLS)), _mm256_loadu_ps(panel.add(k * COLS + 8)));
            for (i, c) in c.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*x.add(i * row + k * step));
                c[0] = _mm256_fmadd_ps(a, b0, c[0]);
                c[1] = _mm256_fmadd_ps(a, b1, c[1]);
            }
        }
        for (i, c) in c.iter().enumerate() {
            _mm256_storeu_ps(sums.add(i * COLS), c[0]);
            _mm256_storeu_ps(sums.add(i * COLS + 8), c[1]);
        }
    }
}
