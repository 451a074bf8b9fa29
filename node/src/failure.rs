//! How a command fails: what happened, and why, what to type next, and the exit code.
//!
//! The one error type at the edges (command line, local socket, worker process). Inside, every family of operations
//! has its own enum, by which others decide; `app/failures.rs`, `worker/failures.rs` and `hub/hints.rs` make kind and
//! hint of them.

use std::fmt::Display;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Exit codes. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FailureKind)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// Anything that has no code of its own.
    Failed = 1,
    /// The command line, or a file that a person wrote, is wrong.
    Usage = 2,
    /// There is no such thing, here or with any peer that was asked.
    NotFound = 3,
    /// A hash, signature, shape or value is not what it must be.
    Verification = 4,
    /// The daemon does not answer.
    Unreachable = 5,
    /// Time ran out, or only a part was done.
    Timeout = 6,
    /// No disk space, quota or memory.
    NoSpace = 7,
    /// The system does not permit it.
    Denied = 8,
    /// Held by somebody else, or already there.
    Conflict = 9,
    /// Made for another version or model.
    Incompatible = 11,
    /// Stopped by a signal or by the person.
    Interrupted = 130,
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, ToSchema)]
#[error("{message}")]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened, and why.
    pub message: String,
    /// What to type next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What a training run that was stopped has kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// All that was found, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<Value>>,
}

/// The state of a run, for the same command to go on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeptRun)]
pub struct Kept {
    /// Whole steps.
    pub step: u64,
    /// Of so many.
    pub steps: u64,
    /// Where the state lies.
    #[schema(value_type = String)]
    pub folder: PathBuf,
}

impl Failure {
    /// Of a kind, with the text of what happened and why.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string(), hint: None, kept: None, report: None }
    }

    /// Adds what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds the state of the run that was stopped.
    #[must_use]
    pub fn kept(mut self, kept: Kept) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Adds all that was found, for programs.
    #[must_use]
    pub fn report(mut self, report: Value) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// Says in front what was being done.
    #[must_use]
    pub fn context(mut self, doing: impl Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// An I/O error by its cause: no space, denied, not found, else failed.
    pub fn io(doing: impl Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::NoSpace,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Denied,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::AlreadyExists => Kind::Conflict,
            // What was named cannot be what is wanted, whatever the disk holds.
            ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory => Kind::Usage,
            _ => Kind::Failed,
        };
        let failure = Self::new(kind, format!("{doing}: {error}"));
        match kind {
            Kind::NoSpace => failure.hint(
                "free some space on that disk, then run the same command again: nothing that was acknowledged is lost",
            ),
            Kind::Denied => failure.hint("check who owns the file, or choose another folder with `--home`"),
            _ => failure,
        }
    }

    /// It was ended before it was done, and not for a fault.
    pub fn is_interrupted(&self) -> bool {
        self.kind == Kind::Interrupted
    }

    /// A command that was stopped by a signal.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }
}

/// Shorthand for what every verb returns.
pub type Outcome<T> = Result<T, Failure>;
