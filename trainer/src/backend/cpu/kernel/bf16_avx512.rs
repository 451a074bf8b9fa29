//! Blocks of bf16 pairs, `VDPBF16PS`: 24 sums of 16 lanes, which leaves registers for the factors. The instruction adds
//! both products of a pair to an `f32` lane.

use std::arch::x86_64::*;

use half::bf16;

use super::panel_avx512::woven_lanes;
use super::{Operand, RunThin, Thin, Tile, check, check_thin, check_transposed, panel, panel_avx512};
use crate::backend::cpu::element::{Element, same};
use crate::backend::cpu::instructions::Instructions;

/// Lanes of a vector of sums.
const LANES: usize = 16;

/// 12 rows by 32 columns: two loads and twelve broadcasts for each pair of the contraction. Exists only on a machine that
/// has AVX-512 with bf16.
#[derive(Clone, Copy)]
pub struct Bf16Avx512(());

/// 24 rows by 16 columns, for products of few columns.
#[derive(Clone, Copy)]
pub struct Bf16Avx512Narrow(());

impl Bf16Avx512 {
    pub fn new() -> Option<Self> {
        Instructions::Avx512Bf16.available().then_some(Self(()))
    }
}

macro_rules! tile {
    ($name:ty, $rows:literal, $cols:literal, narrow: $narrow:ty, thin: $thin:expr, { $($own:item)* }) => {
        impl Tile for $name {
            type Element = bf16;
            type Narrow = $narrow;
            const ROWS: usize = $rows;
            const COLS: usize = $cols;
            const GROUP: usize = 2;
            const FUSED: bool = true;
            const THIN: Option<RunThin<Self>> = $thin;

            #[inline]
            fn run(self, depth: usize, x: &[bf16], stride: usize, panel: &[bf16], sums: &mut [f32]) {
                self.run_all(&[Operand { depth, x, stride, panel }], true, sums);
            }

            #[inline]
            fn run_all(self, operands: &[Operand<'_, bf16>], add: bool, sums: &mut [f32]) {
                for operand in operands {
                    check::<Self>(operand.depth, operand.x, operand.stride, operand.panel, sums);
                }
                // SAFETY: a value of this type proves the instructions; `check` proved the bounds.
                unsafe { tile::<false, $rows, { $cols / LANES }>(operands, add, sums.as_mut_ptr()) }
            }

            #[inline]
            fn run_transposed(self, depth: usize, x: &[bf16], stride: usize, panel: &[bf16], sums: &mut [f32]) {
                check_transposed::<Self>(depth, x, stride, panel, sums);
                let operands = [Operand { depth, x, stride, panel }];
                // SAFETY: a value of this type proves the instructions; `check_transposed` proved the bounds.
                unsafe { tile::<true, $rows, { $cols / LANES }>(&operands, true, sums.as_mut_ptr()) }
            }

            $($own)*

            fn narrow_tile(self) -> $narrow {
                Bf16Avx512Narrow(())
            }

            #[inline(always)]
            unsafe fn narrow(self, sums: &[f32], (rows, cols): (usize, usize), to: *mut bf16, stride: usize) {
                assert!((1..=$cols).contains(&cols) && (rows - 1) * $cols + cols <= sums.len(), "rows are those of a tile");
                // SAFETY: a value of this type proves the instructions, the lengths were just asserted, and `to` is the
                // caller's word.
                unsafe { narrow::<$cols>(sums.as_ptr(), (rows, cols), to, stride) }
            }
        }
    };
}

tile!(Bf16Avx512, 12, 32, narrow: Bf16Avx512Narrow, thin: Some(run_thin), {
    #[inline(always)]
    fn columns<S: Element>(self, from: &[S], stride: usize, depth: usize, count: usize, out: &mut [bf16]) {
        match same(from) {
            Some(from) if depth.is_multiple_of(2) => {
                panel_avx512::columns(self, from, stride, depth, count, out);
            }
            _ => panel::columns::<Self, S>(from, stride, depth, count, out),
        }
    }

    #[inline(always)]
    fn steps<S: Element>(self, from: &[S], stride: usize, depth: usize, count: usize, out: &mut [bf16]) {
        match same(from) {
            Some(from) if count > 0 => {
                panel_avx512::steps(self, from, stride, depth, count, out);
            }
            _ => panel::steps::<Self, S>(from, stride, depth, count, out),
        }
    }
});
tile!(Bf16Avx512Narrow, 24, 16, narrow: Self, thin: None, {});

fn run_thin(_proof: Bf16Avx512, thin: Thin<'_, bf16>, sums: &mut [f32]) {
    check_thin::<Bf16Avx512>(&thin, sums);
    // SAFETY: the tile's value proves the instructions; `check_thin` proved the bounds.
    unsafe {
        match thin.rows {
            8 => self::thin::<8>(thin, sums.as_mut_ptr()),
            _ => self::thin::<12>(thin, sums.as_mut_ptr()),
        }
    }
}

/// # Safety
/// The machine has the instructions, and the slices reach as far as `check` or, if `TRANSPOSED`, `check_transposed` asks.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile<const TRANSPOSED: bool, const ROWS: usize, const VECTORS: usize>(
    operands: &[Operand<'_, bf16>],
    add: bool,
    sums: *mut f32,
) {
    // SAFETY: pointers stay within what the checks proved; bit patterns of 512-bit vectors are interchangeable.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        if add {
            // Nested, not flattened: a loop that is not unrolled would keep the sums in memory.
            for (i, c) in c.iter_mut().enumerate() {
                for (v, c) in c.iter_mut().enumerate() {
                    *c = _mm512_loadu_ps(sums.add((i * VECTORS + v) * LANES));
                }
            }
        }
        for &Operand { depth, x, stride, panel } in operands {
            let (row, step) = if TRANSPOSED { (2, stride) } else { (stride, 2) };
            let (x, panel) = (x.as_ptr(), panel.as_ptr());
            for pair in 0..depth / 2 {
                let b = panel.add(pair * 2 * LANES * VECTORS);
                let b: [__m512bh; VECTORS] =
                    std::array::from_fn(|v| std::mem::transmute(_mm512_loadu_si512(b.add(v * 2 * LANES).cast())));
                for (i, c) in c.iter_mut().enumerate() {
                    let two = x.add(i * row + pair * step).cast::<i32>().read_unaligned();
                    let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(two));
                    for (c, b) in c.iter_mut().zip(b) {
                        *c = _mm512_dpbf16_ps(*c, a, b);
                    }
                }
            }
        }
        for (i, c) in c.iter().enumerate() {
            for (v, c) in c.iter().enumerate() {
                _mm512_storeu_ps(sums.add((i * VECTORS + v) * LANES), *c);
            }
        }
    }
}

