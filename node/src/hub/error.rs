//! Why a base does not come from the hub.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::digest::Wrong;
use super::settings::SettingsError;

/// Every variant names what was asked for. What to type next stands in `hub::hints`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum HubError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the hub at {endpoint} cannot be reached: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("the hub has no `{what}`, or does not show it without a token (status {status})")]
    NotFound { what: String, status: u16 },
    #[error("the hub refuses the token of {from} (status {status}{})", after(said))]
    Token { from: String, status: u16, said: Option<String>, endpoint: String },
    /// Behind a gate if one is named; `token` was sent.
    #[error("the hub does not hand out `{what}` to us (status {status}{})", after(said))]
    Denied { what: String, status: u16, said: Option<String>, gate: Option<String>, token: Option<String> },
    /// `wait` is what the server asked for and nobody waits.
    #[error("the hub answers `{what}` with status {status}{}{}", after(said), asking(*wait))]
    Status { what: String, status: u16, said: Option<String>, wait: Option<Duration> },
    #[error("`{what}`: a web page came instead{}", titled(title))]
    Page { what: String, title: Option<String>, endpoint: String },
    #[error("`{what}`: the hub's answer is invalid: {reason}")]
    Answer { what: String, reason: String },
    #[error("`{id}` has no {missing}")]
    NoBase { id: String, missing: &'static str, pickles: bool },
    #[error("`{file}` broke off after {got} of {size} bytes: {reason}")]
    Broken { file: String, got: u64, size: u64, reason: String },
    #[error("`{file}` is not what the hub says: {wrong}")]
    Wrong { file: String, wrong: Wrong },
    #[error("`{id}` cannot be used from the cache: {reason}; and {variable} forbids asking the hub")]
    Offline { id: String, reason: String, variable: &'static str },
    #[error("`{what}` has {bytes} bytes, at most {max} are taken")]
    TooLarge { what: String, bytes: u64, max: u64 },
    #[error("{bytes} bytes must be fetched, but only {free} are free on the disk of {}", cache.display())]
    NoSpace { bytes: u64, free: u64, cache: PathBuf },
    #[error("another process is fetching `{file}`")]
    Busy { file: String },
    #[error("interrupted")]
    Interrupted,
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

    /// Whether the hub is away, so that what an earlier run fetched will do.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => super::retry::is_passing(*status),
            _ => false,
        }
    }
}

fn after(said: &Option<String>) -> String {
    said.as_ref().map_or_else(String::new, |said| format!(": {said}"))
}

fn titled(title: &Option<String>) -> String {
    title.as_ref().map_or_else(String::new, |title| format!(": \"{title}\""))
}

fn asking(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!(", and asks us to wait {} s", wait.as_secs()))
}
