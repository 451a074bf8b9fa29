//! Free space: asked for before anything large is written. // I14

use std::path::PathBuf;

use crate::disk;
use crate::store::error::{Result, StoreError};

/// The disk of a home, and how much of it stays free.
#[derive(Debug)]
pub(crate) struct Space {
    root: PathBuf,
    /// Bytes; 0 sets no minimum.
    min_free: u64,
}

impl Space {
    /// Of the disk that `root` is on.
    pub fn new(root: PathBuf, min_free: u64) -> Self {
        Self { root, min_free }
    }

    /// Bytes that stay free; 0 for no minimum.
    pub fn min_free(&self) -> u64 {
        self.min_free
    }

    /// Bytes that this user can still write to it.
    pub fn free_bytes(&self) -> Result<u64> {
        disk::free_bytes(&self.root).map_err(StoreError::io("ask for the free space of", &self.root))
    }

    /// Refuses a write that would leave less free than the minimum, if one is set.
    pub fn check(&self, bytes: u64) -> Result<()> {
        if self.min_free == 0 || bytes == 0 {
            return Ok(());
        }
        let free = self.free_bytes()?;
        if free >= self.min_free.saturating_add(bytes) {
            return Ok(());
        }
        let min = self.min_free;
        Err(StoreError::NoSpace {
            doing: "write to",
            path: self.root.clone(),
            reason: format!("{bytes} bytes more would leave less than the minimum of {min} free ({free} are free now)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Options;
    use crate::store::testing::Fixture;

    #[test]
    fn a_minimum_of_free_space_is_kept() {
        let fixture = Fixture::new();
        let store = fixture.open_with(Options { min_free_bytes: u64::MAX, ..Options::default() }).expect("opens");
        let error = fixture.complete(&store, "x", 100).expect_err("no disk is that large");
        assert!(error.is_no_space() && error.to_string().contains("minimum"), "{error}");
        drop(store);
        let store = fixture.open_with(Options { min_free_bytes: 1, ..Options::default() }).expect("opens");
        fixture.add(&store, "x", 100);
    }
}