/// Steps of the contraction that are asked for ahead: no processor foresees lines a row apart.
const AHEAD: usize = 32;

/// Few rows by 32 columns of a factor that lies as rows: two of them are woven into pairs in registers.
///
/// # Safety
/// The machine has the instructions, the slices reach as far as `check_thin` asks, and `ROWS` is `thin.rows`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn thin<const ROWS: usize>(thin: Thin<'_, bf16>, sums: *mut f32) {
    let Thin { depth, x, stride, factor, factor_stride, cols, .. } = thin;
    let mask = u32::MAX >> (2 * LANES - cols);
    let (low, high) = (woven_lanes(0), woven_lanes(LANES as i16));
    // SAFETY: pointers stay within what the check proved, and masked lanes are not read.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); 2]; ROWS];
        for (i, c) in c.iter_mut().enumerate() {
            *c = [_mm512_loadu_ps(sums.add(2 * i * LANES)), _mm512_loadu_ps(sums.add((2 * i + 1) * LANES))];
        }
        let row = |k: usize| _mm512_maskz_loadu_epi16(mask, factor.as_ptr().add(k * factor_stride).cast());
        for k in (0..depth).step_by(2) {
            for ahead in [k + AHEAD, k + AHEAD + 1] {
                _mm_prefetch::<_MM_HINT_T0>(factor.as_ptr().wrapping_add(ahead * factor_stride).cast());
            }
            let (even, odd) = (row(k), row(k + 1));
            let b0: __m512bh = std::mem::transmute(_mm512_permutex2var_epi16(even, low, odd));
            let b1: __m512bh = std::mem::transmute(_mm512_permutex2var_epi16(even, high, odd));
            for (i, c) in c.iter_mut().enumerate() {
                let two = x.as_ptr().add(i * stride + k).cast::<i32>().read_unaligned();
                let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(two));
                c[0] = _mm512_dpbf16_ps(c[0], a, b0);
                c[1] = _mm512_dpbf16_ps(c[1], a, b1);
            }
        }
        for (i, c) in c.iter().enumerate() {
            _mm512_storeu_ps(sums.add(2 * i * LANES), c[0]);
            _mm512_storeu_ps(sums.add((2 * i + 1) * LANES), c[1]);
        }
    }
}

/// # Safety
/// The machine has the instructions, sums and `to` have so many rows and columns, `COLS` and `stride` apart.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn narrow<const COLS: usize>(sums: *const f32, (rows, cols): (usize, usize), to: *mut bf16, stride: usize) {
    let mask = u32::MAX >> (2 * LANES - cols);
    for row in 0..rows {
        // SAFETY: masked lanes are neither read nor written.
        unsafe {
            let sums = sums.add(row * COLS);
            let low = _mm512_maskz_loadu_ps(mask as u16, sums);
            let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, sums.wrapping_add(LANES));
            let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_epi16(to.add(row * stride).cast(), mask, both);
        }
    }
}
