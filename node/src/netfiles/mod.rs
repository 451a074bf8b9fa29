//! The small files about the network in the home: what a person writes, and what the node notes for its next start.
//!
//! ```text
//! bootstrap   addresses to connect to, one a line      a person's; an error in it is told with its line
//! allow       peers that may connect, one a line       a person's
//! swarm.key   the key of a private network             made by `potluck network new-key`, or brought by a person
//! peers       who was here, where, when                the node's; what cannot be read in it is left out
//! provided    when what is next told to the DHT        the node's
//! ```
//!
//! What the node notes is replaced as a whole, so that a crash leaves the old or the new file. Losing one costs time only.

pub mod key;
pub mod lists;
pub mod peers;
pub mod provided;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind};

/// The longest of these files: 8,192 lines of what is provided are some 640 KiB.
const FILE_MAX: u64 = 1 << 20;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum NetFileError {
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

impl From<NetFileError> for Failure {
    fn from(error: NetFileError) -> Self {
        match &error {
            NetFileError::Io { source, .. } => Self { message: error.to_string(), ..Self::io("", source) },
            NetFileError::Exposed { .. } => Self::new(Kind::Denied, &error),
            NetFileError::Exists { .. } => Self::new(Kind::Conflict, &error)
                .hint("copy that file to the other nodes; to change the key of them all, move it away first"),
            NetFileError::Key { .. } => Self::new(Kind::Usage, &error)
                .hint("make one with `potluck network new-key`, or copy swarm.key from another node of the network"),
            NetFileError::TooLong { .. } | NetFileError::Line { .. } | NetFileError::TooMany { .. } => {
                Self::new(Kind::Usage, &error)
            }
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetFileError + use<> {
    let path = path.to_path_buf();
    move |source| NetFileError::Io { doing, path, source }
}

/// A whole file of text; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, NetFileError> {
    let file = match potluck_trainer::files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(NetFileError::TooLong { path: path.to_path_buf(), max: FILE_MAX });
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Lines without comments and what is empty, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // The mark that editors on Windows put first says nothing.
    let bare = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    bare.enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty())
}

/// Puts a new file in place of an old one. A power cut leaves one of the two, or, where the file system reorders, none.
fn replace(path: &Path, text: &str) -> Result<(), NetFileError> {
    let new = path.with_extension("new");
    let mut file = private(&new, true)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_error("write", &new))?;
    fs::rename(&new, path).map_err(io_error("rename", &new))
}

/// A file that only its owner reads.
fn private(path: &Path, replace: bool) -> Result<File, NetFileError> {
    let mut options = File::options();
    options.write(true).create(replace).truncate(replace).create_new(!replace);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(io_error("make", path))
}
