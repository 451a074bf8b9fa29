//! Rows as JSON lines, of three kinds that are told apart by their fields: see [`Kind`].
//!
//! Goals: every error names the file and the line; one line, the file and the number of rows are bounded; fields that
//! are not known are refused, since what is passed over in silence is not trained on. Non-goals: streaming of files
//! that do not fit memory, pictures in chats.

mod format;
mod line;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

pub use super::row::{Content, Kind, Message, Row, Rows};
use crate::files;

/// Bytes of one line: a long document, not a book.
pub const LINE_MAX: usize = 1 << 20;

/// Bytes of one file, which is held in memory.
pub const FILE_MAX: u64 = 4 << 30;

/// What Windows editors put at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file holds no rows. `line` counts from 1.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum DataError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {len} bytes, at most {FILE_MAX} are allowed: split the file", path.display())]
    TooLong { path: PathBuf, len: u64 },
    #[error("{}: it is {what}, not JSON lines: {advice}", path.display())]
    Format { path: PathBuf, what: &'static str, advice: &'static str },
    #[error("{}: no rows: {} is wanted", path.display(), line::WANTED)]
    Empty { path: PathBuf },
    #[error("{}:{line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: String },
}

/// A line that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1, as editors do.
    pub line: usize,
    /// In words, for a person.
    pub reason: String,
}

/// Reads a whole file. Empty lines are passed over, the first bad line is an error.
pub fn read(path: &Path) -> Result<Rows, DataError> {
    read_from(path, open(path)?)
}

/// Reads prompts alone: completions may be missing, and are left out where they are not.
pub fn read_prompts(path: &Path) -> Result<Rows, DataError> {
    strict(path, open(path)?, line::prompt)
}

/// Reads rows from anywhere; `path` is for error messages.
pub fn read_from(path: &Path, input: impl BufRead) -> Result<Rows, DataError> {
    strict(path, input, line::row)
}

/// The good rows of a file beside all its bad lines. An error if not one row is good.
pub fn survey(path: &Path) -> Result<(Option<Rows>, Vec<BadLine>), DataError> {
    survey_from(path, open(path)?)
}

/// As [`survey`], from anywhere.
pub fn survey_from(path: &Path, input: impl BufRead) -> Result<(Option<Rows>, Vec<BadLine>), DataError> {
    let mut bad = Vec::new();
    let rows = lines(path, input, line::row, |line| {
        bad.push(line);
        Ok(())
    })?;
    if rows.is_empty() && bad.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    Ok((together(path, rows), bad))
}

/// How one line is read; `None` if it is blank.
type Parse = fn(&[u8]) -> Result<Option<Content>, String>;

fn open(path: &Path) -> Result<impl BufRead, DataError> {
    let io = |error| DataError::Io { path: path.to_owned(), error };
    let file = files::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > FILE_MAX {
        return Err(DataError::TooLong { path: path.to_owned(), len });
    }
    Ok(BufReader::new(file.take(FILE_MAX)))
}

fn strict(path: &Path, input: impl BufRead, parse: Parse) -> Result<Rows, DataError> {
    let refuse = |BadLine { line, reason }| Err(DataError::Line { path: path.to_owned(), line, reason });
    let rows = lines(path, input, parse, refuse)?;
    together(path, rows).ok_or_else(|| DataError::Empty { path: path.to_owned() })
}

fn together(path: &Path, rows: Vec<Row>) -> Option<Rows> {
    let kind = rows.first()?.content.kind();
    Some(Rows { path: path.to_owned(), kind, rows })
}

/// The good rows, all of the first one's kind; `bad` takes each of the others and may end the reading.
fn lines(
    path: &Path,
    mut input: impl BufRead,
    parse: Parse,
    mut bad: impl FnMut(BadLine) -> Result<(), DataError>,
) -> Result<Vec<Row>, DataError> {
    let begin = input.fill_buf().map_err(|error| DataError::Io { path: path.to_owned(), error })?;
    if let Some((what, advice)) = format::other(begin) {
        return Err(DataError::Format { path: path.to_owned(), what, advice });
    }
    let (mut rows, mut bytes, mut number): (Vec<Row>, _, _) = (Vec::new(), Vec::new(), 0);
    while next_line(&mut input, &mut bytes).map_err(|error| DataError::Io { path: path.to_owned(), error })? {
        number += 1;
        let found = if bytes.len() > LINE_MAX {
            // Only now: what follows is skipped, and the caller may not want to go on at all.
            Err(format!("the line is longer than {LINE_MAX} bytes"))
        } else {
            parse(if number == 1 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes) } else { &bytes })
        };
        let found = found.and_then(|content| same_kind(content, rows.first()));
        let cut = bytes.len() > LINE_MAX && !bytes.ends_with(b"\n");
        match found {
            Ok(Some(content)) => rows.push(Row { line: number, content }),
            Ok(None) => {}
            Err(reason) => bad(BadLine { line: number, reason })?,
        }
        if cut {
            skip_line(&mut input).map_err(|error| DataError::Io { path: path.to_owned(), error })?;
        }
    }
    Ok(rows)
}

/// Reads a line, or as much of it as shows that it is too long. False at the end.
fn next_line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.clear();
    Ok(input.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', bytes)? > 0)
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let (skip, ended) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        input.consume(skip);
        if ended {
            return Ok(());
        }
    }
}

fn same_kind(content: Option<Content>, first: Option<&Row>) -> Result<Option<Content>, String> {
    match (&content, first) {
        (Some(content), Some(first)) if content.kind() != first.content.kind() => Err(format!(
            "this row is {}, line {} is {}: a file holds rows of one kind, so split it",
            content.kind().name(),
            first.line,
            first.content.kind().name()
        )),
        _ => Ok(content),
    }
}
