//! The two float types that operations run in: `f32` for work, `f64` to check it.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// A float type of the kernels.
pub trait Real:
    Copy
    + Default
    + Debug
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    const ZERO: Self;
    const ONE: Self;
    /// Rounds to nearest.
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    /// `e^self`, to the type's accuracy; NaN stays NaN.
    fn exponential(self) -> Self;
    fn square_root(self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn of(value: f64) -> Self {
        value as f32
    }

    fn wide(self) -> f64 {
        self.into()
    }

    /// Cephes' `expf`: `2^n e^r` with `|r| <= ln 2 / 2` and a polynomial for `e^r`. Branch-free, so that the compiler
    /// makes vectors of it, and free of the C library, so that it gives the same bits everywhere. Relative error
    /// below 2e-7; arguments are clamped to where the result is a normal number.
    #[inline(always)]
    fn exponential(self) -> Self {
        // Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits.
        const ROUND: f32 = 12_582_912.0;
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        const POLYNOMIAL: [f32; 6] =
            [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        // Written as comparisons because `max` and `min` would turn NaN into a number.
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * LN_2_HIGH - n * LN_2_LOW;
        let tail = POLYNOMIAL.iter().fold(0.0, |sum, &c| sum * r + c);
        let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
        (tail * r * r + r + 1.0) * f32::from_bits(power)
    }

    fn square_root(self) -> Self {
        self.sqrt()
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }

    fn exponential(self) -> Self {
        self.exp()
    }

    fn square_root(self) -> Self {
        self.sqrt()
    }
}

/// Independent sums of a dot product: fixed, so that the bits do not depend on the processor's vector width.
const LANES: usize = 16;

/// `sum(a[i] * b[i])`, in a fixed order.
#[inline]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = left.remainder().iter().zip(right.remainder()).fold(T::ZERO, |sum, (&x, &y)| sum + x * y);
    for (x, y) in left.zip(right) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().fold(tail, |sum, &lane| sum + lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_accurate_where_it_is_normal() {
        for i in -8600..8700 {
            let x = i as f32 / 100.0 + 0.003;
            let exact = f64::from(x).exp();
            let error = (f64::from(x.exponential()) - exact).abs() / exact;
            assert!(error < 2.5e-7, "e^{x}: {error}");
        }
        assert_eq!(0.0f32.exponential(), 1.0);
        assert!(f32::NAN.exponential().is_nan());
        assert!(f32::NEG_INFINITY.exponential() < 1e-37);
    }

    #[test]
    fn dot_takes_any_length() {
        for len in 0..70 {
            let a: Vec<f64> = (0..len).map(f64::from).collect();
            let expected: f64 = a.iter().map(|x| x * x).sum();
            assert_eq!(dot(&a, &a), expected);
        }
    }
}
