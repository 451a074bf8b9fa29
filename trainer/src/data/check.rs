//! What a file of rows is, before anything is trained on it: lengths, labels, rows that cannot be used, repetitions.
//!
//! Everything in a report is bounded, so that it can be sent and shown whatever the file holds; counts are always of
//! the whole file. Non-goals: to judge what rows say.

mod repeats;
mod report;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use report::{Blank, Lengths, Line, Packing, Piece, Preview, Report, Tokens};

use super::jsonl::{self, BadLine, DataError};
use super::pack::pack;
use super::row::{Content, Kind, Row, Rows};
use super::tokenise::{Encoded, Encoder, Overlong, RowError};
use crate::base::Tokenizer;
use crate::data::chat::ChatError;
use crate::sample::Sample;
use repeats::Repeats;

/// Lines that each list of a report names at most.
pub const LISTED_MAX: usize = 100;

/// Rows that are shown at most, and characters of each.
const SHOWN_MAX: usize = 20;
const SHOWN_CHARS: usize = 2000;

/// How rows are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest sample in tokens.
    pub max_length: usize,
    pub overlong: Overlong,
    /// Tokens of a micro-batch, for the estimate of packing.
    pub batch_tokens: usize,
    /// Rows to show.
    pub preview: usize,
}

/// Why a file cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the rows are chats: {0}")]
    Format(ChatError),
}

/// Reads and tokenises all rows of a file as training would.
pub fn check(path: &Path, tokenizer: &Tokenizer, options: &Options) -> Result<Report, CheckError> {
    let (rows, bad) = jsonl::survey(path)?;
    examine(rows.as_ref(), bad, tokenizer, options)
}

/// As [`check`], of rows that were read; `None` if no line was one.
pub fn examine(
    rows: Option<&Rows>,
    bad: Vec<BadLine>,
    tokenizer: &Tokenizer,
    options: &Options,
) -> Result<Report, CheckError> {
    let mut found = Found { bad, ..Found::default() };
    let mut report = Report::default();
    if let Some(rows) = rows {
        let encoder = Encoder::new(tokenizer, rows.kind, options.max_length, options.overlong);
        let encoder = encoder.map_err(CheckError::Format)?;
        rows.rows.iter().zip(encoder.rows(&rows.rows)).for_each(|(row, encoded)| found.row(row.line, encoded));
        report.kind = Some(rows.kind);
        report.rows = rows.rows.len();
        report.data = Some(rows.digest());
        report.template = encoder.chat().map(|chat| chat.digest());
        report.preview = found.preview(tokenizer, options.preview);
        (report.duplicates, report.duplicate_rows) =
            Repeats::of(rows.rows.iter().map(|row| (row.line, &row.content))).list();
        (report.contradictions, report.contradicting_rows) = contradictions(rows);
        (report.blank, report.blank_rows) = blanks(rows);
    }
    found.write(&mut report, options);
    Ok(report)
}

/// What was found in the rows so far.
#[derive(Default)]
struct Found {
    bad: Vec<BadLine>,
    /// Line and tokens.
    overlong: Vec<(usize, usize)>,
    cut: usize,
    /// Line and tokens of each row that gave samples or was too long.
    lengths: Vec<(usize, usize)>,
    samples: Vec<Sample>,
    /// Line of each sample.
    lines: Vec<usize>,
}

impl Found {
    fn row(&mut self, line: usize, encoded: Result<Encoded, RowError>) {
        match encoded {
            Ok(Encoded { samples, tokens, cut }) => {
                self.lengths.push((line, tokens));
                if cut {
                    self.overlong.push((line, tokens));
                    self.cut += 1;
                }
                self.lines.extend(samples.iter().map(|_| line));
                self.samples.extend(samples);
            }
            Err(error) => {
                if let RowError::TooLong { tokens, .. } | RowError::CutBeforeAnswer { tokens, .. } = error {
                    self.overlong.push((line, tokens));
                    self.lengths.push((line, tokens));
                }
                self.bad.push(BadLine { line, reason: error.to_string() });
            }
        }
    }

