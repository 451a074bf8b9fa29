//! Rows of scores to weights: maximum, exponential, sum.
//!
//! Scores lie as register tiles leave them: row `i` of a tile has [`Tile::COLS`] values in each panel of keys.

use crate::backend::cpu::element::Element;
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
    const POLYNOMIAL: [f32; 6] =
        [1.327_647_2e-3, 9.675_541e-3, 5.550_713e-2, 2.402_212e-1, 6.931_469_4e-1, 1.0];
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

/// A row of a tile's scores, over panels.
pub struct Row<'a> {
    /// From the row's first score on.
    pub scores: &'a [f32],
    /// Keys that it sees, the first ones.
    pub seen: usize,
}

impl Row<'_> {
    /// The greatest score that is seen; NaN is passed over (it shows in the sum).
    #[inline(always)]
    pub fn greatest<T: Tile>(&self) -> f32 {
        match T::COLS {
            32 => self.greatest_of::<T, 32>(),
            16 => self.greatest_of::<T, 16>(),
            12 => self.greatest_of::<T, 12>(),
            _ => self.greatest_of::<T, 8>(),
        }
    }

    /// `out = 2^(factor * score - shift)`, zero for what is not seen. Returns the sum.
    #[inline(always)]
    pub fn exponentials<T: Tile>(&self, factor: f32, shift: f32, out: &mut [T::Element]) -> f32 {
        match T::COLS {
            32 => self.exponentials_of::<T, 32>(factor, shift, out),
            16 => self.exponentials_of::<T, 16>(factor, shift, out),
            12 => self.exponentials_of::<T, 12>(factor, shift, out),
            _ => self.exponentials_of::<T, 8>(factor, shift, out),
        }
    }

    #[inline(always)]
    fn panel<T: Tile, const COLS: usize>(&self, panel: usize) -> &[f32; COLS] {
        self.scores[panel * T::ROWS * COLS..].first_chunk().expect("a row has whole panels")
    }

    #[inline(always)]
    fn greatest_of<T: Tile, const COLS: usize>(&self) -> f32 {
        let pick = |a: f32, b: f32| if b > a { b } else { a };
        let mut most = [f32::NEG_INFINITY; COLS];
        for panel in 0..self.seen / COLS {
            let scores = self.panel::<T, COLS>(panel);
            for (most, &score) in most.iter_mut().zip(scores) {
                *most = pick(*most, score);
            }
        }
        let rest = self.seen % COLS;
        if rest > 0 {
            let scores = self.panel::<T, COLS>(self.seen / COLS);
            for (j, (most, &score)) in most.iter_mut().zip(scores).enumerate() {
                *most = if j < rest { pick(*most, score) } else { *most };
            }
        }
        fold(most, pick)
    }

    #[inline(always)]
    fn exponentials_of<T: Tile, const COLS: usize>(
        &self,
        factor: f32,
        shift: f32,
        out: &mut [T::Element],
    ) -> f32 {
        let mut sums = [0.0f32; COLS];
        for (panel, out) in out.chunks_exact_mut(COLS).enumerate() {
            let seen = self.seen.saturating_sub(panel * COLS);
            if seen == 0 {
                out.fill(T::Element::ZERO);
                continue;
            }
            let mut weights = *self.panel::<T, COLS>(panel);
            for weight in &mut weights {
                *weight = power_of_two::<T>(multiply_add::<T>(*weight, factor, -shift));
            }
            if seen < COLS {
                weights[seen..].fill(0.0);
            }
            for ((out, sum), weight) in out.iter_mut().zip(&mut sums).zip(weights) {
                *sum += weight;
                *out = T::Element::narrow(weight);
            }
        }
        fold(sums, |a, b| a + b)
    }
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
