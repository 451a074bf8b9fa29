//! Free space: asked for before anything large is written. // I14

use crate::disk;
use crate::store::Store;
use crate::store::error::{Result, StoreError};

impl Store {
    /// Bytes that this user can still write to the disk of the home.
    pub fn free_bytes(&self) -> Result<u64> {
        let root = self.layout().root();
        disk::free_bytes(root).map_err(StoreError::io("ask for the free space of", root))
    }

    /// Refuses a write that would leave less free than the minimum, if one is set.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<()> {
        let min = self.0.options.min_free_bytes;
        if min == 0 || bytes == 0 {
            return Ok(());
        }
        let free = self.free_bytes()?;
        if free >= min.saturating_add(bytes) {
            return Ok(());
        }
        Err(StoreError::NoSpace {
            doing: "write to",
            path: self.layout().root().to_path_buf(),
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
