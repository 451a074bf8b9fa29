//! Bounds of memory and time for the work on what strangers wrote: a base's configuration, tokenizer and template, and the
//! rows that they are used on. The weights themselves are mapped and take none of this memory; what a training run plans
//! for comes later and is not bounded here.
//!
//! The bound of memory is the system's (`RLIMIT_DATA`, on Linux): an allocation beyond it ends this process, which the
//! parent explains. Where it cannot be set, there is none.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

#[cfg(unix)]
use rlimit::Resource;

use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Line;
#[cfg(unix)]
use crate::procfs;

/// Memory beside what is in use already: ten times what the largest tokenizers in use (30 MiB of JSON) need.
pub const MEMORY: u64 = 4 << 30;

/// So many bytes of memory for each byte of rows: their text, their tokens, and where each token stands.
const MEMORY_PER_BYTE: u64 = 64;

/// The largest tokenizers take some seconds on a slow machine.
const OPENING: Duration = Duration::from_secs(300);

/// Opens what may be a stranger's, within memory and time.
pub fn open<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let _time = Deadline::begin(OPENING, end);
    let _memory = Memory::bound(MEMORY);
    work()
}

/// Writes rows of so many bytes with a stranger's template and reads them with their tokenizer, within memory.
pub fn tokenise<T>(bytes: u64, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let _memory = Memory::bound(MEMORY.saturating_add(bytes.saturating_mul(MEMORY_PER_BYTE)));
    work()
}

/// Ends the process as a job that failed.
fn end() {
    let seconds = OPENING.as_secs();
    let failure = Failure::new(
        Kind::Timeout,
        format!("the base is not open after {seconds} s: its tokenizer, template or header takes too long to read"),
    );
    if let Ok(line) = serde_json::to_string(&Line::Failed(failure)) {
        // The thread that works has nothing to say before it is done.
        let _parent_is_gone = writeln!(std::io::stdout().lock(), "{line}");
    }
    std::process::exit(Kind::Timeout as i32);
}

/// Calls what it was given once the time is over, unless it was dropped before.
struct Deadline {
    _open: SyncSender<()>,
}

impl Deadline {
    fn begin(after: Duration, late: impl FnOnce() + Send + 'static) -> Self {
        let (open, closed) = sync_channel::<()>(1);
        std::thread::spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = closed.recv_timeout(after) {
                late();
            }
        });
        Self { _open: open }
    }
}

/// The bound that was in force before, which is again once this is dropped.
struct Memory {
    before: Option<(u64, u64)>,
}

impl Memory {
    /// So many bytes beside what is in use now.
    fn bound(bytes: u64) -> Self {
        Self { before: lower(bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            restore(before);
        }
    }
}

/// The soft and the hard limit that were in force, if a lower one is now.
#[cfg(unix)]
fn lower(bytes: u64) -> Option<(u64, u64)> {
    let in_use = procfs::memory("self", "VmData")?;
    let (soft, hard) = Resource::DATA.get().ok()?;
    Resource::DATA.set(in_use.saturating_add(bytes).min(soft), hard).ok()?;
    Some((soft, hard))
}

#[cfg(not(unix))]
fn lower(_bytes: u64) -> Option<(u64, u64)> {
    None
}

#[cfg(unix)]
fn restore((soft, hard): (u64, u64)) {
    // It was in force before, so the system takes it.
    let _bound = Resource::DATA.set(soft, hard);
}

#[cfg(not(unix))]
fn restore(_before: (u64, u64)) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another test of this process may have a bound of its own meanwhile.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_stranger_wrote_is_opened_within_a_bound_of_memory() {
        let within = open(|| Ok(Resource::DATA.get().expect("Linux has it").0)).expect("opened");
        let in_use = procfs::memory("self", "VmData").expect("Linux says it");
        assert!(within < in_use.saturating_add(2 * MEMORY), "{within} with {in_use} in use");
    }

    #[test]
    fn what_takes_too_long_is_ended_and_nothing_else() {
        let (late, was_late) = sync_channel::<&str>(2);
        let (first, second) = (late.clone(), late);
        let _begun = Deadline::begin(Duration::ZERO, move || first.send("first").expect("awaited"));
        assert_eq!(was_late.recv(), Ok("first"));
        drop(Deadline::begin(Duration::from_secs(3600), move || second.send("second").expect("awaited")));
        assert!(was_late.recv().is_err(), "its thread has gone, and said nothing");
    }
}
