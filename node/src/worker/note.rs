//! What is noted beside the PEFT files of a folder that was written here: which base they are of, and of a run what it was
//! made of. So a folder that is named by its path says as much of its base as a manifest does.

use std::io::ErrorKind;
use std::path::Path;

use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::limits::NAME_MAX;
use potluck_trainer::files;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind, Outcome};
use crate::text::{cut, plain};

/// The file. It is never published.
pub const NOTE: &str = "potluck.json";
/// A note is a few short fields: more than this is none, and is not read.
const NOTE_MAX: u64 = 64 << 10;

/// Which base a folder's adapter is of: in every note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfBase {
    /// For people.
    #[serde(rename = "base")]
    pub name: String,
    /// Names its weights.
    #[serde(rename = "base_id")]
    pub id: BaseId,
}

/// What `potluck train` notes. No path and no row is in it. // I16
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The base's name, for people.
    pub base: String,
    /// Names the base's weights.
    pub base_id: BaseId,
    /// Optimiser steps that the adapter has had; 0 while it is trained.
    pub steps: u64,
    /// Labelled tokens that it was trained on, each as often as it was seen; 0 while it is trained.
    pub tokens: u64,
    /// Of order, initial weights and dropout.
    pub seed: u64,
    /// The peak.
    pub learning_rate: f64,
    /// BLAKE3 of the rows' content.
    pub data: Digest,
    /// BLAKE3 of the held-out rows' content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Digest>,
    /// BLAKE3 of the chat template that rendered the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Digest>,
    /// BLAKE3 of the factors that the run began with, if it went on from an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// Of the program that trained.
    #[serde(default)]
    pub version: String,
}

/// A note that was read.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The base that the adapter is of.
    pub of: OfBase,
    /// Of what a run wrote.
    pub run: Option<RunRecord>,
}

/// The note of a folder; another program's has none.
pub fn read(folder: &Path) -> Outcome<Option<Noted>> {
    let path = folder.join(NOTE);
    let bytes = match files::read(&path, NOTE_MAX) {
        Ok(bytes) => bytes,
        // What is no folder is named by who reads the adapter.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(Failure::io(format!("read {}", path.display()), &error)),
    };
    parse(&bytes).map(Some).map_err(|error| {
        Failure::new(Kind::Usage, format!("{} is damaged: {error}", path.display()))
            .hint("remove it and name the base with --base REF")
    })
}

fn parse(bytes: &[u8]) -> serde_json::Result<Noted> {
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    let run = if value.get("steps").is_some() { Some(serde_json::from_value(value.clone())?) } else { None };
    let OfBase { name, id } = serde_json::from_value(value)?;
    // Whoever wrote the folder chose the name: it is shown and never looked for.
    Ok(Noted { of: OfBase { name: cut(&plain(&name), NAME_MAX), id }, run })
}

/// Word which base the adapter of a folder is of: name and bytes of a file, which appears with the others.
pub fn file(of: &OfBase) -> Outcome<(&'static str, Vec<u8>)> {
    let text = serde_json::to_string_pretty(of).map_err(|error| Failure::new(Kind::Failed, error))?;
    Ok((NOTE, format!("{text}\n").into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_a_run_or_of_a_base_alone_and_damage_is_no_note() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).expect("nothing there").is_none());
        assert!(read(&folder.path().join("none/below")).expect("nothing there").is_none());
        let of = OfBase { name: "tiny".to_owned(), id: BaseId(Digest::of(b"base")) };
        let (name, bytes) = file(&of).expect("JSON");
        std::fs::write(folder.path().join(name), bytes).expect("writable");
        let noted = read(folder.path()).expect("readable").expect("a note");
        assert!(noted.of == of && noted.run.is_none());
        let run = format!(
            r#"{{"base":"tiny","base_id":"{}","steps":3,"tokens":9,"seed":1,"learning_rate":0.5,"data":"{}"}}"#,
            of.id,
            Digest::of(b"rows")
        );
        let path = folder.path().join(NOTE);
        std::fs::write(&path, &run).expect("writable");
        let noted = read(folder.path()).expect("readable").expect("a note");
        assert_eq!((noted.of, noted.run.map(|run| run.steps)), (of, Some(3)));
        // A run's note of which a part is missing is not taken for one of a base alone.
        for damaged in [run.replace("tokens", "token"), run.replace("base_id", "base"), "[]".to_owned()] {
            std::fs::write(&path, damaged).expect("writable");
            assert_eq!(read(folder.path()).expect_err("damaged").kind, Kind::Usage);
        }
        std::fs::write(&path, vec![b' '; NOTE_MAX as usize + 1]).expect("writable");
        assert!(read(folder.path()).is_err(), "no longer than a note may be");
    }

    /// A folder comes from anywhere.
    #[test]
    fn the_name_in_a_strangers_note_is_short_and_steers_no_terminal() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = BaseId(Digest::of(b"base"));
        for (theirs, ours) in [
            ("a\u{1b}[2J\nb\u{202e}c".to_owned(), "a [2J b c".to_owned()),
            ("n".repeat(5_000), format!("{}\u{2026}", "n".repeat(NAME_MAX - 1))),
        ] {
            let (name, bytes) = file(&OfBase { name: theirs, id }).expect("JSON");
            std::fs::write(folder.path().join(name), bytes).expect("writable");
            let noted = read(folder.path()).expect("readable").expect("a note");
            assert_eq!(noted.of, OfBase { name: ours, id });
        }
    }
}
