//! Rows of a file as samples, with the way back from a sample to its line.

use std::path::{Path, PathBuf};

use potluck_protocol::id::Digest;
use potluck_trainer::base::Base;
use potluck_trainer::data::jsonl;
use potluck_trainer::data::tokenise::{self, Overlong};
use potluck_trainer::sample::Sample;

use crate::failure::Outcome;
use crate::worker::failures;

/// Samples in the order of their rows.
pub struct Rows {
    pub path: PathBuf,
    pub samples: Vec<Sample>,
    /// BLAKE3 of the rows' content.
    pub digest: Digest,
    lines: Vec<usize>,
}

impl Rows {
    /// Reads a file; a row of more than `max_length` tokens is an error that names it.
    pub fn read(path: &Path, base: &Base, max_length: usize) -> Outcome<Self> {
        let rows = jsonl::read(path).map_err(|error| failures::data(&error))?;
        let tokenised = tokenise::samples(&rows, base.tokenizer(), max_length, Overlong::Refuse);
        let tokenised = tokenised.map_err(|error| failures::tokenise(&error))?;
        Ok(Self {
            path: path.to_path_buf(),
            samples: tokenised.samples,
            digest: rows.digest(),
            lines: rows.rows.iter().map(|row| row.line).collect(),
        })
    }

    /// `FILE:LINE` of a sample.
    pub fn place(&self, sample: usize) -> String {
        format!("{}:{}", self.path.display(), self.lines.get(sample).copied().unwrap_or_default())
    }

    /// Completion tokens of all rows.
    pub fn labelled(&self) -> usize {
        self.samples.iter().map(Sample::labelled).sum()
    }
}
