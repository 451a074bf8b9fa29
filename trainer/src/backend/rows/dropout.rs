//! Dropout (Srivastava et al. 2014) whose draws are a function of a key and an element's place: every pass over the
//! same rows, on any backend and any thread, drops the same elements, so that no mask is kept.

use super::for_chunks;
use crate::backend::Dropout;
use crate::backend::real::Real;
use crate::lora::init::splitmix64;

/// Whether element `i` (row-major) survives.
#[inline]
pub fn keep(key: u64, i: u64, p: f32) -> bool {
    // 24 bits and the power of two are exact in `f32`.
    (splitmix64(key.wrapping_add(i)) >> 40) as f32 / (1u32 << 24) as f32 >= p
}

/// Drops elements of a whole matrix in place and divides the others by `1 - p`.
pub fn apply<T: Real>(x: &mut [T], dropout: Dropout) {
    let kept = T::of(1.0 - f64::from(dropout.p));
    for_chunks(x, |range, x| {
        for (i, x) in range.zip(x) {
            *x = if keep(dropout.key, i as u64, dropout.p) { *x / kept } else { T::ZERO };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_dropped_with_the_probability_that_was_asked_for() {
        for p in [0.0f32, 0.05, 0.5, 0.9] {
            let mut x = vec![1.0f64; 100_000];
            apply(&mut x, Dropout { p, key: 7 });
            let dropped = x.iter().filter(|&&x| x == 0.0).count() as f64 / x.len() as f64;
            assert!((dropped - f64::from(p)).abs() < 0.01, "{p}: {dropped}");
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            assert!((mean - 1.0).abs() < 0.02, "{p}: {mean}");
        }
    }

    /// The rule is part of what a run is: another draw would be another run.
    #[test]
    fn the_draw_of_a_key_is_pinned() {
        let kept: Vec<bool> = (0..12).map(|i| keep(5, i, 0.5)).collect();
        let expected = (0..12).map(|i| splitmix64(5 + i) >> 63 == 1);
        assert_eq!(kept, expected.collect::<Vec<_>>());
        assert!(keep(u64::MAX, 1, 0.0));
    }
}
