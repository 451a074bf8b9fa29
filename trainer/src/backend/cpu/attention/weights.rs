//! Scores of a tile of queries to weights: maximum, exponential, sum.
//!
//! Scores lie as register tiles leave them: for each panel of keys `[ROWS, COLS]`.

use crate::backend::cpu::element::convert;
use crate::backend::cpu::kernel::Tile;

/// `a * b + c`, fused where the kernel's instructions do so.
#[inline(always)]
pub fn multiply_add<T: Tile>(a: f32, b: f32, c: f32) -> f32 {
    if T::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `2^x` for `x < 127`; zero below -125. Relative error below 3e-7; NaN stays NaN. Branch-free, so that the compiler
/// makes vectors of it.
#[inline(always)]
pub fn power_of_two<T: Tile>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits: with the exponent's bias there too, a
    // shift makes a float of it.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const LEAST: f32 = -125.0;
    // Minimax in relative error on [-1/2, 1/2] (Remez).
    const POLYNOMIAL: [f32; 6] = [1.327_647_2e-3, 9.675_541e-3, 5.550_713e-2, 2.402_212e-1, 6.931_469_4e-1, 1.0];
    let clamped = if x < LEAST { LEAST } else { x };
    let shifted = clamped + ROUND;
    let rest = clamped - (shifted - ROUND);
    let mut value = POLYNOMIAL[0];
    for c in &POLYNOMIAL[1..] {
        value = multiply_add::<T>(value, rest, *c);
    }
    let power = value * f32::from_bits(shifted.to_bits() << 23);
    if x < LEAST { 0.0 } else { power }
}

/// Values of a tile of queries and a panel of keys.
pub const TILE_MAX: usize = 12 * 32;

/// One value for each place of a tile, on a cache line. In memory rather than in registers: the compiler makes vectors
/// of loops over slices, and scalars of arrays that it takes apart.
#[repr(align(64))]
pub struct Lanes([f32; TILE_MAX]);

impl Lanes {
    #[inline(always)]
    pub fn new(value: f32) -> Self {
        Self([value; TILE_MAX])
    }

    #[inline(always)]
    pub fn of<T: Tile>(&mut self) -> &mut [f32] {
        &mut self.0[..T::ROWS * T::COLS]
    }

    /// Each row's lanes to one value, by halves and an odd one last.
    #[inline(always)]
    fn fold<T: Tile>(&mut self, with: impl Fn(f32, f32) -> f32) -> impl Iterator<Item = f32> {
        let mut width = T::COLS;
        while width > 1 {
            let half = width / 2;
            for row in self.of::<T>().chunks_exact_mut(T::COLS) {
                let (low, high) = row.split_at_mut(half);
                low.iter_mut().zip(&*high).for_each(|(low, &high)| *low = with(*low, high));
                if width % 2 == 1 {
                    low[0] = with(low[0], high[half]);
                }
            }
            width = half;
        }
        self.of::<T>().iter().copied().step_by(T::COLS)
    }
}

/// Puts scores that are not seen below all others. Row `i` sees the first `seen(i)` keys, no fewer than the row above.
#[inline(always)]
pub fn hide<T: Tile>(scores: &mut [f32], seen: impl Fn(usize) -> usize) {
    let whole = seen(0) / T::COLS;
    for (panel, scores) in scores.chunks_exact_mut(T::ROWS * T::COLS).enumerate().skip(whole) {
        for (i, scores) in scores.chunks_exact_mut(T::COLS).enumerate() {
            let seen = seen(i).saturating_sub(panel * T::COLS);
            scores[seen.min(T::COLS)..].fill(f32::NEG_INFINITY);
        }
    }
}

/// The greatest score of each row; NaN is passed over (it shows in the sum).
#[inline(always)]
pub fn greatest<T: Tile>(scores: &[f32], rows: &mut [f32]) {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = Lanes::new(f32::NEG_INFINITY);
    for scores in scores.chunks_exact(T::ROWS * T::COLS) {
        most.of::<T>().iter_mut().zip(scores).for_each(|(most, &score)| *most = pick(*most, score));
    }
    rows.iter_mut().zip(most.fold::<T>(pick)).for_each(|(row, most)| *row = most);
}

/// `out = 2^(factor * score - shift)`, with a shift for each row and `stride` from one row of `out` to the next; `sums`
/// are those of the rows. Scores are used up.
#[inline(always)]
pub fn exponentials<T: Tile>(
    scores: &mut [f32],
    (factor, shifts): (f32, &[f32]),
    (out, stride): (&mut [T::Element], usize),
    sums: &mut [f32],
) {
    let mut lanes = Lanes::new(0.0);
    for (panel, scores) in scores.chunks_exact_mut(T::ROWS * T::COLS).enumerate() {
        let rows = scores.chunks_exact_mut(T::COLS).zip(lanes.of::<T>().chunks_exact_mut(T::COLS));
        for (i, ((scores, lanes), &shift)) in rows.zip(shifts).enumerate() {
            for (score, lane) in scores.iter_mut().zip(lanes) {
                *score = power_of_two::<T>(multiply_add::<T>(*score, factor, -shift));
                *lane += *score;
            }
            convert(scores, &mut out[i * stride + panel * T::COLS..][..T::COLS]);
        }
    }
    sums.iter_mut().zip(lanes.fold::<T>(|a, b| a + b)).for_each(|(sum, total)| *sum = total);
}

/// Lanes by halves, and an odd one last.
#[inline(always)]
pub fn fold<const COLS: usize>(mut lanes: [f32; COLS], with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = COLS;
    while width > 1 {
        let half = width / 2;
        for lane in 0..half {
            lanes[lane] = with(lanes[lane], lanes[lane + half]);
        }
        if width % 2 == 1 {
            lanes[0] = with(lanes[0], lanes[width - 1]);
        }
        width = half;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::kernel::{F32Neon, F32Portable};

    /// With fused multiply-add and without.
    fn powers(x: f32) -> [f32; 2] {
        [power_of_two::<F32Neon>(x), power_of_two::<F32Portable>(x)]
    }

    #[test]
    fn powers_are_accurate_and_vanish_at_the_end() {
        for i in -12_400..100 {
            let x = i as f32 / 100.0 + 0.003;
            let exact = f64::from(x).exp2();
            for got in powers(x) {
                assert!((f64::from(got) - exact).abs() < 3e-7 * exact, "2^{x}: {got}");
            }
        }
        assert_eq!(powers(0.0), [1.0; 2]);
        for x in [-126.0, -1e30, f32::NEG_INFINITY] {
            assert_eq!(powers(x), [0.0; 2]);
        }
        assert!(powers(f32::NAN).iter().chain(&powers(-f32::NAN)).all(|power| power.is_nan()));
    }

    #[test]
    fn lanes_fold_whatever_their_number() {
        assert_eq!(fold(std::array::from_fn::<_, 12, _>(|i| i as f32), |a, b| a + b), 66.0);
        assert_eq!(fold(std::array::from_fn::<_, 32, _>(|i| -(i as f32)), f32::max), 0.0);
    }
}
