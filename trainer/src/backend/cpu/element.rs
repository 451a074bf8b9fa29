//! The two float types that matrices are stored in, and the ways between them.

use bytemuck::Pod;
use half::bf16;

/// A stored float.
pub trait Element: Pod + Send + Sync + PartialEq + std::fmt::Debug {
    const ZERO: Self;
    fn widen(self) -> f32;
    /// To nearest, ties to even.
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const ZERO: Self = Self::ZERO;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// Plain integer steps, so that a loop over them becomes vector instructions.
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        let bits = if value.is_nan() { bits | 0x0040_0000 } else { rounded };
        Self::from_bits((bits >> 16) as u16)
    }
}

/// A value in the other type, or as it is where the types are one: rounding what is round already is not free.
#[inline(always)]
pub fn to<S: Element, D: Element>(value: S) -> D {
    if size_of::<S>() == size_of::<D>() { bytemuck::cast(value) } else { D::narrow(value.widen()) }
}

/// The values as they are, if they are of the type that is asked for.
#[inline(always)]
pub fn same<S: Element, E: Element>(values: &[S]) -> Option<&[E]> {
    bytemuck::try_cast_slice(values).ok().filter(|_| size_of::<S>() == size_of::<E>())
}

/// Elements that loops take at a time: a number that the compiler knows becomes whole vectors, with no remainder.
pub const LANES: usize = 32;

/// `to = from`, element by element.
#[inline(always)]
pub fn convert<S: Element, D: Element>(from: &[S], to: &mut [D]) {
    let len = from.len().min(to.len());
    let (from, from_rest) = from[..len].as_chunks::<LANES>();
    let (to, to_rest) = to[..len].as_chunks_mut::<LANES>();
    for (to, from) in to.iter_mut().zip(from) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = self::to(from);
        }
    }
    for (to, &from) in to_rest.iter_mut().zip(from_rest) {
        *to = self::to(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let mut bits = 0u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(bits);
            let (ours, theirs) = (<bf16 as Element>::narrow(value), bf16::from_f32(value));
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{value:e}");
        }
        for bits in [0, 0x8000_0000, 0x7f80_0000, 0x7f7f_ffff, 0x3f80_8000, 0x3f81_8000u32] {
            assert_eq!(<bf16 as Element>::narrow(f32::from_bits(bits)), bf16::from_f32(f32::from_bits(bits)));
        }
    }
}
