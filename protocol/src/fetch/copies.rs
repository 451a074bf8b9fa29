//! How many bytes may be asked for twice.

/// Second copies may be one part in so many of all bytes.
const COPIES_PART: u64 = 20;

/// The account of second copies.
#[derive(Clone, Debug)]
pub struct Copies {
    /// All bytes, and those of the longest shard.
    total: u64,
    /// Bytes of the longest shard.
    pub longest: u64,
    /// Bytes of copies that were not needed.
    pub wasted: u64,
}

impl Copies {
    /// An account for a transfer of shards with these lengths in bytes.
    pub fn new(lens: impl Iterator<Item = u32> + Clone) -> Self {
        Self { total: lens.clone().map(u64::from).sum(), longest: lens.map(u64::from).max().unwrap_or(0), wasted: 0 }
    }

    /// Whether a further copy of `len` bytes may be asked for beside those on their way, if at least `at_least` bytes
    /// may be wasted in all.
    pub fn allow(&self, on_their_way: u64, len: u32, at_least: u64) -> bool {
        self.wasted + on_their_way + u64::from(len) <= (self.total / COPIES_PART).max(at_least)
    }
}
