//! [`Attend`] in AVX-512 with bf16. Rounding to bf16 is `VCVTNE2PS2BF16`: to nearest and ties to even, NaN stays NaN;
//! subnormal numbers become zero, which is what the products take them for anyway.

use std::arch::x86_64::*;

use half::bf16;

use super::power::POLYNOMIAL;
use super::scores::{self, Attend, Scores, Sight, Slopes, Weights};
use super::{Bf16Avx512, Tile, check};
use crate::backend::cpu::element::Element;

const ROWS: usize = Bf16Avx512::ROWS;
const COLS: usize = Bf16Avx512::COLS;
/// Sums of a tile.
const TILE: usize = ROWS * COLS;

impl Attend for Bf16Avx512 {
    #[inline]
    fn product(self, cols: usize, depth: usize, x: &[bf16], stride: usize, panel: &[bf16], sums: &mut [f32]) {
        check::<Self>(depth, x, stride, panel, sums);
        let (pairs, x, panel, sums) = (depth / 2, x.as_ptr(), panel.as_ptr(), sums.as_mut_ptr());
        // SAFETY: a value of this type proves the instructions; `check` proved the bounds.
        unsafe {
            if cols > COLS / 2 {
                product::<2>(pairs, x, stride, panel, sums)
            } else {
                product::<1>(pairs, x, stride, panel, sums)
            }
        }
    }

    #[inline]
    #[expect(clippy::expect_used, reason = "a short slice is a mistake in this crate, as in the assertions")]
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

    #[inline]
    fn dots<S: Element>(self, values: [(&[S], usize); 2], dim: usize, out: &mut [f32]) {
        let narrow = size_of::<S>() == size_of::<bf16>();
        let [a, b] = values.map(|(values, stride)| {
            assert!(out.is_empty() || (out.len() - 1) * stride + dim <= values.len(), "rows reach beyond their matrix");
            (values.as_ptr().cast::<bf16>(), stride)
        });
        if narrow {
            // SAFETY: a value of this type proves the instructions; bf16 is the only element of its size; rows are within
            // their matrices.
            unsafe { dots(a, b, dim, out) }
        } else {
            scores::dots(values, dim, out);
        }
    }

    #[inline]
    fn finish<S: Element>(self, sums: &[f32], scale: f32, out: &mut [S]) {
        match bytemuck::try_cast_slice_mut::<S, bf16>(out) {
            Ok(out) if size_of::<S>() == size_of::<bf16>() => {
                let last = out.len().saturating_sub(1);
                assert!(last / COLS * TILE + last % COLS < sums.len(), "there are fewer sums than columns");
                // SAFETY: a value of this type proves the instructions; there are sums for all columns.
                unsafe { finish(sums.as_ptr(), scale, out) }
            }
            _ => scores::finish::<Self, S>(sums, scale, out),
        }
    }
}

