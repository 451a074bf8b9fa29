//! [`Attend`] in AVX-512 with bf16. Rounding to bf16 is `VCVTNE2PS2BF16`: to nearest and ties to even, NaN stays NaN;
//! subnormal numbers become zero, which is what the products take them for anyway.

use std::arch::x86_64::*;

use half::bf16;

use super::scores::{Attend, Scores, Sight, Slopes, Weights};
use super::{Bf16Avx512, Tile, check};

const ROWS: usize = Bf16Avx512::ROWS;
const COLS: usize = Bf16Avx512::COLS;
/// Sums of a tile.
const TILE: usize = ROWS * COLS;

impl Attend for Bf16Avx512 {
    #[inline]
    fn product(self, depth: usize, x: &[bf16], stride: usize, panel: &[bf16], sums: &mut [f32]) {
        check::<Self>(depth, x, stride, panel, sums);
        // SAFETY: a value of this type proves the instructions; `check` proved the bounds.
        unsafe { product(depth / 2, x.as_ptr(), stride, panel.as_ptr(), sums.as_mut_ptr()) }
    }

    #[inline]
    fn weigh(self, scores: Scores<'_>, most: &mut [f32], (out, stride): (&mut [bf16], usize), totals: &mut [f32]) {
        let panels = scores.values.len() / TILE;
        assert!(panels == scores.sight.keys.div_ceil(COLS), "there are scores for all keys");
        assert!((ROWS - 1) * stride + panels * COLS <= out.len(), "rows of weights reach beyond their slice");
        let most = most.first_chunk_mut().expect("there is a maximum for each row");
        let totals = totals.first_chunk_mut().expect("there is a sum for each row");
        // SAFETY: a value of this type proves the instructions; the lengths are as asserted.
        unsafe { weigh(&scores, panels, most, (out.as_mut_ptr(), stride), totals) }
    }

    #[inline]
    fn gradients(self, of: Slopes<'_>, to: Weights<'_, bf16>) {
        let last = (ROWS / 2 - 1) * 2 * to.stride + 2 * COLS;
        assert!(last <= to.p.len() && last <= to.ds.len(), "groups of weights reach beyond their slice");
        assert!((ROWS - 1) * to.stride + COLS <= to.rows.len(), "rows of weights reach beyond their slice");
        assert!(TILE <= of.scores.len() && TILE <= of.slopes.len(), "there are fewer scores than the tile has");
        assert!(ROWS <= of.lse.len() && ROWS <= of.inner.len(), "there are fewer values than the tile has rows");
        // SAFETY: a value of this type proves the instructions; the lengths are as asserted.
        unsafe { if of.sight.of(0) < COLS { gradients::<true>(of, to) } else { gradients::<false>(of, to) } }
    }
}

/// # Safety
/// The machine has the instructions, and the slices reach as far as `check` asks.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn product(pairs: usize, x: *const bf16, stride: usize, panel: *const bf16, sums: *mut f32) {
    // SAFETY (all of it): pointers stay within what the checks proved; bit patterns of 512-bit vectors are interchangeable.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); 2]; ROWS];
        for pair in 0..pairs {
            let b = panel.add(pair * 2 * COLS);
            let b0: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.cast()));
            let b1: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.add(COLS).cast()));
            for (i, c) in c.iter_mut().enumerate() {
                let two = x.add(i * stride + pair * 2).cast::<i32>().read_unaligned();
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

/// Lanes of the 16 columns from `col` on that a row sees.
#[inline(always)]
fn lanes(sight: Sight, row: usize, col: usize) -> __mmask16 {
    ((1u32 << sight.of(row).saturating_sub(col).min(16)) - 1) as __mmask16
}

/// # Safety
/// The machine has the instructions, and there are scores and room for as many panels.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn weigh(
    scores: &Scores<'_>,
    panels: usize,
    most: &mut [f32; ROWS],
    (out, stride): (*mut bf16, usize),
    totals: &mut [f32; ROWS],
) {
    let Scores { values, sight, factor } = scores;
    let (values, sight, factor) = (values.as_ptr(), *sight, _mm512_set1_ps(*factor));
    let none = _mm512_set1_ps(f32::NEG_INFINITY);
    // Panels that all rows see as a whole.
    let whole = sight.of(0) / COLS;
    // SAFETY (all of it): a panel has a tile's scores, and a row of `out` room for all panels.
    unsafe {
        for (row, most) in most.iter_mut().enumerate() {
            let (mut low, mut high) = (none, none);
            let at = |panel: usize| values.add(panel * TILE + row * COLS);
            for panel in 0..whole {
                // NaN is passed over; it shows in the sum.
                low = _mm512_max_ps(_mm512_loadu_ps(at(panel)), low);
                high = _mm512_max_ps(_mm512_loadu_ps(at(panel).add(16)), high);
            }
            for panel in whole..panels {
                let (first, second) = (lanes(sight, row, panel * COLS), lanes(sight, row, panel * COLS + 16));
                low = _mm512_mask_max_ps(low, first, _mm512_loadu_ps(at(panel)), low);
                high = _mm512_mask_max_ps(high, second, _mm512_loadu_ps(at(panel).add(16)), high);
            }
            let now = _mm512_reduce_max_ps(_mm512_mul_ps(_mm512_max_ps(low, high), factor));
            *most = if *most > now { *most } else { now };
        }
        for (row, (&most, total)) in most.iter().zip(totals).enumerate() {
            let (mut low, mut high) = (_mm512_setzero_ps(), _mm512_setzero_ps());
            let shift = _mm512_set1_ps(most);
            let at = |panel: usize| values.add(panel * TILE + row * COLS);
            let weight = |at: *const f32| power_of_two(_mm512_fmsub_ps(_mm512_loadu_ps(at), factor, shift));
            for panel in 0..whole {
                let (first, second) = (weight(at(panel)), weight(at(panel).add(16)));
                (low, high) = (_mm512_add_ps(low, first), _mm512_add_ps(high, second));
                _mm512_storeu_si512(out.add(row * stride + panel * COLS).cast(), rounded(first, second));
            }
            for panel in whole..panels {
                let first = _mm512_maskz_mov_ps(lanes(sight, row, panel * COLS), weight(at(panel)));
                let second = _mm512_maskz_mov_ps(lanes(sight, row, panel * COLS + 16), weight(at(panel).add(16)));
                (low, high) = (_mm512_add_ps(low, first), _mm512_add_ps(high, second));
                _mm512_storeu_si512(out.add(row * stride + panel * COLS).cast(), rounded(first, second));
            }
            *total = _mm512_reduce_add_ps(_mm512_add_ps(low, high));
        }
    }
}

