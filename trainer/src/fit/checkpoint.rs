//! The state of a run in one file, replaced in one step, so that a stop at any moment loses at most the steps since.
//!
//! ```text
//! magic "POTLUCKC" | header length u32 LE | header JSON | parameters | first moments | second moments | BLAKE3
//! ```
//! The three arrays are `f32` little-endian in the order of the adapter's layout; there are moments of trained factors
//! only. BLAKE3 covers all before it. With the header's counts they are the whole state: the order of samples, the
//! learning rate and what is dropped follow from the step.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::fit::alarm::Alarm;
use crate::fit::exact::Exact;
use crate::fit::identity::RunId;
use crate::fit::state::HostState;
use crate::fit::watch::Watch;

const MAGIC: &[u8; 8] = b"POTLUCKC";
/// The header holds a few short fields.
const HEADER_MAX: usize = 1 << 12;
const DIGEST: usize = 32;

/// Why a state is not saved, or not gone on from.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum CheckpointError {
    #[error("the checkpoint {} cannot be {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error("the checkpoint {} is damaged ({fault})", path.display())]
    Damaged { path: PathBuf, fault: &'static str },
    #[error("the checkpoint {} belongs to another run, with {}", path.display(), different.join(" and "))]
    OtherRun { path: PathBuf, different: Vec<&'static str> },
}

/// What a run has counted and seen up to its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Of the last step.
    pub loss: Option<Exact>,
    /// Tokens that went through the model, prompts included.
    pub tokens: u64,
    /// Those of them that were labelled.
    pub labelled: u64,
    /// Whether factors get gradients at all.
    pub alarm: Alarm,
    /// What evaluations have shown.
    pub watch: Watch,
}

/// The state after `step` optimiser steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Counts and losses up to there.
    pub tally: Tally,
    /// Parameters and moments.
    pub state: HostState,
}

/// Elements of the arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Elements of all factors, trained or not.
    pub params: usize,
    /// Of each of the two moments.
    pub moments: usize,
}

impl Sizes {
    /// The sizes that a state has.
    pub fn of(state: &HostState) -> Self {
        Self { params: state.params.len(), moments: state.first.len() }
    }

    fn bytes(self) -> usize {
        4 * self.params + 8 * self.moments
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    run: RunId,
    step: u64,
    tally: Tally,
    sizes: Sizes,
}

/// Writes beside the file, makes it durable, and puts it in the file's place. On failure the file is as it was.
pub fn save(path: &Path, run: &RunId, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let io = |action| move |source| CheckpointError::Io { path: path.to_owned(), action, source };
    let Checkpoint { step, tally, state } = checkpoint;
    let sizes = Sizes::of(state);
    let header = Header { run: run.clone(), step: *step, tally: *tally, sizes };
    let header = serde_json::to_vec(&header).map_err(|error| io("written")(error.into()))?;
    let mut bytes = Vec::with_capacity(header.len() + sizes.bytes() + 64);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&header);
    for values in [&state.params, &state.first, &state.second] {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    files::replace(path, &bytes).map_err(io("written"))
}

/// Steps of the state in a file, whosever run it is of; `None` if there is no file, or none that begins as one.
pub fn step(path: &Path) -> Option<u64> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take((MAGIC.len() + 4 + HEADER_MAX) as u64).read_to_end(&mut bytes).ok()?;
    header(&bytes).ok().map(|(header, _)| header.step)
}

/// The state of this run; `None` if there is no file. `sizes` are those of the adapter.
pub fn load(path: &Path, run: &RunId, sizes: Sizes) -> Result<Option<Checkpoint>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), action: "read", source };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io)?,
    };
    let max = MAGIC.len() + 4 + HEADER_MAX + sizes.bytes() + DIGEST;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    let damaged = |fault| CheckpointError::Damaged { path: path.to_owned(), fault };
    let (header, arrays) = parse(&bytes, max).map_err(damaged)?;
    let different = run.differences(&header.run);
    if !different.is_empty() {
        return Err(CheckpointError::OtherRun { path: path.to_owned(), different });
    }
    if header.sizes != sizes || arrays.len() != sizes.bytes() {
        return Err(damaged("its arrays have another length than the adapter"));
    }
    let (params, moments) = arrays.split_at(4 * sizes.params);
    let (first, second) = moments.split_at(4 * sizes.moments);
    let state = HostState { params: floats(params), first: floats(first), second: floats(second) };
    Ok(Some(Checkpoint { step: header.step, tally: header.tally, state }))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The header, and where the arrays begin.
