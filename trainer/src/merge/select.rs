//! The k largest of many floats by magnitude, exactly: by counting bit patterns, in a few passes over values that are
//! made anew in each, so that they need not be kept.

/// Half of a magnitude's 31 bits.
const HIGH: u32 = 15;

/// Which elements are among the largest. Of equal ones the first are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// The bits of the least magnitude that is taken.
    least: u32,
    /// Of elements with just that magnitude, those up to this index are taken.
    last: u64,
}

impl Largest {
    #[inline]
    pub fn takes(&self, value: f32, index: u64) -> bool {
        let magnitude = magnitude(value);
        magnitude > self.least || (magnitude == self.least && index <= self.last)
    }
}

/// For finite floats the order of these integers is the order of the magnitudes.
#[inline]
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// Finds the `count` largest (1 or more, not more than there are). `pass` goes through all values in the order of their
/// indices, in slices; it is called up to three times.
pub fn largest(count: u64, mut pass: impl FnMut(&mut dyn FnMut(&[f32]))) -> Largest {
    let mut buckets = vec![0u64; 1 << (31 - HIGH)];
    pass(&mut |values| values.iter().for_each(|&value| buckets[(magnitude(value) >> HIGH) as usize] += 1));
    let (high, above) = reach(&buckets, count, 0);
    let mut buckets = vec![0u64; 1 << HIGH];
    pass(&mut |values| {
        for magnitude in values.iter().map(|&value| magnitude(value)).filter(|magnitude| magnitude >> HIGH == high) {
            buckets[(magnitude & ((1 << HIGH) - 1)) as usize] += 1;
        }
    });
    let (low, above) = reach(&buckets, count, above);
    let (least, equal, wanted) = (high << HIGH | low, buckets[low as usize], count - above);
    let last = if equal == wanted { u64::MAX } else { nth_equal(least, wanted, &mut pass) };
    Largest { least, last }
}

/// The bucket in which the count is reached from above, and how many lie above that bucket.
fn reach(buckets: &[u64], count: u64, mut above: u64) -> (u32, u64) {
    for (bucket, &here) in buckets.iter().enumerate().rev() {
        if above + here >= count {
            return (bucket as u32, above);
        }
        above += here;
    }
    (0, above)
}

/// The index of the `wanted`-th element (from 1) of a magnitude.
fn nth_equal(least: u32, mut wanted: u64, pass: &mut impl FnMut(&mut dyn FnMut(&[f32]))) -> u64 {
    let (mut first, mut last) = (0u64, 0);
    pass(&mut |values| {
        for (index, _) in (first..).zip(values).filter(|(_, value)| magnitude(**value) == least) {
            if wanted > 0 {
                (wanted, last) = (wanted - 1, index);
            }
        }
        first += values.len() as u64;
    });
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a stable sort: few values, so that many are equal, of either sign and any size.
        #[test]
        fn the_largest_are_taken_and_of_equal_ones_the_first(
            draws in prop::collection::vec((0usize..7, any::<bool>()), 1..200), some in any::<prop::sample::Index>(),
            piece in 1usize..50,
        ) {
            let magnitudes = [0.0, f32::MIN_POSITIVE, 1.0, 1.0 + f32::EPSILON, 1.5, 2.0, f32::MAX];
            let values: Vec<f32> =
                draws.iter().map(|&(m, minus)| if minus { -magnitudes[m] } else { magnitudes[m] }).collect();
            let count = some.index(values.len()) + 1;
            let found = largest(count as u64, |each| values.chunks(piece).for_each(&mut *each));
            let taken: Vec<usize> = (0..values.len()).filter(|&i| found.takes(values[i], i as u64)).collect();
            let mut sorted: Vec<usize> = (0..values.len()).collect();
            sorted.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()));
            let mut wanted = sorted[..count].to_vec();
            wanted.sort_unstable();
            prop_assert_eq!(taken, wanted);
        }
    }
}
