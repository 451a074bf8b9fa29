//! DARE (Yu et al. 2023, arXiv 2311.03099): each element of an update is dropped by chance, those that stay are divided
//! by the share that stays, and the updates are summed with their weights.
//!
//! The chance is BLAKE3's extended output under a key of the seed, the module, and the module's factors themselves: the
//! draw is the same in whatever order and company an adapter is merged, and two adapters draw apart. Element `i` reads
//! bytes `4 i` to `4 i + 3` as a little-endian integer and stays if that is below the density times 2^32.

use std::ops::Range;

use super::delta::Delta;
use super::input::Part;
use super::method::Density;
use super::truncate::Rows;

/// The key derivation's context. The draw under a seed never changes.
const CONTEXT: &str = "potluck 2026 dare/1";

/// Draws that are made at once.
const DRAWS: usize = 1 << 14;

/// One module.
pub struct Dare {
    deltas: Vec<(Delta, Mask)>,
    density: Density,
    wide: Vec<f64>,
    narrow: Vec<f32>,
}

impl Dare {
    pub fn new(parts: &[Part], module: &str, density: Density, seed: u64) -> Self {
        let draw = |part: &Part| {
            let (out, inner) = (part.pair.shape.out, part.pair.shape.inner);
            (Delta::new(part), Mask::draw(&key(part, module, seed), density, out * inner))
        };
        Self { deltas: parts.iter().map(draw).collect(), density, wide: Vec::new(), narrow: Vec::new() }
    }
}

impl Rows for Dare {
    fn shape(&self) -> (usize, usize) {
        self.deltas.first().map_or((0, 0), |(delta, _)| delta.shape())
    }

    fn rows(&mut self, rows: Range<usize>, to: &mut [f64]) {
        let first = rows.start * self.shape().1;
        to.fill(0.0);
        for (delta, mask) in &self.deltas {
            delta.rows(rows.clone(), &mut self.wide, &mut self.narrow);
            let factor = delta.weight / self.density.get();
            for (index, (to, &value)) in (first..).zip(to.iter_mut().zip(&self.narrow)) {
                *to += if mask.stays(index) { factor * f64::from(value) } else { 0.0 };
            }
        }
    }
}

/// What the draws of one adapter's module come from.
fn key(part: &Part, module: &str, seed: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(module.len() as u64).to_le_bytes());
    hasher.update(module.as_bytes());
    for values in [&part.pair.a, &part.pair.b] {
        let mut bytes = Vec::with_capacity(4 * DRAWS);
        for piece in values.chunks(DRAWS) {
            bytes.clear();
            bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
        }
    }
    hasher
}

/// A bit for each element: one if it stays.
struct Mask(Vec<u64>);

impl Mask {
    fn draw(key: &blake3::Hasher, density: Density, elements: usize) -> Self {
        let (mut stream, threshold) = (key.finalize_xof(), density.threshold());
        let mut words = vec![0u64; elements.div_ceil(64)];
        let mut bytes = vec![0; 4 * DRAWS];
        for words in words.chunks_mut(DRAWS / 64) {
            stream.fill(&mut bytes);
            for (word, draws) in words.iter_mut().zip(bytes.as_chunks::<256>().0) {
                for (bit, draw) in draws.as_chunks::<4>().0.iter().enumerate() {
                    *word |= u64::from(u64::from(u32::from_le_bytes(*draw)) < threshold) << bit;
                }
            }
        }
        Self(words)
    }

    #[inline]
    fn stays(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(seed: u64, share: f64) -> Mask {
        let mut key = blake3::Hasher::new_derive_key(CONTEXT);
        key.update(&seed.to_le_bytes());
        Mask::draw(&key, Density::new(share).unwrap(), 100_000)
    }

    #[test]
    fn so_many_stay_as_the_density_says_and_another_seed_draws_others() {
        let count = |mask: &Mask| (0..100_000).filter(|&index| mask.stays(index)).count();
        assert_eq!(count(&mask(1, 1.0)), 100_000);
        let (one, two) = (mask(1, 0.3), mask(2, 0.3));
        // Five standard deviations of 145.
        assert!(count(&one).abs_diff(30_000) < 725 && count(&two).abs_diff(30_000) < 725);
        let both = (0..100_000).filter(|&index| one.stays(index) && two.stays(index)).count();
        assert!(both.abs_diff(9_000) < 500, "{both}");
    }

    #[test]
    fn an_element_reads_its_own_four_bytes() {
        let key = blake3::Hasher::new_derive_key(CONTEXT);
        let mut bytes = vec![0; 4 * 100_000];
        key.finalize_xof().fill(&mut bytes);
        let mask = Mask::draw(&key, Density::new(0.25).unwrap(), 100_000);
        for (index, draw) in bytes.as_chunks::<4>().0.iter().enumerate() {
            assert_eq!(mask.stays(index), u32::from_le_bytes(*draw) < 1 << 30, "{index}");
        }
    }
}
