//! The small files of text in a home: what a person writes, and what the node notes for its next start.
//!
//! ```text
//! bootstrap   addresses to connect to, one a line      a person's; an error in it is told with its line
//! allow       peers that may connect, one a line       a person's
//! swarm.key   the key of a private network             made by `potluck network new-key`, or brought by a person
//! peers       who was here, where, when                the node's; what cannot be read in it is left out
//! provided    when what is next told to the DHT        the node's
//! bans.json   who is banned, and for how long          the node's; a person may change it while no daemon runs
//! ```
//!
//! What the node notes is replaced as a whole, so that a crash leaves the old or the new file. Losing one costs time only.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest of these files: 8,192 lines of what is provided are some 640 KiB.
const FILE_MAX: u64 = 1 << 20;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum FileError {
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is longer than {max} bytes", path.display())]
    TooLong { path: PathBuf, max: u64 },
    #[error("{} line {line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: String },
    #[error("{} has more than {max} entries", path.display())]
    TooMany { path: PathBuf, max: usize },
    #[error("{} is no swarm key: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("{} can be read by others (mode {mode:o}): run `chmod 600 {0}`", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} exists: whoever has its key belongs to this node's network", path.display())]
    Exists { path: PathBuf },
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.to_path_buf();
    move |source| FileError::Io { doing, path, source }
}

/// A whole file of text, at most [`FILE_MAX`] bytes; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileError> {
    let file = match potluck_trainer::files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(FileError::TooLong { path: path.to_path_buf(), max: FILE_MAX });
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Lines without comments and what is empty, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // The mark that editors on Windows put first says nothing.
    let bare = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    bare.enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty())
}
