//! Answers: one JSON object as the last line of standard output, or lines for people.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::args::Global;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::Measured;

/// Prints the object on one line. A closed pipe is no error: the reader had enough.
pub fn json(value: &Value) {
    line(&value.to_string());
}

/// The first answer that could not be written.
static LOST: OnceLock<Failure> = OnceLock::new();

/// Prints one line for a person. What cannot be written for another reason than a closed pipe is remembered: see [`lost`].
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    {
        let _first = LOST.set(Failure::io("write the answer to standard output", &error));
    }
}

/// Why an answer did not reach whoever asked: a full disk behind standard output is no success.
pub fn lost() -> Option<Failure> {
    LOST.get().cloned()
}

/// With `--json` the answer as it is, else what `human` makes of it.
pub fn answer<T: DeserializeOwned>(
    global: &Global,
    answer: Value,
    human: impl FnOnce(T) -> Vec<String>,
) -> Outcome<()> {
    if global.json {
        json(&answer);
        return Ok(());
    }
    let typed = serde_json::from_value(answer).map_err(|error| {
        Failure::new(Kind::Incompatible, format!("the answer is not what this version expects: {error}"))
            .hint("daemon and command are of different versions: restart the daemon with `potluck up`")
    })?;
    human(typed).iter().for_each(|text| line(text));
    Ok(())
}

/// `87 % exact of 200 rows`, or how many texts there were.
pub fn exact(measured: &Measured) -> String {
    match measured.accuracy {
        Some(accuracy) => format!("{} exact of {} rows", percent(accuracy), measured.samples),
        None => format!("{} pieces of text", measured.samples),
    }
}

pub use crate::text::{Column, HEAD, WIDTH, bytes, cut, date, percent, plain, plain_lines, shell, table};
