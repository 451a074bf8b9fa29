//! Rows of a file as samples, with the way back from a sample to its line.

use std::path::Path;

use potluck_protocol::id::Digest;
use potluck_trainer::base::Base;
use potluck_trainer::data::jsonl;
use potluck_trainer::data::rehearsal::answers;
use potluck_trainer::data::tokenise::{self, Overlong, TokeniseError};
use potluck_trainer::sample::Sample;

use super::open;
use crate::api::proto::Progress;
use crate::failure::{Failure, Outcome};
use crate::worker::child::Context;
use crate::worker::failures;
use crate::worker::proto::TrainSettings;

/// Samples in the order of their rows.
pub struct Rows {
    pub samples: Vec<Sample>,
    /// BLAKE3 of the rows' content.
    pub digest: Digest,
    places: Vec<String>,
}

impl Rows {
    /// Reads a file; a row of more than `max_length` tokens is an error that names it.
    pub fn read(path: &Path, base: &Base, max_length: usize) -> Outcome<Self> {
        let rows = jsonl::read(path).map_err(|error| failures::data(&error))?;
        let tokenised = tokenise::samples(&rows, base.tokenizer(), max_length, Overlong::Refuse);
        let tokenised = tokenised.map_err(|error| failures::tokenise(&error))?;
        Ok(Self {
            samples: tokenised.samples,
            digest: rows.digest(),
            places: rows.rows.iter().map(|row| place(path, row.line)).collect(),
        })
    }

    /// Adds the base's own answers to the prompts of a file.
    pub fn rehearse(&mut self, path: &Path, base: &Base, settings: &TrainSettings, context: &Context) -> Outcome<()> {
        let rows = jsonl::read_prompts(path).map_err(|error| failures::data(&error))?;
        context.report(Progress::Phase { text: format!("the base answers {} prompts to rehearse", rows.rows.len()) });
        let tokenizer = base.tokenizer();
        let encode = |row: &jsonl::Row| {
            let wrong = |error| TokeniseError::Tokenizer { path: path.to_path_buf(), line: row.line, error };
            tokenizer.encode_prompt(&row.prompt).map_err(|error| failures::tokenise(&wrong(error)))
        };
        let prompts = rows.rows.iter().map(encode).collect::<Outcome<Vec<_>>>()?;
        let model = open::model_to_generate(base)?;
        let stop = &tokenizer.special().eos;
        let samples = answers(
            &model,
            &prompts,
            settings.rehearsal_tokens,
            stop,
            tokenizer.eos(),
            settings.seed,
            context.cancel(),
        )
        .map_err(|error| failures::model(&error))?
        .ok_or_else(Failure::interrupted)?;
        self.samples.extend(samples);
        self.places.extend(rows.rows.iter().map(|row| place(path, row.line)));
        Ok(())
    }

    /// `FILE:LINE` of a sample.
    pub fn place(&self, sample: usize) -> &str {
        self.places.get(sample).map_or("", String::as_str)
    }

    /// Completion tokens of all rows.
    pub fn labelled(&self) -> usize {
        self.samples.iter().map(Sample::labelled).sum()
    }
}

fn place(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}
