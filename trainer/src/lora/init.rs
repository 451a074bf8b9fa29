//! How an adapter starts: `A` as PEFT draws it, `B` zero, so that the first output is the base's.

use super::layout::Layout;
use crate::random::splitmix64;

/// Uniform in `-1/sqrt(inner) .. 1/sqrt(inner)` from 24 random bits: `kaiming_uniform(a = sqrt(5))` of a matrix with
/// `inner` columns.
pub fn uniform(bits: u64, inner: usize) -> f32 {
    let unit = (bits >> 40) as f64 / f64::from(1u32 << 24);
    ((unit - 0.5) * 2.0 / (inner as f64).sqrt()) as f32
}

/// Every `A` drawn from the seed, every `B` zero. // I11
/// Tensor `t` (by position among all names), element `i` draws
/// `splitmix64(splitmix64(seed) + t * 2^32 + i)`.
pub fn kaiming(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut flat = vec![0.0; layout.len];
    let key = splitmix64(seed);
    for module in &layout.modules {
        let slot = &layout.slots[module.a];
        let first = key.wrapping_add((module.a as u64) << 32);
        for (i, value) in flat[slot.range()].iter_mut().enumerate() {
            *value = uniform(splitmix64(first.wrapping_add(i as u64)), slot.shape[1]);
        }
    }
    flat
}
