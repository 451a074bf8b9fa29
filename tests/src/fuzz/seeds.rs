//! Inputs to begin with: the golden vectors and the fixtures of the crates, and what earlier runs have found.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A file of `protocol/tests/vectors`.
#[derive(Deserialize)]
struct Vectors {
    accepted: Vec<Vector>,
    refused: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    hex: String,
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// Of a type: bytes that are a value, then bytes that are none.
pub fn vectors(file: &str) -> Vec<Vec<u8>> {
    let path = root().join(format!("protocol/tests/vectors/{file}.json"));
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Vectors { accepted, refused } = serde_json::from_slice(&text).expect("vectors");
    let all = accepted.into_iter().chain(refused);
    // A few megabytes that are refused by their length are no use here.
    all.map(|vector| bytes(&vector.hex).expect("hex digits")).filter(|bytes| bytes.len() <= LONGEST).collect()
}

/// The longest seed.
const LONGEST: usize = 256 << 10;

/// The bytes of an even number of hex digits.
pub fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A fixture of the trainer.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = root().join("trainer/tests/fixtures").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fixtures in a folder, by name.
pub fn fixtures(folder: &str) -> Vec<Vec<u8>> {
    in_folder(&root().join("trainer/tests/fixtures").join(folder))
}

/// What was found once, is mended, and is tried first ever since.
pub fn found(target: &str) -> Vec<Vec<u8>> {
    in_folder(&root().join(FOUND).join(target))
}

/// The names of targets of which something was found.
#[cfg(test)]
pub fn found_targets() -> std::collections::BTreeSet<String> {
    let entries = fs::read_dir(root().join(FOUND)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

const FOUND: &str = "tests/fixtures/fuzz";

/// The files of a folder, by name; none if there is no folder.
fn in_folder(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// Parts with their lengths in front, as targets of several parts take them.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u32).to_le_bytes()[..], part].concat()).collect()
}

/// The parts of [`join`]; what the last length leaves over is the last part.
pub fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let len = (u32::from_le_bytes(*len) as usize).min(rest.len());
        parts.push(&rest[..len]);
        bytes = &rest[len..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let parts: [&[u8]; 3] = [b"a", b"", b"bc"];
        assert_eq!(split(&join(&parts)), parts);
        assert_eq!(split(&[9, 0, 0, 0, 1]), [&[1u8][..]]);
        assert_eq!(bytes(&hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
    }
}
