//! Bans over restarts: a small file that a person may read, change or delete while no daemon runs.
//!
//! It holds what is left of each ban, and no time of day: a clock that is set, or a machine that was off, neither
//! shortens a ban nor makes it endless. What a crash loses is at most [`EVERY`] of bans.

use std::io::{Read, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::net::{Ban, Handle};
use crate::task;

/// Between two writings while anybody is banned.
const EVERY: Duration = Duration::from_secs(60);

/// More than as many bans as are kept need. // I4
const FILE_MAX: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    peer: String,
    remaining_s: u64,
    bans: u32,
}

/// Takes up what an earlier process has written.
pub fn restore(home: &Home, net: &Handle) {
    match read(home) {
        Ok(bans) => net.restore_bans(&bans),
        Err(error) => tracing::warn!(%error, path = %home.layout().bans().display(), "bans of before are forgotten"),
    }
}

/// Writes the bans that go on, from time to time and at the end.
pub async fn keep(home: Home, net: Handle, stop: tokio_util::sync::CancellationToken) {
    let mut written = None;
    loop {
        let ended = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none();
        let bans = net.banned();
        // Nothing, and nothing before: no need to write that again.
        if !bans.is_empty() || written != Some(0) {
            written = Some(bans.len());
            let home = home.clone();
            let result = task::blocking(move || write(&home, &bans)).await;
            if let Ok(Err(error)) = result {
                tracing::warn!(%error, "bans cannot be written: after a restart they are forgotten");
            }
        }
        if ended {
            return;
        }
    }
}

fn read(home: &Home) -> std::io::Result<Vec<Ban>> {
    let mut text = String::new();
    match potluck_trainer::files::open(&home.layout().bans()) {
        Ok(file) => file.take(FILE_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines: Vec<Line> = serde_json::from_str(&text)?;
    let ban = |line: Line| {
        let remaining_ms = line.remaining_s.saturating_mul(1000);
        Some(Ban { peer: line.peer.parse().ok()?, remaining_ms, count: line.bans })
    };
    Ok(lines.into_iter().filter_map(ban).collect())
}

fn write(home: &Home, bans: &[Ban]) -> std::io::Result<()> {
    let line = |ban: &Ban| Line { peer: ban.peer.to_string(), remaining_s: ban.remaining_ms / 1000, bans: ban.count };
    let text = serde_json::to_string_pretty(&bans.iter().map(line).collect::<Vec<_>>())?;
    let mut file = tempfile::NamedTempFile::new_in(home.layout().tmp())?;
    file.write_all(text.as_bytes())?;
    file.persist(home.layout().bans()).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn bans_come_back_from_the_file_and_a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open(folder.path()).expect("free");
        assert_eq!(read(&home).expect("no file is no error"), []);
        let ban = Ban { peer: PeerId::random(), remaining_ms: 90_000, count: 3 };
        write(&home, &[ban]).expect("writable");
        assert_eq!(read(&home).expect("ours"), [ban]);
        std::fs::write(home.layout().bans(), "[{\"peer\":").expect("writable");
        assert!(read(&home).is_err());
    }
}
