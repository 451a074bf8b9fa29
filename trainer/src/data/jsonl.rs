//! Rows of prompt and completion, one JSON object a line: `{"prompt": "...", "completion": "..."}`.
//!
//! Goals: every error names the file and the line; one line, the file and the number of rows are bounded. Non-goals:
//! chats and templates (a later issue), streaming of files that do not fit memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use potluck_protocol::id::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Bytes of one line: a long document, not a book.
pub const LINE_MAX: usize = 1 << 20;

/// Bytes of one file, which is held in memory.
pub const FILE_MAX: u64 = 4 << 30;

/// What Windows editors put at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A prompt and the text that should follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counted from 1, as editors do.
    pub line: usize,
    pub prompt: String,
    /// Empty only where prompts alone were read.
    pub completion: String,
}

/// The rows of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The file, for error messages.
    pub path: PathBuf,
    /// Never empty.
    pub rows: Vec<Row>,
}

/// Why a file holds no rows. `line` counts from 1.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {len} bytes, at most {FILE_MAX} are allowed: split the file", path.display())]
    TooLong { path: PathBuf, len: u64 },
    #[error("{}: no rows: one JSON object a line with `prompt` and `completion` is wanted", path.display())]
    Empty { path: PathBuf },
    #[error("{}:{line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: String },
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    prompt: String,
    completion: String,
}

/// Reads a whole file. Empty lines are passed over.
pub fn read(path: &Path) -> Result<Rows, DataError> {
    open(path, parse)
}

/// Reads prompts alone: completions may be missing, and are left out where they are not.
pub fn read_prompts(path: &Path) -> Result<Rows, DataError> {
    open(path, parse_prompt)
}

/// How one line is read; `None` if it is blank.
type Parse = fn(&[u8], usize) -> Result<Option<Row>, String>;

fn open(path: &Path, parse: Parse) -> Result<Rows, DataError> {
    let io = |error| DataError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > FILE_MAX {
        return Err(DataError::TooLong { path: path.to_owned(), len });
    }
    read_lines(path, BufReader::new(file.take(FILE_MAX)), parse)
}

/// Reads rows from anywhere; `path` is for error messages.
pub fn read_from(path: &Path, input: impl BufRead) -> Result<Rows, DataError> {
    read_lines(path, input, parse)
}

fn read_lines(path: &Path, mut input: impl BufRead, parse: Parse) -> Result<Rows, DataError> {
    let (mut rows, mut bytes, mut line) = (Vec::new(), Vec::new(), 0);
    loop {
        line += 1;
        let wrong = |reason| DataError::Line { path: path.to_owned(), line, reason };
        bytes.clear();
        let read = input.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| DataError::Io { path: path.to_owned(), error })?;
        if read == 0 {
            break;
        }
        if read > LINE_MAX {
            return Err(wrong(format!("the line is longer than {LINE_MAX} bytes")));
        }
        let content = if line == 1 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes) } else { &bytes };
        if let Some(row) = parse(content, line).map_err(wrong)? {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        Err(DataError::Empty { path: path.to_owned() })
    } else {
        Ok(Rows { path: path.to_owned(), rows })
    }
}

fn parse(bytes: &[u8], line: usize) -> Result<Option<Row>, String> {
    let Some(fields) = fields::<Fields>(bytes)? else { return Ok(None) };
    if fields.completion.is_empty() {
        return Err("the completion is empty: there is nothing to learn from this row".to_owned());
    }
    Ok(Some(Row { line, prompt: fields.prompt, completion: fields.completion }))
}

fn parse_prompt(bytes: &[u8], line: usize) -> Result<Option<Row>, String> {
    let fields = fields::<Prompt>(bytes)?;
    Ok(fields.map(|fields| Row { line, prompt: fields.prompt, completion: String::new() }))
}

fn fields<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("not valid UTF-8 at byte {}", error.valid_up_to() + 1))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| explain(&error))
}

/// serde's words, with the column but without its line number, which is always 1 here.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("{text} (column {}); a row is {{\"prompt\": \"...\", \"completion\": \"...\"}}", error.column())
}

