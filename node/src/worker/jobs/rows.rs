//! Rows of a file as samples, with the way back from a sample to its line.

use std::path::Path;

use potluck_protocol::id::Digest;
use potluck_trainer::base::Base;
use potluck_trainer::data::chat::{ChatFormat, Ending};
use potluck_trainer::data::jsonl;
use potluck_trainer::data::row::{Content, Kind, Row};
use potluck_trainer::data::sample::Sample;
use potluck_trainer::data::tokenise::{self, Overlong, RowError, TokeniseError, Tokenised};
use potluck_trainer::generate::rehearsal::answers;

use super::open;
use crate::failure::{Failure, Outcome};
use crate::ipc::Progress;
use crate::worker::context::Context;
use crate::worker::proto::TrainSettings;
use crate::worker::{bounded, failures};

/// Rows are measured whole: as long as a base's positions go.
const WHOLE_MAX: usize = 1 << 20;

/// Texts are measured in pieces of this many tokens.
const TEXT_MAX: usize = 1024;

/// How long a row of that kind is measured.
pub fn measured_length(kind: Kind) -> usize {
    if kind == Kind::Text { TEXT_MAX } else { WHOLE_MAX }
}

/// Samples in the order of their rows.
pub struct Rows {
    pub samples: Vec<Sample>,
    /// What the rows are.
    pub kind: Kind,
    /// BLAKE3 of the rows' content.
    pub digest: Digest,
    /// Of the chat template, if the rows are chats.
    pub template: Option<Digest>,
    /// Tokens that end an answer to such rows.
    pub stop: Vec<u32>,
    /// What whoever trains on them should know.
    pub remarks: Vec<String>,
    places: Vec<String>,
}

impl Rows {
    /// Reads a file; `overlong` says what becomes of a row of more than `max_length` tokens.
    pub fn read(path: &Path, base: &Base, max_length: usize, overlong: Overlong) -> Outcome<Self> {
        let rows = jsonl::read(path).map_err(|error| failures::data(&error))?;
        Self::tokenise(&rows, base, max_length, overlong)
    }

    /// Reads a file to measure on: no row is too long.
    pub fn read_whole(path: &Path, base: &Base) -> Outcome<Self> {
        let rows = jsonl::read(path).map_err(|error| failures::data(&error))?;
        Self::tokenise(&rows, base, measured_length(rows.kind), Overlong::Refuse)
    }

    fn tokenise(rows: &jsonl::Rows, base: &Base, max_length: usize, overlong: Overlong) -> Outcome<Self> {
        let bytes = std::fs::metadata(&rows.path).map_or(0, |metadata| metadata.len());
        bounded::tokenise(bytes, || Self::tokenise_within(rows, base, max_length, overlong))
    }

    fn tokenise_within(rows: &jsonl::Rows, base: &Base, max_length: usize, overlong: Overlong) -> Outcome<Self> {
        let tokenizer = base.tokenizer();
        let tokenised = tokenise::samples(rows, tokenizer, max_length, overlong);
        let tokenised = tokenised.map_err(|error| failures::tokenise(&error))?;
        let format = (rows.kind == Kind::Chat).then(|| ChatFormat::new(tokenizer)).transpose();
        let format = format.map_err(|error| failures::chat(&error))?;
        let remarks = remarks(&tokenised, format.as_ref(), base);
        Ok(Self {
            samples: tokenised.samples,
            kind: rows.kind,
            digest: rows.digest(),
            template: format.as_ref().map(ChatFormat::digest),
            stop: stop_tokens(base, format.as_ref()),
            remarks,
            places: tokenised.lines.iter().map(|&line| name_place(&rows.path, line)).collect(),
        })
    }

    /// Adds the base's own answers to the prompts of a file.
    pub fn rehearse(&mut self, path: &Path, base: &Base, settings: &TrainSettings, context: &Context) -> Outcome<()> {
        let rows = jsonl::read_prompts(path).map_err(|error| failures::data(&error))?;
        context.report(Progress::Phase { text: format!("the base answers {} prompts to rehearse", rows.rows.len()) });
        let tokenizer = base.tokenizer();
        let encode = |row: &Row| {
            let Content::Completion { prompt, .. } = &row.content else { return Ok(Vec::new()) };
            tokenizer.encode_prompt(prompt).map_err(|error| {
                let error = RowError::Tokenizer(error);
                failures::tokenise(&TokeniseError::Row { path: path.to_path_buf(), line: row.line, error })
            })
        };
        let prompts = rows.rows.iter().map(encode).collect::<Outcome<Vec<_>>>()?;
        let model = open::model_to_generate(base)?;
        let stop = &tokenizer.stops();
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
        self.places.extend(rows.rows.iter().map(|row| name_place(path, row.line)));
        Ok(())
    }

    /// `FILE:LINE` of each sample.
    pub fn places(&self) -> &[String] {
        &self.places
    }
}

/// What class the tokenizer is, if one of its own, how answers end, if not by the template's own token, and how many rows are not quite what they look like.
fn remarks(tokenised: &Tokenised, format: Option<&ChatFormat<'_>>, base: &Base) -> Vec<String> {
    let ending = format.map(|format| format.ending()).filter(|ending| !matches!(ending, Ending::Own(_)));
    let apart = "have a token that would span the start of an answer: it is encoded separately";
    let written = "already contain the begin or end of text: it is not added twice";
    let counted = [(tokenised.apart, apart), (tokenised.written, written)];
    let counted = counted.into_iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!("{rows} rows {what}"));
    let ending = ending.map(|ending| ending.describe(base.tokenizer()));
    base.tokenizer()
        .remark()
        .into_iter()
        .chain(ending)
        .chain(counted)
        .chain(remark_on_positions(tokenised, base))
        .collect()
}

/// Rows that reach beyond the positions that the base was made for.
fn remark_on_positions(tokenised: &Tokenised, base: &Base) -> Option<String> {
    let positions = base.positions()?;
    let long =
        tokenised.samples.iter().zip(&tokenised.lines).filter(|(sample, _)| sample.ids.len() > positions as usize);
    let mut lines: Vec<_> = long.map(|(_, line)| line).collect();
    lines.dedup();
    let said =
        "positions that the base was made for (max_position_embeddings): the base was not trained on later positions";
    (!lines.is_empty()).then(|| format!("{} rows are longer than the {positions} {said}", lines.len()))
}

/// The base's end-of-text tokens, and the one that ends an answer of a chat.
pub fn stop_tokens(base: &Base, format: Option<&ChatFormat<'_>>) -> Vec<u32> {
    let mut stop = base.tokenizer().stops();
    stop.extend(format.map(|format| format.ending().token()).filter(|end| !base.tokenizer().is_eos(*end)));
    stop
}

fn name_place(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}
