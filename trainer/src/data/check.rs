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
use super::row::{Content, Kind, Message, Row, Rows};
use super::tokenise::{Encoded, Encoder, Overlong, RowError};
use crate::base::{AddedToken, Tokenizer};
use crate::data::chat::ChatError;
use crate::data::sample::Sample;
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
    /// What becomes of a longer row.
    pub overlong: Overlong,
    /// Tokens of a micro-batch, for the estimate of packing.
    pub batch_tokens: usize,
    /// Rows to show.
    pub preview: usize,
    /// How many positions the base was made for, if it says so.
    pub positions: Option<usize>,
}

/// Why a file cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
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
    let mut report = Report { tokenizer: tokenizer.remark(), ..Report::default() };
    if let Some(rows) = rows {
        let encoder = Encoder::new(tokenizer, rows.kind, options.max_length, options.overlong);
        let encoder = encoder.map_err(CheckError::Format)?;
        rows.rows.iter().zip(encoder.rows(&rows.rows)).for_each(|(row, encoded)| found.row(row.line, encoded));
        report.kind = Some(rows.kind);
        report.rows = rows.rows.len();
        report.data = Some(rows.digest());
        report.template = encoder.chat().map(|chat| chat.digest());
        report.ending = encoder.chat().map(|chat| chat.ending().describe(tokenizer));
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
    /// Lines of rows that were parted at an answer.
    apart: Vec<usize>,
    /// Lines of rows that a template has written already.
    written: Vec<usize>,
    /// Line and tokens of the longest sample of each row.
    longest: Vec<(usize, usize)>,
}

impl Found {
    fn row(&mut self, line: usize, encoded: Result<Encoded, RowError>) {
        match encoded {
            Ok(Encoded { samples, tokens, cut, remarks }) => {
                self.lengths.push((line, tokens));
                self.apart.extend(remarks.apart.then_some(line));
                self.written.extend(remarks.written.then_some(line));
                if cut {
                    self.overlong.push((line, tokens));
                    self.cut += 1;
                }
                self.longest.extend(samples.iter().map(|sample| sample.ids.len()).max().map(|longest| (line, longest)));
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
        report.apart_rows = self.apart.len();
        report.apart = self.apart.into_iter().take(LISTED_MAX).collect();
        report.written_rows = self.written.len();
        report.written = self.written.into_iter().take(LISTED_MAX).collect();
        report.max_length = options.max_length;
        report.positions = options.positions;
        let beyond = |(_, tokens): &(usize, usize)| options.positions.is_some_and(|positions| *tokens > positions);
        self.longest.retain(beyond);
        report.beyond_rows = self.longest.len();
        report.beyond = self.longest.into_iter().take(LISTED_MAX).map(Tokens::from).collect();
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
        let added = tokenizer.added_tokens();
        firsts.map(|index| show(self.lines[index], &self.samples[index], tokenizer, &added)).collect()
    }
}

/// The text of a sample in runs of tokens that are trained and that are not.
fn show(line: usize, sample: &Sample, tokenizer: &Tokenizer, added: &[AddedToken]) -> Preview {
    let mut trained = vec![false; sample.ids.len()];
    sample.targets().for_each(|(position, _)| trained[position + 1] = true);
    let kinds: Vec<_> = trained
        .into_iter()
        .zip(&sample.ids)
        .map(|(trained, id)| (trained, added.iter().any(|token| token.id == *id)))
        .collect();
    let (mut pieces, mut left, mut at) = (Vec::new(), SHOWN_CHARS, 0);
    for run in kinds.chunk_by(|one, two| one == two) {
        if left == 0 {
            break;
        }
        let ids = &sample.ids[at..at + run.len()];
        // Ids of this very tokenizer; what it cannot write is not shown.
        let text = tokenizer.decode_all_behind(&sample.ids[..at], ids).unwrap_or_default();
        let text: String = text.chars().take(left).collect();
        at += run.len();
        left -= text.chars().count();
        let &(trained, token) = run.first().unwrap_or(&(false, false));
        if token {
            join(&mut pieces, Piece { trained, text, lookalike: false });
        } else {
            lookalikes(&text, added, |text, lookalike| {
                join(&mut pieces, Piece { trained, text: text.to_owned(), lookalike })
            });
        }
    }
    Preview { line, pieces, whole: left > 0 }
}

/// A piece is one with the piece before it if it is of the same kind.
fn join(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        _ if piece.text.is_empty() => {}
        Some(last) if (last.trained, last.lookalike) == (piece.trained, piece.lookalike) => {
            last.text.push_str(&piece.text);
        }
        _ => pieces.push(piece),
    }
}

/// A text in parts: those that look like a token and are none, and what is between them.
fn lookalikes(mut text: &str, added: &[AddedToken], mut part: impl FnMut(&str, bool)) {
    let first = |text: &str| {
        let tokens = added.iter().filter(|token| !token.text.trim().is_empty());
        tokens.filter_map(|token| Some((text.find(&token.text)?, token.text.len()))).min()
    };
    while let Some((at, length)) = first(text) {
        part(&text[..at], false);
        part(&text[at..at + length], true);
        text = &text[at + length..];
    }
    part(text, false);
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
            Content::Chat(chat) => {
                let blank = |message: &Message| message.content().trim().is_empty() && !message.has_calls();
                let at = chat.messages.iter().position(blank)?;
                format!("message {} ({})", at + 1, chat.messages[at].role())
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
