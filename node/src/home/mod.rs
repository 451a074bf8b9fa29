//! The one folder that holds everything, the lock that makes one process its owner, and its small files: what a person
//! writes there, and what the node notes for its next start.
//!
//! ```text
//! HOME/identity.key    the node's ed25519 key, readable by its owner only
//!      bans.json       peers that misbehaved, and for how long they are banned
//!      potluck-home    says that the folder is a home
//!      lock            locked while a process uses the home; holds its process id
//!      shards/ab/HEX   one file a shard, in 256 folders by the first byte of its id
//!      manifests/HEX   signed manifests, recipes/HEX recipes
//!      state.log       what cannot be rebuilt from the files
//!      index/          sled, rebuilt from the files at any doubt
//!      quarantine/     damaged files that were moved aside, for a person to look at
//!      tmp/            files that are being written; what is left there is removed at every start
//!      bases/HEX       bases that came from the swarm, as folders, by their id
//!      sealed/HEX      evaluation rows of this node's channels that no release has opened yet, by their commitment
//!      adapters/HEX    adapters as PEFT folders, by their id
//!      runs/           checkpoints and adapters of training runs
//!      bootstrap, allow, swarm.key    a person's: whom to connect to, who may, the key of a private network
//!      peers, provided                the node's notes for its next start
//! ```

pub mod bans;
mod claim;
mod files;
mod layout;
pub mod lists;
mod lock;
pub mod peers;
pub mod provided;
pub mod swarm_key;
pub mod temporary;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use files::FileError;
pub use layout::Layout;

use crate::failpoint;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum HomeError {
    #[error("{} is in use by {}", root.display(), holder(*pid))]
    Locked {
        root: PathBuf,
        /// `None` if the holder has not written it yet, or the system does not let us read a locked file.
        pid: Option<u32>,
    },
    /// Whatever is in it is somebody's.
    #[error("{} is not empty and not a potluck home: `{found}` in it is not potluck's", root.display())]
    NotAHome { root: PathBuf, found: String },
    #[error("{} is not a folder, so it cannot be a home", root.display())]
    NoFolder { root: PathBuf },
    #[error("{} belongs to another user (uid {uid})", root.display())]
    Anothers { root: PathBuf, uid: u32 },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Failpoint(#[from] failpoint::ParseError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
}

/// A home that this process owns, until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Home {
    layout: Layout,
    /// Holds the lock by being open; the system releases it when the process ends, however it ends.
    _lock: Arc<File>,
}

impl Home {
    /// Makes the folders that are missing, private to the user, and takes the lock. Never waits. A folder that is neither
    /// empty nor a home is refused and left as it is.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, HomeError> {
        failpoint::arm_from_environment()?;
        let layout = Layout::new(root);
        claim::claim(&layout)?;
        let lock = lock::take(&layout)?;
        claim::mark(&layout)?;
        for folder in layout.folders() {
            make(&folder)?;
            claim::tighten(&folder);
        }
        // Nobody else can be writing what counts: we hold the lock.
        temporary::sweep(&layout.tmp());
        Ok(Self { layout, _lock: Arc::new(lock) })
    }

    /// Whether a home is there. What could not become one is refused; nothing is made, and nothing in it touched.
    pub fn is_there(root: &Path) -> Result<bool, HomeError> {
        claim::is_there(&Layout::new(root))
    }

    /// The process that says in a home's lock that it holds it: for messages only.
    pub fn holder(root: &Path) -> Option<u32> {
        lock::holder(&Layout::new(root).lock())
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError + use<> {
    let path = path.to_path_buf();
    move |source| HomeError::Io { doing, path, source }
}

/// A folder that only its user can enter. One that exists is left as it is.
fn make(folder: &Path) -> Result<(), HomeError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(io_error("make the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_who_holds_the_home() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Home::open(folder.path()).expect("free");
        let error = Home::open(folder.path()).expect_err("held");
        let own = std::process::id();
        assert!(matches!(error, HomeError::Locked { pid: Some(pid), .. } if pid == own), "{error}");
        assert!(error.to_string().contains(&format!("in use by process {own}")), "{error}");
        let clone = first.clone();
        drop(first);
        assert!(Home::open(folder.path()).is_err(), "a clone still holds it");
        drop(clone);
        Home::open(folder.path()).expect("free again");
    }

    #[test]
    fn leftovers_of_a_crash_go_and_strangers_see_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("new/home");
        let home = Home::open(&root).expect("free");
        let leftover = home.layout().tmp().join("file.3");
        fs::write(&leftover, b"x").expect("writable");
        let folder = home.layout().tmp().join("publish-aBc123");
        fs::create_dir(&folder).expect("writable");
        drop(home);
        Home::open(&root).expect("free");
        assert!(!leftover.exists() && !folder.exists());
        #[cfg(unix)]
        for (path, mode) in [(root.clone(), 0o700), (root.join("shards"), 0o700), (root.join("lock"), 0o600)] {
            let found = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).expect("exists")) & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }
}
