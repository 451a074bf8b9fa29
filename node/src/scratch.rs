//! Temporary folders of benchmarks, which may be on any disk.

use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::failure::{Failure, Outcome};

/// A folder of its own below `root`, gone when it is dropped.
pub(crate) fn make(root: &Path) -> Outcome<TempDir> {
    tempfile::Builder::new().prefix("potluck-bench-").tempdir_in(root).map_err(|error| {
        // Its words name a path that nobody knows and that is not there.
        let bare = error.get_ref().and_then(|named| named.source()).map(ToString::to_string);
        let bare = bare.map_or_else(|| io::Error::from(error.kind()), |text| io::Error::new(error.kind(), text));
        Failure::io(format!("make a folder for the benchmark in {}", root.display()), &bare)
    })
}
