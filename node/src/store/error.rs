//! How the store fails.

use std::io;
use std::path::{Path, PathBuf};

use potluck_protocol::codec::CodecError;
use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::verify::VerifyError;

/// What went wrong. Nothing that was acknowledged before is lost by any of these.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum StoreError {
    /// The disk or the quota is full, or writing would leave less free than the set minimum.
    #[error("no space: {doing} {}: {reason}", path.display())]
    NoSpace { doing: &'static str, path: PathBuf, reason: String },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    /// Damage that no crash leaves: what else is missing cannot be known.
    #[error(
        "{} is damaged at byte {offset}: {reason}. Put back a copy of this file, or run `potluck store rebuild \
         --salvage-state` to keep the records that can be read",
        path.display()
    )]
    LogDamaged { path: PathBuf, offset: u64, reason: &'static str },
    /// Whoever took the home's key for a new one would forget its promises, and number what it has numbered before.
    #[error(
        "{} is missing, and {what} in this home says that there was one: what was pinned, named, followed and promised is \
         not known. Put back a copy of this file, or run `potluck store rebuild --salvage-state` to begin a new one, and \
         then follow each channel again by its id (your own too) before you release",
        path.display()
    )]
    LogMissing { path: PathBuf, what: &'static str },
    /// Whole, and of a kind that this version does not know. It is never cut, moved or rewritten.
    #[error(
        "{} was made by a newer potluck: {what}. It is left as it is; run the version of potluck that this home was used \
         with last, or a newer one",
        path.display()
    )]
    Newer { path: PathBuf, what: &'static str },
    /// Not even a new index could be built.
    #[error("the index cannot be used, nor a new one built: {0}")]
    Index(String),
    #[error("manifest {} is not in the store", .0.short())]
    NoManifest(ManifestId),
    #[error("shard {} is not in the store, or was damaged: pull what it belongs to again", .0.short())]
    NoShard(ShardId),
    /// Only what has been inspected may be used.
    #[error("manifest {} has not been verified as well-formed", .0.short())]
    NotWellFormed(ManifestId),
    #[error("{} exists and is not an empty folder", .0.display())]
    Exists(PathBuf),
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// An announcement with the last number there is was signed by this key.
    #[error(
        "this node's key has no sequence number left: become a new peer (move the file `identity.key` of the home away)"
    )]
    SequenceEnd,
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// What every operation of the store returns.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// For `map_err`: an I/O error with what was being done to which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { doing, path, reason: source.to_string() }
            }
            _ => Self::Io { doing, path, source },
        }
    }

    /// The remedy is to make room.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}