impl Rows {
    /// Identifies the content: every prompt and completion with its length before it, in order. Neither whitespace
    /// between fields, their order, nor empty lines count.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 prompt completion rows/1");
        for text in self.rows.iter().flat_map(|row| [&row.prompt, &row.completion]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Digest(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prompts_alone_need_no_completion() {
        let read = |text: &str| read_lines(Path::new("p.jsonl"), text.as_bytes(), parse_prompt);
        let rows = read("{\"prompt\":\"a\"}\n\n{\"prompt\":\"b\",\"completion\":\"c\"}\n").expect("prompts");
        assert_eq!(rows.rows.iter().map(|row| (row.line, &*row.prompt)).collect::<Vec<_>>(), [(1, "a"), (3, "b")]);
        assert!(rows.rows.iter().all(|row| row.completion.is_empty()));
        assert!(matches!(read("{\"text\":\"a\"}\n"), Err(DataError::Line { line: 1, .. })));
    }

    fn rows(text: impl AsRef<[u8]>) -> Result<Rows, DataError> {
        read_from(Path::new("train.jsonl"), text.as_ref())
    }

    #[test]
    fn rows_with_their_lines() {
        let text =
            "\u{feff}{\"prompt\": \"a\", \"completion\": \"b\"}\r\n\n{\"completion\":\"\u{e9}\\n\",\"prompt\":\"\"}";
        let read = rows(text).unwrap().rows;
        let row =
            |line, prompt: &str, completion: &str| Row { line, prompt: prompt.into(), completion: completion.into() };
        assert_eq!(read, [row(1, "a", "b"), row(3, "", "\u{e9}\n")]);
    }

    #[test]
    fn the_digest_covers_content_alone() {
        let one = rows("{\"prompt\":\"a\",\"completion\":\"b\"}").unwrap().digest();
        assert_eq!(rows("\n{ \"completion\" : \"b\", \"prompt\" : \"a\" }\n\n").unwrap().digest(), one);
        assert_ne!(rows("{\"prompt\":\"ab\",\"completion\":\"b\"}").unwrap().digest(), one);
        let moved =
            [rows("{\"prompt\":\"ab\",\"completion\":\"c\"}"), rows("{\"prompt\":\"a\",\"completion\":\"bc\"}")];
        let [one, two] = moved.map(|rows| rows.unwrap().digest());
        assert_ne!(one, two);
    }

    #[test]
    fn bad_jsonl_is_refused_with_file_and_line() {
        let good = "{\"prompt\":\"a\",\"completion\":\"b\"}\n";
        let cases: [(&[u8], &str); 12] = [
            (b"{\"prompt\":\"a\"}", "missing field `completion`"),
            (b"{\"prompt\":\"a\",\"completion\":\"b\",\"id\":1}", "unknown field `id`"),
            (b"{\"prompt\":\"a\",\"completion\":\"\"}", "completion is empty"),
            (b"{\"prompt\":\"a\",\"completion\":1}", "invalid type: integer"),
            (b"{\"prompt\":\"a\",\"completion\":null}", "invalid type: null"),
            (b"{\"prompt\":\"a\",\"prompt\":\"a\",\"completion\":\"b\"}", "duplicate field `prompt`"),
            (b"{\"prompt\":\"a\",\"completion\":\"b\"} {}", "trailing characters"),
            (b"{\"prompt\":\"a\",\"comp", "EOF while parsing"),
            (b"{\"prompt\":\"\xff\",\"completion\":\"b\"}", "not valid UTF-8 at byte 12"),
            (b"\xef\xbb\xbf{\"prompt\":\"a\",\"completion\":\"b\"}", "expected value"),
            (b"[\"a\"]", "invalid"),
            (b"null", "invalid type: null"),
        ];
        for (line, expected) in cases {
            let error = rows([good.as_bytes(), line].concat()).unwrap_err().to_string();
            assert!(error.starts_with("train.jsonl:2: ") && error.contains(expected), "{error}");
        }
        assert!(matches!(rows("\n \n"), Err(DataError::Empty { .. })));
        assert!(matches!(read(Path::new("no-such-file.jsonl")), Err(DataError::Io { .. })));
    }

    #[test]
    fn an_oversized_line_is_refused_before_it_is_held() {
        let endless = BufReader::new(io::repeat(b'a'));
        let error = read_from(Path::new("d"), endless).unwrap_err().to_string();
        assert!(error.starts_with("d:1: the line is longer than"), "{error}");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(texts in prop::collection::vec(("\\PC*", "\\PC+"), 1..8)) {
            let line = |(prompt, completion): &(String, String)| {
                serde_json::json!({"prompt": prompt, "completion": completion}).to_string() + "\n"
            };
            let read = rows(texts.iter().map(line).collect::<String>()).unwrap();
            let back: Vec<_> = read.rows.into_iter().map(|row| (row.prompt, row.completion)).collect();
            prop_assert_eq!(back, texts);
        }

        #[test]
        fn bit_flipped_jsonl_never_panics(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut text = b"{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"c\",\"completion\":\"d\"}\n".to_vec();
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            if let Err(error) = rows(text) {
                prop_assert!(error.to_string().starts_with("train.jsonl:"));
            }
        }
    }
}
