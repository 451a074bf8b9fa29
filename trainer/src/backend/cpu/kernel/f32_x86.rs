//! Tiles of `f32` with fused multiply-add, two registers wide: 6 rows by 16 columns with AVX2, 12 by 32 with AVX-512.
//!
//! The two differ in the width of a register and in how many there are; what is computed, and in which order, is written
//! once.

use std::arch::x86_64::*;

use super::{Tile, check, check_transposed};
use crate::backend::cpu::instructions::Instructions;

/// A tile of so many rows by two registers of so many lanes, from the intrinsics of its instructions.
macro_rules! f32_tile {
    (
        $(#[$doc:meta])*
        $name:ident: $instructions:ident = $features:literal, $rows:literal rows, $lanes:literal lanes,
        $zero:ident, $load:ident, $store:ident, $splat:ident, $multiply_add:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(());

        impl $name {
            pub fn new() -> Option<Self> {
                Instructions::$instructions.available().then_some(Self(()))
            }

            /// # Safety
            /// The machine has the instructions, and the slices reach as far as `check` or, if `TRANSPOSED`,
            /// `check_transposed` asks.
            #[target_feature(enable = $features)]
            unsafe fn tile<const TRANSPOSED: bool>(
                depth: usize,
                x: *const f32,
                stride: usize,
                panel: *const f32,
                sums: *mut f32,
            ) {
                const COLS: usize = 2 * $lanes;
                let (row, step) = if TRANSPOSED { (1, stride) } else { (stride, 1) };
                // SAFETY: pointers stay within what the checks proved.
                unsafe {
                    let mut c = [[$zero(); 2]; $rows];
                    for (i, c) in c.iter_mut().enumerate() {
                        *c = [$load(sums.add(i * COLS)), $load(sums.add(i * COLS + $lanes))];
                    }
                    for k in 0..depth {
                        let (b0, b1) = ($load(panel.add(k * COLS)), $load(panel.add(k * COLS + $lanes)));
                        for (i, c) in c.iter_mut().enumerate() {
                            let a = $splat(*x.add(i * row + k * step));
                            c[0] = $multiply_add(a, b0, c[0]);
                            c[1] = $multiply_add(a, b1, c[1]);
                        }
                    }
                    for (i, c) in c.iter().enumerate() {
                        $store(sums.add(i * COLS), c[0]);
                        $store(sums.add(i * COLS + $lanes), c[1]);
                    }
                }
            }
        }

        impl Tile for $name {
            type Element = f32;
            type Narrow = Self;
            const ROWS: usize = $rows;
            const COLS: usize = 2 * $lanes;
            const GROUP: usize = 1;
            const FUSED: bool = true;

            #[inline]
            fn run(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
                check::<Self>(depth, x, stride, panel, sums);
                // SAFETY: a value of this type proves the instructions; `check` proved the bounds.
                unsafe { Self::tile::<false>(depth, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
            }

            #[inline]
            fn run_transposed(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
                check_transposed::<Self>(depth, x, stride, panel, sums);
                // SAFETY: a value of this type proves the instructions; `check_transposed` proved the bounds.
                unsafe { Self::tile::<true>(depth, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
            }

            fn narrow_tile(self) -> Self {
                self
            }
        }
    };
}

f32_tile! {
    /// Exists only on a machine that has AVX2 and FMA.
    F32Avx2: Avx2 = "avx2,fma", 6 rows, 8 lanes,
    _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps
}

f32_tile! {
    /// Exists only on a machine that has AVX-512.
    F32Avx512: Avx512 = "avx512f", 12 rows, 16 lanes,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps
}
