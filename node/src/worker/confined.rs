//! The worker's process, confined by the kernel to what its job needs: the files that the job names, no network, no other
//! program, no other process. An error in the code that reads what strangers wrote then leads no further.
//!
//! `files` says which files, by landlock; `calls` refuses system calls, by seccomp. Both hold the thread that asks for it
//! and those that it starts later, and are never lifted. Systems that have neither, or less, give what they have:
//! docs/decisions/0028-worker-sandbox.md.

use std::fmt;

use super::access::Access;
use crate::failure::{Failure, Kind, Outcome};

#[cfg(target_os = "linux")]
mod files;
#[cfg(not(target_os = "linux"))]
mod files {
    //! Other systems have no such thing that a process could ask for by itself.

    use super::Access;
    use crate::failure::Outcome;

    pub struct Files {
        pub version: Option<String>,
    }

    pub fn confine(_access: &Access) -> Outcome<Files> {
        Ok(Files { version: None })
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod calls {
    //! Filters are written for these processors alone.

    use crate::failure::Outcome;

    pub fn confine() -> Outcome<bool> {
        Ok(false)
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;

/// What the kernel holds a thread to.
pub struct Confined {
    files: files::Files,
    calls: bool,
}

impl Confined {
    /// Files and ports are confined.
    pub fn files(&self) -> bool {
        self.files.version.is_some()
    }

    /// System calls are confined.
    pub fn calls(&self) -> bool {
        self.calls
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files.version {
            Some(version) => write!(f, "to the files of its job by landlock (ABI {version})")?,
            None => write!(f, "to no files (this system has no landlock, or too early a version)")?,
        }
        f.write_str(if self.calls { ", without network and programs by seccomp" } else { ", without seccomp" })
    }
}

/// Confines this thread and those that it starts from now on. It must be the only one of its process by then.
pub fn confine(access: &Access) -> Outcome<Confined> {
    // In this order: afterwards nothing can be changed any more.
    Ok(Confined { files: files::confine(access)?, calls: calls::confine()? })
}

/// What this system would hold a worker to. A thread that ends at once tries it.
pub fn probe() -> Outcome<Confined> {
    let tried = std::thread::spawn(|| confine(&Access::default())).join();
    tried.unwrap_or_else(|_| Err(fail("its thread panicked")))
}

/// A process that could not be confined does not work: what it reads may be made to break it.
fn fail(error: impl fmt::Display) -> Failure {
    Failure::new(Kind::Failed, format!("the worker process cannot be confined to its job: {error}")).hint(
        "if potluck runs in a container or under a service manager, let it make the system calls of landlock and seccomp; \
         otherwise please report this",
    )
}
