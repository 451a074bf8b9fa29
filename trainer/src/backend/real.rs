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
    /// Exactly 0.
    const ZERO: Self;
    /// Exactly 1.
    const ONE: Self;
    /// Rounds to nearest.
    fn of(value: f64) -> Self;
    /// Exact.
    fn wide(self) -> f64;
    /// `e^self`, to the type's accuracy; NaN stays NaN.
    fn exponential(self) -> Self;
    /// To nearest, as IEEE 754 defines it.
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

    /// `2^n e^r` with `|r| <= ln 2 / 2` and a polynomial for `e^r`, as Cephes' `expf` has it. Branch-free, so that the
    /// compiler makes vectors of it, and free of the C library, so that it gives the same bits everywhere. Relative
    /// error below 2e-7; arguments are clamped to where the result is a normal number.
    #[inline(always)]
    fn exponential(self) -> Self {
        let (r, shifted) = reduced(self);
        grown(r, polynomial(r), shifted)
    }

    fn square_root(self) -> Self {
        self.sqrt()
    }
}

// The steps of the exponential of an `f32`.

/// Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits; 127 more makes it an exponent's bits.
const ROUND: f32 = 12_582_912.0 + 127.0;

/// `r` and `n + ROUND` of `x = n ln 2 + r`.
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Written as comparisons because `max` and `min` would turn NaN into a number.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    (x - n * LN_2_HIGH - n * LN_2_LOW, shifted)
}

/// `(e^r - 1 - r) / r^2`, relative to `e^r` within 4e-9 (minimax). Pairs of terms rather than Horner's order: half as
/// many steps wait for the one before.
#[inline(always)]
fn polynomial(r: f32) -> f32 {
    let square = r * r;
    (0.5 + 1.666_652_1e-1 * r) + square * ((4.166_839e-2 + 8.368_745e-3 * r) + square * 1.381_454e-3)
}

/// `2^n e^r`
#[inline(always)]
fn grown(r: f32, polynomial: f32, shifted: f32) -> f32 {
    (1.0 + (r + polynomial * (r * r))) * f32::from_bits(shifted.to_bits() << 23)
}

/// The [`Real::exponential`] of each value, the same bits. All values take a step before any takes the next, so that
/// none waits for its own: the steps of one value are a long chain.
#[inline(always)]
pub fn exponentials<const N: usize>(values: &mut [f32; N]) {
    let (mut shifted, mut sums) = ([0.0; N], [0.0; N]);
    for (x, shifted) in values.iter_mut().zip(&mut shifted) {
        (*x, *shifted) = reduced(*x);
    }
    for (sum, r) in sums.iter_mut().zip(values.iter()) {
        *sum = polynomial(*r);
    }
    for ((x, sum), shifted) in values.iter_mut().zip(&sums).zip(&shifted) {
        *x = grown(*x, *sum, *shifted);
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
        assert_eq!(1000.0f32.exponential(), 88.0f32.exponential());
        assert!(f32::NAN.exponential().is_nan());
        assert!(f32::NEG_INFINITY.exponential() < 1e-37);
    }

    #[test]
    fn exponentials_are_those_of_single_values() {
        let values: [f32; 200] = std::array::from_fn(|i| (i as f32 - 100.0) * 0.987);
        let mut all = values;
        exponentials(&mut all);
        assert_eq!(all, values.map(Real::exponential));
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
