//! The state of a run in one file, replaced in one step, so that a stop at any moment loses at most the steps since.
//!
//! ```text
//! magic "POTLUCKC" | header length u32 LE | header JSON | parameters | first moments | second moments | BLAKE3
//! ```
//! The three arrays are `f32` little-endian in the order of the adapter's layout; BLAKE3 covers all before it. With the
//! step's number they are the whole state: the order of samples and the learning rate follow from the step.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use potluck_protocol::base::Architecture;
use serde::{Deserialize, Serialize};

use crate::fit::config::FitConfig;
use crate::fit::state::HostState;
use crate::sample::Sample;

const MAGIC: &[u8; 8] = b"POTLUCKC";
/// The header holds a few short fields.
const HEADER_MAX: usize = 1 << 12;
const DIGEST: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint {} cannot be {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error("the checkpoint {} is damaged ({fault}); remove it to start again", path.display())]
    Damaged { path: PathBuf, fault: &'static str },
    #[error("the checkpoint {} belongs to another run (other settings, data or base); remove it to start again", path.display())]
    OtherRun { path: PathBuf },
}

/// What makes a run the same run: settings (but how often it saves), base, architecture and samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    pub fn new(config: &FitConfig, base: &str, architecture: &Architecture, samples: &[Sample]) -> Self {
        let config = FitConfig { checkpoint_every: 0, ..config.clone() };
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 training run/1");
        // Length first, so that no two lists of parts read the same.
        let mut part = |text: String| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(format!("{config:?}"));
        part(base.to_owned());
        part(format!("{architecture:?}"));
        for sample in samples {
            part(format!("{sample:?}"));
        }
        Self(hasher.finalize().to_hex().to_string())
    }
}

/// The state after `step` optimiser steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub step: u64,
    pub state: HostState,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    run: RunId,
    step: u64,
    /// Elements of each array.
    len: usize,
}

/// Writes beside the file, makes it durable, and puts it in the file's place.
pub fn save(path: &Path, run: &RunId, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let io = |action| move |source| CheckpointError::Io { path: path.to_owned(), action, source };
    let HostState { params, first, second } = &checkpoint.state;
    let header = Header { run: run.clone(), step: checkpoint.step, len: params.len() };
    let header = serde_json::to_vec(&header).map_err(|error| io("written")(error.into()))?;
    let mut bytes = Vec::with_capacity(header.len() + 12 * params.len() + 64);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&header);
    for values in [params, first, second] {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    replace(path, &bytes).map_err(io("written"))
}

/// Temporary name, fsync, rename, fsync of the folder.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&temporary, path)?;
    sync_folder(path)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; the rename is as durable as the system makes it.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The state of this run; `None` if there is no file. `len` is the number of the adapter's elements.
pub fn load(path: &Path, run: &RunId, len: usize) -> Result<Option<Checkpoint>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), action: "read", source };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io)?,
    };
    let max = MAGIC.len() + 4 + HEADER_MAX + 12 * len + DIGEST;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    let damaged = |fault| CheckpointError::Damaged { path: path.to_owned(), fault };
    let (header, arrays) = parse(&bytes, max).map_err(damaged)?;
    if header.run != *run {
        return Err(CheckpointError::OtherRun { path: path.to_owned() });
    }
    if header.len != len || arrays.len() != 12 * len {
        return Err(damaged("its arrays have another length than the adapter"));
    }
    let floats = |index: usize| -> Vec<f32> {
        let bytes = &arrays[index * 4 * len..][..4 * len];
        bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let state = HostState { params: floats(0), first: floats(1), second: floats(2) };
    Ok(Some(Checkpoint { step: header.step, state }))
}

fn parse(bytes: &[u8], max: usize) -> Result<(Header, &[u8]), &'static str> {
    if !bytes.starts_with(MAGIC) {
        return Err("it does not start as one");
    }
    // A longer file is of a larger adapter, so of another run, if its header is sound.
    let whole = bytes.len() <= max;
    let (length, rest) = bytes[MAGIC.len()..].split_first_chunk::<4>().ok_or("it is cut short")?;
    let length = u32::from_le_bytes(*length) as usize;
    let header = rest.get(..length).filter(|_| length <= HEADER_MAX).ok_or("its header is cut short or too long")?;
    let header: Header = serde_json::from_slice(header).map_err(|_| "its header is not readable")?;
    if !whole {
        return Ok((header, &[]));
    }
    let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or("it is cut short")?;
    if *blake3::hash(body).as_bytes() != *digest {
        return Err("its checksum is wrong");
    }
    Ok((header, body.get(MAGIC.len() + 4 + length..).ok_or("it is cut short")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (RunId, Checkpoint) {
        let state = HostState { params: vec![1.0, -2.5], first: vec![0.5, 0.0], second: vec![1e-9, 3.0] };
        (RunId("a".repeat(64)), Checkpoint { step: 7, state })
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (run, checkpoint) = example();
        assert!(load(&path, &run, 2).unwrap().is_none());
        save(&path, &run, &checkpoint).unwrap();
        assert_eq!(load(&path, &run, 2).unwrap(), Some(checkpoint));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_runs_state_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (run, checkpoint) = example();
        save(&path, &run, &checkpoint).unwrap();
        let other = RunId("b".repeat(64));
        assert!(matches!(load(&path, &other, 2), Err(CheckpointError::OtherRun { .. })));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (run, checkpoint) = example();
        save(&path, &run, &checkpoint).unwrap();
        let good = std::fs::read(&path).unwrap();
        for len in 0..good.len() {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(matches!(load(&path, &run, 2), Err(CheckpointError::Damaged { .. })), "cut at {len}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(load(&path, &run, 2).is_err(), "byte {at}");
        }
    }
}
