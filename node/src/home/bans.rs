//! Bans over restarts: a small file that a person may read, change or delete while no daemon runs.
//!
//! It holds what is left of each ban, and no time of day: a clock that is set, or a machine that was off, neither
//! shortens a ban nor makes it endless. It is written from time to time; a crash loses what came since.

use std::io::{self, Read};
use std::path::Path;

use libp2p::PeerId;
use potluck_trainer::files;
use serde::{Deserialize, Serialize};

/// More than as many bans as are kept need. // I4
const FILE_MAX: u64 = 1 << 20;

/// A ban that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedBan {
    /// Who is banned.
    pub peer: PeerId,
    /// What is left of it, in milliseconds; the file keeps whole seconds.
    pub remaining_ms: u64,
    /// How often the peer has been banned.
    pub count: u32,
}

#[derive(Serialize, Deserialize)]
struct Line {
    peer: String,
    remaining_s: u64,
    bans: u32,
}

/// The bans of a file; none if there is none. Lines with no peer id are left out.
pub fn read(path: &Path) -> io::Result<Vec<SavedBan>> {
    let mut text = String::new();
    match files::open(path) {
        Ok(file) => file.take(FILE_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines: Vec<Line> = serde_json::from_str(&text)?;
    let ban = |line: Line| {
        let remaining_ms = line.remaining_s.saturating_mul(1000);
        Some(SavedBan { peer: line.peer.parse().ok()?, remaining_ms, count: line.bans })
    };
    Ok(lines.into_iter().filter_map(ban).collect())
}

/// Replaces the file durably.
pub fn write(path: &Path, bans: &[SavedBan]) -> io::Result<()> {
    let line =
        |ban: &SavedBan| Line { peer: ban.peer.to_string(), remaining_s: ban.remaining_ms / 1000, bans: ban.count };
    let text = serde_json::to_string_pretty(&bans.iter().map(line).collect::<Vec<_>>())?;
    files::replace_private(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_come_back_from_the_file_and_a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.json");
        assert_eq!(read(&path).expect("no file is no error"), []);
        let ban = SavedBan { peer: PeerId::random(), remaining_ms: 90_000, count: 3 };
        write(&path, &[ban]).expect("writable");
        assert_eq!(read(&path).expect("ours"), [ban]);
        std::fs::write(&path, "[{\"peer\":").expect("writable");
        assert!(read(&path).is_err());
    }
}