/// Whether the diagonal goes through the tile: `HIDDEN`.
///
/// # Safety
/// The machine has the instructions, and the slices are as long as `Attend::gradients` asserts.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn gradients<const HIDDEN: bool>(of: Slopes<'_>, to: Weights<'_, bf16>) {
    let factor = _mm512_set1_ps(of.factor);
    let pairs = pairs();
    // SAFETY (all of it): columns and rows stay within a tile, and what is written within the lengths asserted.
    unsafe {
        for group in 0..ROWS / 2 {
            for col in [0, 16] {
                let weights = |row: usize| {
                    let at = row * COLS + col;
                    let (score, slope) =
                        (_mm512_loadu_ps(of.scores.as_ptr().add(at)), _mm512_loadu_ps(of.slopes.as_ptr().add(at)));
                    let (lse, inner) = (_mm512_set1_ps(of.lse[row]), _mm512_set1_ps(of.inner[row]));
                    let p = power_of_two(_mm512_fmsub_ps(score, factor, lse));
                    let ds = _mm512_mul_ps(p, _mm512_sub_ps(slope, inner));
                    if !HIDDEN {
                        return (p, ds);
                    }
                    let seen = lanes(of.sight, row, col);
                    (_mm512_maskz_mov_ps(seen, p), _mm512_maskz_mov_ps(seen, ds))
                };
                let ((p0, ds0), (p1, ds1)) = (weights(2 * group), weights(2 * group + 1));
                let (p, ds) = (rounded(p0, p1), rounded(ds0, ds1));
                let at = 2 * (group * to.stride + col);
                _mm512_storeu_si512(to.p.as_mut_ptr().add(at).cast(), _mm512_permutexvar_epi16(pairs, p));
                _mm512_storeu_si512(to.ds.as_mut_ptr().add(at).cast(), _mm512_permutexvar_epi16(pairs, ds));
                let row = to.rows.as_mut_ptr().add(2 * group * to.stride + col);
                _mm256_storeu_si256(row.cast(), _mm512_castsi512_si256(ds));
                _mm256_storeu_si256(row.add(to.stride).cast(), _mm512_extracti64x4_epi64::<1>(ds));
            }
        }
    }
}

/// Two vectors as one of bf16, the first in its lower half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn rounded(first: __m512, second: __m512) -> __m512i {
    // SAFETY: bit patterns of 512-bit vectors are interchangeable.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(second, first)) }
}

/// Where the elements of two rows, one behind the other, are to lie for pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs() -> __m512i {
    let at: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
    // SAFETY: bit patterns of 512-bit vectors are interchangeable.
    unsafe { std::mem::transmute(at) }
}

/// `2^x` for `x < 127`; zero below -126.5. Relative error below 3e-7; NaN stays NaN.
#[inline]
#[target_feature(enable = "avx512f")]
fn power_of_two(x: __m512) -> __m512 {
    // As in the portable one, but a clamped `x` gives the exponent of zero, so that nothing has to be put out after.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const LEAST: f32 = -127.0;
    const POLYNOMIAL: [f32; 6] = super::scores::POLYNOMIAL;
    let round = _mm512_set1_ps(ROUND);
    // Of NaN and a number, the second is taken.
    let clamped = _mm512_max_ps(_mm512_set1_ps(LEAST), x);
    let shifted = _mm512_add_ps(clamped, round);
    let rest = _mm512_sub_ps(clamped, _mm512_sub_ps(shifted, round));
    let mut value = _mm512_set1_ps(POLYNOMIAL[0]);
    for &c in &POLYNOMIAL[1..] {
        value = _mm512_fmadd_ps(value, rest, _mm512_set1_ps(c));
    }
    _mm512_mul_ps(value, _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(shifted))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_accurate_and_vanish_at_the_end() {
        if Bf16Avx512::new().is_none() {
            return;
        }
        // SAFETY: the machine has the instructions.
        let power = |x: f32| unsafe { _mm512_cvtss_f32(power_of_two(_mm512_set1_ps(x))) };
        for i in -12_400..100 {
            let x = i as f32 / 100.0 + 0.003;
            let exact = f64::from(x).exp2();
            assert!((f64::from(power(x)) - exact).abs() < 3e-7 * exact, "2^{x}: {}", power(x));
        }
        assert_eq!(power(0.0), 1.0);
        for x in [-127.0, -1e30, f32::NEG_INFINITY] {
            assert_eq!(power(x), 0.0);
        }
        assert!(power(f32::NAN).is_nan() && power(-f32::NAN).is_nan());
    }
}
