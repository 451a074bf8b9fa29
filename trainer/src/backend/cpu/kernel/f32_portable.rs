//! `f32` in plain loops over arrays that a compiler turns into whatever vectors its target has: for any processor, and
//! for aarch64, where that is NEON with fused multiply-add.

use super::{Tile, check, check_transposed};

/// For any processor: product and sum are rounded apart.
#[derive(Clone, Copy)]
pub struct F32Portable;

/// aarch64. Exists only there: elsewhere a fused multiply-add may be a call.
#[derive(Clone, Copy)]
pub struct F32Neon(());

#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
impl F32Neon {
    pub fn new() -> Option<Self> {
        cfg!(target_arch = "aarch64").then_some(Self(()))
    }
}

impl Tile for F32Portable {
    type Element = f32;
    type Narrow = Self;
    const ROWS: usize = 4;
    const COLS: usize = 8;
    const GROUP: usize = 1;
    const FUSED: bool = false;

    #[inline(always)]
    fn run(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
        check::<Self>(depth, x, stride, panel, sums);
        tile::<4, 8>(depth, x, (stride, 1), panel, sums, |a, b, c| a * b + c);
    }

    #[inline(always)]
    fn run_transposed(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
        check_transposed::<Self>(depth, x, stride, panel, sums);
        tile::<4, 8>(depth, x, (1, stride), panel, sums, |a, b, c| a * b + c);
    }

    fn narrow_tile(self) -> Self {
        self
    }
}

impl Tile for F32Neon {
    type Element = f32;
    type Narrow = Self;
    const ROWS: usize = 8;
    const COLS: usize = 12;
    const GROUP: usize = 1;
    const FUSED: bool = true;

    #[inline(always)]
    fn run(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
        check::<Self>(depth, x, stride, panel, sums);
        tile::<8, 12>(depth, x, (stride, 1), panel, sums, f32::mul_add);
    }

    #[inline(always)]
    fn run_transposed(self, depth: usize, x: &[f32], stride: usize, panel: &[f32], sums: &mut [f32]) {
        check_transposed::<Self>(depth, x, stride, panel, sums);
        tile::<8, 12>(depth, x, (1, stride), panel, sums, f32::mul_add);
    }

    fn narrow_tile(self) -> Self {
        self
    }
}

/// Always inlined, its callers too: compiled apart, it keeps half of its sums in memory (measured: half the speed).
#[inline(always)]
fn tile<const ROWS: usize, const COLS: usize>(
    depth: usize,
    x: &[f32],
    (row, step): (usize, usize),
    panel: &[f32],
    sums: &mut [f32],
    fma: impl Fn(f32, f32, f32) -> f32,
) {
    let mut c = [[0.0f32; COLS]; ROWS];
    for (c, sums) in c.iter_mut().zip(sums.as_chunks::<COLS>().0) {
        *c = *sums;
    }
    for (k, b) in panel.as_chunks::<COLS>().0.iter().enumerate().take(depth) {
        for (i, c) in c.iter_mut().enumerate() {
            let a = x[i * row + k * step];
            for (c, &b) in c.iter_mut().zip(b) {
                *c = fma(a, b, *c);
            }
        }
    }
    for (c, sums) in c.iter().zip(sums.as_chunks_mut::<COLS>().0) {
        *sums = *c;
    }
}
