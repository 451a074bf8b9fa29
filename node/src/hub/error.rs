//! Why a base does not come from the hub, and what to type instead.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind};

/// Every variant names what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("the hub at {endpoint} cannot be reached: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("the hub has no `{what}`, or does not show it without a token (status {status})")]
    NotFound { what: String, status: u16 },
    #[error("the hub does not hand out `{what}` to us (status {status})")]
    Denied { what: String, status: u16, gate: String },
    #[error("the hub answers `{what}` with status {status}")]
    Status { what: String, status: u16 },
    #[error("`{what}`: the hub's answer makes no sense: {reason}")]
    Answer { what: String, reason: String },
    #[error("`{id}` has no {missing}")]
    NoBase { id: String, missing: &'static str, pickles: bool },
    #[error("`{file}` broke off after {got} of {size} bytes: {reason}")]
    Broken { file: String, got: u64, size: u64, reason: String },
    #[error("`{file}` hashes to {got}, the hub says {wanted}")]
    Digest { file: String, wanted: String, got: String },
    #[error("the files have {bytes} bytes, at most {max} are taken")]
    TooLarge { bytes: u64, max: u64 },
    #[error("{bytes} bytes are to be fetched and {free} are free on the disk of {}", cache.display())]
    NoSpace { bytes: u64, free: u64, cache: PathBuf },
    #[error("another process is fetching `{file}`")]
    Busy { file: String },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
}

impl HubError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    pub(super) fn answer(what: &str, reason: impl Into<String>) -> Self {
        Self::Answer { what: what.to_owned(), reason: reason.into() }
    }
}

/// The ways to a base that need no hub.
const OTHERWISE: &str = "give a folder of safetensors or a .gguf file instead (`--base PATH`), or find the base in the swarm: `potluck search --kind base`, then `potluck base add BASE-ID` or `potluck pull ID`";

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let fail = |kind| Self::new(kind, &error);
        match &error {
            HubError::Unreachable { .. } => fail(Kind::Unreachable)
                .hint(format!("check the connection, or name a mirror with HF_ENDPOINT; or {OTHERWISE}")),
            HubError::NotFound { .. } => fail(Kind::NotFound).hint(format!(
                "check the spelling on the hub's page, and set HF_TOKEN if it is private; a folder that is meant must exist; or {OTHERWISE}"
            )),
            HubError::Denied { gate, .. } => fail(Kind::Denied)
                .hint(format!("ask for access at {gate}, then set HF_TOKEN to a token of yours; or {OTHERWISE}")),
            HubError::Status { .. } => fail(Kind::Failed).hint(format!("try again later; or {OTHERWISE}")),
            HubError::Answer { .. } | HubError::Digest { .. } => fail(Kind::Verification)
                .hint("check HF_ENDPOINT: it must be the hub or a mirror that speaks as the hub does"),
            HubError::NoBase { pickles: true, .. } => fail(Kind::Incompatible).hint(
                "its *.bin files are pickles, which run code when opened: look for a version of the model with safetensors",
            ),
            HubError::NoBase { .. } => {
                fail(Kind::Incompatible).hint("a base needs config.json, tokenizer.json and safetensors; a .gguf file is given by its path")
            }
            HubError::Broken { .. } => {
                fail(Kind::Timeout).hint("run the same command again: it goes on from what is here")
            }
            HubError::TooLarge { .. } => fail(Kind::Incompatible),
            HubError::NoSpace { .. } => {
                fail(Kind::NoSpace).hint("free some space, or put the cache on another disk with HF_HOME")
            }
            HubError::Busy { .. } => fail(Kind::Conflict).hint("wait until it has ended, then run the command again"),
            HubError::Io { source, .. } => Self { message: error.to_string(), ..Self::io("", source) },
        }
    }
}
