//! Answers: one JSON object as the last line of standard output, or lines for people.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use potluck_protocol::announce::KindTag;
use serde::Serialize;

use super::global::Global;
use crate::api::ask::Envelope;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::Measured;

/// The first answer that could not be written.
static LOST: OnceLock<Failure> = OnceLock::new();

/// Prints what a person reads. Strangers have written parts of it (names, refusals, settings): here it is made harmless for
/// a terminal, whoever put it together.
pub fn line(text: &str) {
    write(&format!("{}\n", plain_lines(text)));
}

/// Prints an object for programs.
pub fn object(json: &str) {
    write(&format!("{}\n", plain_json(json)));
}

/// Prints a part of a text that a model generates. A terminal obeys no character of it but the ends of lines; a file and
/// another program get the text as it is.
pub fn generated(text: &str, terminal: bool) {
    write(&if terminal { plain_text(text) } else { text.to_owned() });
}

/// What cannot be written for another reason than a closed pipe is remembered: see [`lost`].
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    {
        let _first = LOST.set(Failure::io("write the answer to standard output", &error));
    }
}

/// Why an answer did not reach whoever asked: a full disk behind standard output is no success.
pub fn lost() -> Option<Failure> {
    LOST.get().cloned()
}

/// Prints an answer: with `--json` as one object behind its schema, else as the lines that `render` makes of it.
pub fn answer<T: Serialize>(
    global: &Global,
    schema: &str,
    answer: &T,
    render: impl FnOnce(&T, Terminal) -> Vec<String>,
) -> Outcome<()> {
    if global.json {
        let object = serde_json::to_string(&Envelope { schema, body: answer });
        self::object(&object.map_err(|error| Failure::new(Kind::Failed, format!("write the answer: {error}")))?);
    } else {
        render(answer, Terminal::stdout()).iter().for_each(|text| line(text));
    }
    Ok(())
}

/// A failure for people: what happened and why, then what to type next. Whoever interrupts a command has made no error.
pub fn failure(failure: &Failure) -> Vec<String> {
    let label = if failure.kind == Kind::Interrupted { "" } else { "error: " };
    // Both may quote what strangers wrote, such as the settings in a folder: here that is made harmless, once for all.
    let mut lines = vec![format!("{label}{}", plain_lines(&failure.message))];
    lines.extend(failure.hint.as_deref().map(|hint| format!("  {}", plain_lines(hint))));
    lines
}

/// What a published thing is, in a word.
pub fn kind(kind: KindTag) -> &'static str {
    match kind {
        KindTag::Adapter => "adapter",
        KindTag::Base => "base",
        KindTag::Dataset => "dataset",
        KindTag::Channel => "channel",
        KindTag::Proposal => "proposal",
        KindTag::Version => "version",
        KindTag::Proof => "proof",
    }
}

/// `87 % exact of 200 rows`, or how many texts there were.
pub fn exact(measured: &Measured) -> String {
    match measured.exact_match {
        Some(share) => format!("{} exact of {} rows", percent(share), measured.samples),
        None => format!("{} pieces of text", measured.samples),
    }
}

pub use crate::text::{
    Column, HEAD, Terminal, bytes, cut, date, percent, plain, plain_json, plain_lines, plain_text, shell, table,
};