    fn write(mut self, report: &mut Report, options: &Options) {
        self.bad.sort_by_key(|bad| bad.line);
        report.bad_rows = self.bad.len();
        report.bad = self.bad.into_iter().take(LISTED_MAX).map(Line::from).collect();
        report.overlong_rows = self.overlong.len();
        report.overlong = self.overlong.into_iter().take(LISTED_MAX).map(Tokens::from).collect();
        report.cut_rows = self.cut;
        report.max_length = options.max_length;
        report.lengths = Lengths::of(self.lengths);
        report.samples = self.samples.len();
        report.tokens = self.samples.iter().map(|sample| sample.ids.len()).sum();
        report.trained_tokens = self.samples.iter().map(Sample::labelled).sum();
        let lengths: Vec<_> = self.samples.iter().map(|sample| sample.ids.len()).collect();
        let micro_batches = pack(&lengths, options.batch_tokens).len();
        report.packing = Packing { batch_tokens: options.batch_tokens, micro_batches };
    }

    /// The first samples, one a row.
    fn preview(&self, tokenizer: &Tokenizer, count: usize) -> Vec<Preview> {
        let first = |&index: &usize| index == 0 || self.lines[index - 1] != self.lines[index];
        let firsts = (0..self.samples.len()).filter(first).take(count.min(SHOWN_MAX));
        firsts.map(|index| show(self.lines[index], &self.samples[index], tokenizer)).collect()
    }
}

/// The text of a sample in runs of tokens that are trained and that are not.
fn show(line: usize, sample: &Sample, tokenizer: &Tokenizer) -> Preview {
    let mut trained = vec![false; sample.ids.len()];
    sample.targets().for_each(|(position, _)| trained[position + 1] = true);
    let (mut pieces, mut left, mut at) = (Vec::new(), SHOWN_CHARS, 0);
    for run in trained.chunk_by(|one, two| one == two) {
        let ids = &sample.ids[at..at + run.len()];
        at += run.len();
        // Ids of this very tokenizer; what it cannot write is not shown.
        let text: String = tokenizer.decode_all(ids).unwrap_or_default().chars().take(left).collect();
        left -= text.chars().count();
        if !text.is_empty() {
            pieces.push(Piece { trained: run.first() == Some(&true), text });
        }
    }
    Preview { line, pieces, whole: left > 0 }
}

/// Groups of rows that ask the same and answer differently.
fn contradictions(rows: &Rows) -> (Vec<Vec<usize>>, usize) {
    let asked: Vec<_> = rows.rows.iter().filter_map(|row| Some((row, row.content.question()?))).collect();
    let contents: std::collections::HashMap<usize, &Content> =
        rows.rows.iter().map(|row| (row.line, &row.content)).collect();
    let groups = Repeats::of(asked.iter().map(|(row, question)| (row.line, question)));
    let differ = |lines: &[usize]| {
        let first = lines.first().and_then(|line| contents.get(line));
        lines.iter().any(|line| contents.get(line) != first)
    };
    groups.only(differ).list()
}

/// Rows of which a text is blank.
fn blanks(rows: &Rows) -> (Vec<Blank>, usize) {
    let blank = |row: &Row| {
        let what = match &row.content {
            Content::Completion { prompt, .. } if prompt.trim().is_empty() => "prompt".to_owned(),
            Content::Completion { completion, .. } if completion.trim().is_empty() => "completion".to_owned(),
            Content::Chat(messages) => {
                let at = messages.iter().position(|message| message.content.trim().is_empty())?;
                format!("message {} ({})", at + 1, messages[at].role)
            }
            Content::Text(text) if text.trim().is_empty() => "text".to_owned(),
            _ => return None,
        };
        Some(Blank { line: row.line, what })
    };
    let all: Vec<_> = rows.rows.iter().filter_map(blank).collect();
    let count = all.len();
    (all.into_iter().take(LISTED_MAX).collect(), count)
}

impl Report {
    /// Whether `potluck train` takes the file as it is.
    pub fn trainable(&self) -> bool {
        self.bad_rows == 0 && self.samples > 0
    }

    /// In words, `None` before a row was read.
    pub fn kind_name(&self) -> &'static str {
        self.kind.map_or("no rows", Kind::plural)
    }
}
