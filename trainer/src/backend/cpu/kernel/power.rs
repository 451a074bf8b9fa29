//! Powers of two, as attention's weights need them: fewer steps than an exponential that is accurate everywhere.

use super::Tile;

/// `a * b + c`, fused where the kernel's instructions do so.
#[inline(always)]
pub fn multiply_add<T: Tile>(a: f32, b: f32, c: f32) -> f32 {
    if T::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `2^x` on `[-1/2, 1/2]`, the highest power first: minimax in relative error (Remez).
pub(super) const POLYNOMIAL: [f32; 6] = [1.327_647_2e-3, 9.675_541e-3, 5.550_713e-2, 2.402_212e-1, 6.931_469_4e-1, 1.0];

/// `2^x` for `x < 127`; zero below -125. Relative error below 3e-7; NaN stays NaN. Branch-free, so that the compiler
/// makes vectors of it.
#[inline(always)]
pub fn power_of_two<T: Tile>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits: with the exponent's bias there too, a
    // shift makes a float of it.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const LEAST: f32 = -125.0;
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
}
