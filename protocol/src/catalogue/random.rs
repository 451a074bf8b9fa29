//! Jitter and choice, from a seed: splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
//! 2014). Nothing secret depends on it.

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is of no account for jitter.
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// Up to `count` of the items, each at most once.
    pub fn some_of<T: Copy>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        let count = count.min(items.len());
        for index in 0..count {
            let other = index + self.below((items.len() - index) as u64) as usize;
            items.swap(index, other);
        }
        items.truncate(count);
        items
    }
}
