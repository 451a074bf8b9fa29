//! How many bytes may be asked for twice.

/// Second copies may be one part in so many of all bytes.
const COPIES_PART: u64 = 20;

/// The account of second copies.
#[derive(Clone, Debug)]
pub struct Copies {
    /// All bytes, and those of the longest shard.
    total: u64,
    longest: u64,
    /// Bytes of copies that were not needed.
    pub wasted: u64,
}

impl Copies {
    /// An account for a transfer of shards with these lengths in bytes.
    pub fn new(lens: impl Iterator<Item = u32> + Clone) -> Self {
        Self { total: lens.clone().map(u64::from).sum(), longest: lens.map(u64::from).max().unwrap_or(0), wasted: 0 }
    }

    /// Whether a copy of `len` bytes that gains little may be asked for beside those on their way: not even if all of it is
    /// wasted more than a part of all bytes is.
    pub fn allow_all_of(&self, on_their_way: u64, len: u32) -> bool {
        self.wasted + on_their_way + u64::from(len) <= self.part()
    }

    /// Whether a copy that gains much may be asked for beside those on their way, if `came` bytes of the shard have come: not
    /// the copy is wasted then, but these. One shard may be, however few there are; who sends a byte and no more has spent a
    /// byte of it.
    pub fn allow_one(&self, on_their_way: u64, came: u64) -> bool {
        self.wasted + on_their_way + came < self.part().max(self.longest)
    }

    fn part(&self) -> u64 {
        self.total / COPIES_PART
    }
}
