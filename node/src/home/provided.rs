//! `provided`: when what is next told to the DHT, `SECONDS HEX` a line.

use std::fmt::Write;
use std::path::Path;

use potluck_trainer::files;

use super::FileError;
use super::files::{io_error, lines};

/// A key of the DHT.
pub type Key = [u8; 32];

/// What the file says, as far as it can be read: what is missing is told again.
fn read_text(text: &str) -> Vec<(Key, u64)> {
    let entry = |(_, line): (usize, &str)| {
        let (seconds, hex) = line.split_once(' ')?;
        Some((parse_key(hex)?, seconds.parse::<u64>().ok()?.checked_mul(1000)?))
    };
    lines(text).filter_map(entry).collect()
}

/// The keys of a home with the time, in milliseconds since 1970, at which each is due.
pub fn read(path: &Path) -> Vec<(Key, u64)> {
    match super::files::read(path) {
        Ok(text) => text.map(|text| read_text(&text)).unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "the record of what was provided to the DHT cannot be read: everything is provided again");
            Vec::new()
        }
    }
}

/// Replaces the file durably.
pub fn write(path: &Path, entries: Vec<(Key, u64)>) -> Result<(), FileError> {
    let mut text = String::new();
    for (key, due_ms) in entries {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {hex}", due_ms / 1000);
    }
    files::replace_private(path, text.as_bytes()).map_err(io_error("write", path))
}

fn parse_key(hex: &str) -> Option<Key> {
    let mut key = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("provided");
        assert!(read(&path).is_empty());
        let all: Vec<_> = (0..100u8).map(|n| ([n; 32], 1_700_000_000_000 + u64::from(n) * 1000)).collect();
        write(&path, all.clone()).expect("writable");
        assert_eq!(read(&path), all);
        write(&path, all[1..].to_vec()).expect("replaced");
        assert_eq!(read(&path), all[1..]);
        let mut bytes = std::fs::read(&path).expect("there");
        bytes.truncate(bytes.len() - 9);
        bytes[3] = 0xff;
        std::fs::write(&path, bytes).expect("writable");
        assert_eq!(read(&path), all[2..99], "the first and the last line are gone");
        let long = "1 é".to_owned() + &"0".repeat(62);
        assert!(read_text(&long).is_empty());
        assert!(read_text(&format!("{} {}", u64::MAX, "00".repeat(32))).is_empty());
    }
}