/// The first `HALVES` times 16 columns of a tile.
///
/// # Safety
/// The machine has the instructions, and the slices reach as far as `check` asks.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn product<const HALVES: usize>(
    pairs: usize,
    x: *const bf16,
    stride: usize,
    panel: *const bf16,
    sums: *mut f32,
) {
    // SAFETY: pointers stay within what the checks proved; bit patterns of 512-bit vectors are interchangeable.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); HALVES]; ROWS];
        for pair in 0..pairs {
            let mut b = [_mm512_setzero_si512(); HALVES];
            for (half, b) in b.iter_mut().enumerate() {
                *b = _mm512_loadu_si512(panel.add((pair * 2 + half) * COLS).cast());
            }
            for (i, c) in c.iter_mut().enumerate() {
                let two = x.add(i * stride + pair * 2).cast::<i32>().read_unaligned();
                let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(two));
                for (c, b) in c.iter_mut().zip(b) {
                    *c = _mm512_dpbf16_ps(*c, a, std::mem::transmute::<__m512i, __m512bh>(b));
                }
            }
        }
        for (i, c) in c.iter().enumerate() {
            for (half, c) in c.iter().enumerate() {
                _mm512_storeu_ps(sums.add(i * COLS + half * 16), *c);
            }
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
    // SAFETY: a panel has a tile's scores, and a row of `out` room for all panels.
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
        for (pair, (most, totals)) in most.as_chunks::<2>().0.iter().zip(totals.as_chunks_mut::<2>().0).enumerate() {
            // Two rows at a time: four chains for the processor to overlap.
            let places = [(2 * pair, 0), (2 * pair, 16), (2 * pair + 1, 0), (2 * pair + 1, 16)];
            let shifts = [_mm512_set1_ps(most[0]), _mm512_set1_ps(most[1])];
            let mut sums = [_mm512_setzero_ps(); 4];
            for panel in 0..panels {
                let mut weights = [_mm512_setzero_ps(); 4];
                for (i, (row, col)) in places.into_iter().enumerate() {
                    let score = _mm512_loadu_ps(values.add(panel * TILE + row * COLS + col));
                    weights[i] = _mm512_fmsub_ps(score, factor, shifts[i / 2]);
                }
                weights = powers_of_two(weights);
                if panel >= whole {
                    for (weights, (row, col)) in weights.iter_mut().zip(places) {
                        *weights = _mm512_maskz_mov_ps(lanes(sight, row, panel * COLS + col), *weights);
                    }
                }
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_add_ps(*sum, weights);
                }
                let out = out.add(2 * pair * stride + panel * COLS);
                _mm512_storeu_si512(out.cast(), round_pair(weights[0], weights[1]));
                _mm512_storeu_si512(out.add(stride).cast(), round_pair(weights[2], weights[3]));
            }
            totals[0] = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
            totals[1] = _mm512_reduce_add_ps(_mm512_add_ps(sums[2], sums[3]));
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
    let (Some(lse), Some(inner)) = (of.lse.first_chunk::<ROWS>(), of.inner.first_chunk::<ROWS>()) else { return };
    // SAFETY: columns and rows stay within a tile, and what is written within the lengths asserted.
    unsafe {
        for group in 0..ROWS / 2 {
            // Two rows, the first 16 columns of both before the others: four chains for the processor to overlap.
            let places = [(2 * group, 0), (2 * group + 1, 0), (2 * group, 16), (2 * group + 1, 16)];
            let (mut p, mut ds) = ([_mm512_setzero_ps(); 4], [_mm512_setzero_ps(); 4]);
            for (p, (row, col)) in p.iter_mut().zip(places) {
                let score = _mm512_loadu_ps(of.scores.as_ptr().add(row * COLS + col));
                *p = _mm512_fmsub_ps(score, factor, _mm512_set1_ps(lse[row]));
            }
            p = powers_of_two(p);
            for ((ds, p), (row, col)) in ds.iter_mut().zip(&mut p).zip(places) {
                let slope = _mm512_loadu_ps(of.slopes.as_ptr().add(row * COLS + col));
                *ds = _mm512_mul_ps(*p, _mm512_sub_ps(slope, _mm512_set1_ps(inner[row])));
                if HIDDEN {
                    let seen = lanes(of.sight, row, col);
                    (*p, *ds) = (_mm512_maskz_mov_ps(seen, *p), _mm512_maskz_mov_ps(seen, *ds));
                }
            }
            for (half, col) in [0, 16].into_iter().enumerate() {
                let (p, ds) = (round_pair(p[2 * half], p[2 * half + 1]), round_pair(ds[2 * half], ds[2 * half + 1]));
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

/// # Safety
/// The machine has the instructions, and both matrices reach to the end of the last row that `out` has room for.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn dots((a, a_stride): (*const bf16, usize), (b, b_stride): (*const bf16, usize), dim: usize, out: &mut [f32]) {
    // SAFETY: loads stay within a row, those of its end by their mask; bit patterns are interchangeable.
    unsafe {
        let load = |from: *const bf16, at: usize| -> __m512bh {
            let mask = u32::MAX >> (32 - (dim - at).min(32));
            std::mem::transmute(_mm512_maskz_loadu_epi16(mask, from.add(at).cast()))
        };
        for (i, out) in out.iter_mut().enumerate() {
            let (a, b) = (a.add(i * a_stride), b.add(i * b_stride));
            let mut sums = _mm512_setzero_ps();
            for at in (0..dim).step_by(32) {
                sums = _mm512_dpbf16_ps(sums, load(a, at), load(b, at));
            }
            *out = _mm512_reduce_add_ps(sums);
        }
    }
}

/// # Safety
/// The machine has the instructions, and there is a sum for each column.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn finish(sums: *const f32, scale: f32, out: &mut [bf16]) {
    let scale = _mm512_set1_ps(scale);
    for (panel, out) in out.chunks_mut(COLS).enumerate() {
        let mask = u32::MAX >> (COLS - out.len());
        // SAFETY: masked lanes are neither read nor written.
        unsafe {
            let sums = sums.add(panel * TILE);
            let first = _mm512_maskz_loadu_ps(mask as __mmask16, sums);
            let second = _mm512_maskz_loadu_ps((mask >> 16) as __mmask16, sums.wrapping_add(16));
            let both = round_pair(_mm512_mul_ps(first, scale), _mm512_mul_ps(second, scale));
            _mm512_mask_storeu_epi16(out.as_mut_ptr().cast(), mask, both);
        }
    }
}

/// Two vectors as one of bf16, the first in its lower half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn round_pair(first: __m512, second: __m512) -> __m512i {
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
fn powers_of_two(x: [__m512; 4]) -> [__m512; 4] {
    // As in the portable one, but a clamped `x` gives the exponent of zero, so that nothing has to be put out after.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const LEAST: f32 = -127.0;
    let (round, zero) = (_mm512_set1_ps(ROUND), _mm512_setzero_ps());
    let (mut shifted, mut rest) = ([zero; 4], [zero; 4]);
    for i in 0..4 {
        // Of NaN and a number, the second is taken.
        let clamped = _mm512_max_ps(_mm512_set1_ps(LEAST), x[i]);
        shifted[i] = _mm512_add_ps(clamped, round);
        rest[i] = _mm512_sub_ps(clamped, _mm512_sub_ps(shifted[i], round));
    }
    let mut values = [_mm512_set1_ps(POLYNOMIAL[0]); 4];
    for &c in &POLYNOMIAL[1..] {
        for i in 0..4 {
            values[i] = _mm512_fmadd_ps(values[i], rest[i], _mm512_set1_ps(c));
        }
    }
    for i in 0..4 {
        let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted[i]));
        values[i] = _mm512_mul_ps(values[i], _mm512_castsi512_ps(exponent));
    }
    values
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
        let power = |x: f32| unsafe { _mm512_cvtss_f32(powers_of_two([_mm512_set1_ps(x); 4])[0]) };
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