fn header(bytes: &[u8]) -> Result<(Header, usize), &'static str> {
    if !bytes.starts_with(MAGIC) {
        return Err("it does not start as one");
    }
    let (length, rest) = bytes[MAGIC.len()..].split_first_chunk::<4>().ok_or("it is cut short")?;
    let length = u32::from_le_bytes(*length) as usize;
    let header = rest.get(..length).filter(|_| length <= HEADER_MAX).ok_or("its header is cut short or too long")?;
    let header = serde_json::from_slice(header).map_err(|_| "its header is not readable")?;
    Ok((header, MAGIC.len() + 4 + length))
}

fn parse(bytes: &[u8], max: usize) -> Result<(Header, &[u8]), &'static str> {
    let (header, arrays) = header(bytes)?;
    // A longer file is of a larger adapter, so of another run, if its header is sound.
    if bytes.len() > max {
        return Ok((header, &[]));
    }
    let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or("it is cut short")?;
    if *blake3::hash(body).as_bytes() != *digest {
        return Err("its checksum is wrong");
    }
    Ok((header, body.get(arrays..).ok_or("it is cut short")?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::small::architecture;
    use crate::fit::config::FitConfig;
    use crate::fit::identity::Source;

    const SIZES: Sizes = Sizes { params: 3, moments: 2 };

    fn run(base: &str) -> RunId {
        let source = Source { base, ..Source::default() };
        RunId::new(&FitConfig::default(), source, &architecture(), &[], &[], &[])
    }

    fn example() -> (RunId, Checkpoint) {
        let state = HostState { params: vec![1.0, -2.5, 7.0], first: vec![0.5, 0.0], second: vec![1e-9, 3.0] };
        let mut tally = Tally { loss: Some(Exact::of(0.1 + 0.2)), tokens: 5, ..Tally::default() };
        tally.watch.take(4, 1.0 / 3.0, 0.0);
        tally.alarm.step(1.0);
        (run("a"), Checkpoint { step: 7, tally, state })
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (run, checkpoint) = example();
        assert!(load(&path, &run, SIZES).unwrap().is_none());
        save(&path, &run, &checkpoint).unwrap();
        assert_eq!(load(&path, &run, SIZES).unwrap(), Some(checkpoint));
        assert_eq!((step(&path), step(folder.path()), step(&folder.path().join("none"))), (Some(7), None, None));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_runs_state_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mine, checkpoint) = example();
        save(&path, &mine, &checkpoint).unwrap();
        let error = load(&path, &run("b"), SIZES).unwrap_err();
        assert!(matches!(error, CheckpointError::OtherRun { .. }));
        assert!(error.to_string().ends_with("belongs to another run, with another base"), "{error}");
        let larger = Sizes { params: 4, ..SIZES };
        assert!(matches!(load(&path, &mine, larger), Err(CheckpointError::Damaged { .. })));
    }

    #[test]
    fn what_cannot_be_written_leaves_the_last_one_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (run, checkpoint) = example();
        save(&path, &run, &checkpoint).unwrap();
        // A folder under the temporary name: nothing can be written there.
        fs::create_dir(folder.path().join("state.tmp")).unwrap();
        let later = Checkpoint { step: 8, ..checkpoint.clone() };
        assert!(matches!(save(&path, &run, &later), Err(CheckpointError::Io { action: "written", .. })));
        assert_eq!(load(&path, &run, SIZES).unwrap(), Some(checkpoint));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (run, checkpoint) = example();
        save(&path, &run, &checkpoint).unwrap();
        let good = fs::read(&path).unwrap();
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            assert!(matches!(load(&path, &run, SIZES), Err(CheckpointError::Damaged { .. })), "cut at {len}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(load(&path, &run, SIZES).is_err(), "byte {at}");
        }
    }
}
