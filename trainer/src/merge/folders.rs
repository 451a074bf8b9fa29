//! PEFT folders into a PEFT folder, module by module.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use potluck_protocol::base::Architecture;
use potluck_protocol::recipe::Weight;

use super::{Input, MergeError, MergePlan, Method, Report};
use crate::peft::{FactorsWriter, PeftError, Stored};

/// A folder and its weight.
#[derive(Clone, Debug)]
pub struct Source {
    /// A PEFT folder.
    pub folder: PathBuf,
    /// What its update is multiplied with, in 1/65536.
    pub weight: Weight,
}

/// Why folders are not merged.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum FoldersError {
    #[error("{}: {error}", folder.display())]
    Peft { folder: PathBuf, error: PeftError },
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("write {}: {error}", folder.display())]
    Out { folder: PathBuf, error: io::Error },
}

/// Opens folders by their settings and headers.
pub fn open(sources: &[Source], architecture: &Architecture) -> Result<Vec<(Weight, Stored)>, FoldersError> {
    let open = |source: &Source| {
        let stored = Stored::open(&source.folder, architecture);
        let stored = stored.map_err(|error| FoldersError::Peft { folder: source.folder.clone(), error })?;
        Ok((source.weight, stored))
    };
    sources.iter().map(open).collect()
}

/// Opened folders as a merge takes them.
pub fn inputs(opened: &[(Weight, Stored)]) -> Vec<Input<'_>> {
    opened.iter().map(|(weight, stored)| Input { weight: *weight, factors: stored }).collect()
}

/// The rank of the result, which appears under `out` with the notes beside it, whole or not at all. `done` hears how
/// many modules of how many are there.
pub fn merge(
    sources: &[Source],
    architecture: &Architecture,
    method: Method,
    out: &Path,
    notes: &[(&str, Vec<u8>)],
    stop: &AtomicBool,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<(usize, Report), FoldersError> {
    let opened = open(sources, architecture)?;
    let plan = MergePlan::new(&inputs(&opened), architecture, method)?;
    let failed = |error| FoldersError::Out { folder: out.to_path_buf(), error };
    let (modules, rank) = (plan.modules(), plan.rank());
    let writer = FactorsWriter::create(out, architecture, modules, rank).map_err(failed)?;
    let report = plan.run(&writer, stop, &|count| done(count, modules.len())).map_err(|error| match error {
        MergeError::Sink(error) => failed(error),
        error => error.into(),
    })?;
    notes.iter().try_for_each(|(name, bytes)| writer.note(name, bytes)).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok((rank, report))
}
