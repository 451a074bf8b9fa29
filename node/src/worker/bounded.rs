//! Bounds of memory and time for the work on what strangers wrote: a base's configuration, tokenizer and template, and the
//! rows that they are used on. The weights themselves are mapped and take none of this memory; what a training run plans
//! for comes later and is not bounded here.
//!
//! The bound of memory is the system's (`RLIMIT_DATA`, on Linux): an allocation beyond it ends this process, which the
//! parent explains. Where it cannot be set, there is none.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

#[cfg(unix)]
use rlimit::Resource;

use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Line;
use crate::lock::lock;
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

/// The system knows one limit for the whole process: it is the lowest of those that are in force, whichever began or ends
/// first.
static IN_FORCE: Mutex<InForce> = Mutex::new(InForce { others: None, own: Vec::new() });

/// The bounds of memory of this process.
struct InForce {
    /// What the system had as soft and hard limit when there was no bound.
    others: Option<(u64, u64)>,
    own: Vec<u64>,
}

impl InForce {
    /// Adds a bound; the soft limit that is to be, and the hard one. `now` says both as the system has them.
    fn add(&mut self, bound: u64, now: impl FnOnce() -> Option<(u64, u64)>) -> Option<(u64, u64)> {
        if self.others.is_none() {
            self.others = now();
        }
        self.own.push(bound);
        self.lowest()
    }

    /// Takes one away; what is to be then.
    fn remove(&mut self, bound: u64) -> Option<(u64, u64)> {
        if let Some(place) = self.own.iter().position(|own| *own == bound) {
            self.own.swap_remove(place);
        }
        let lowest = self.lowest();
        if self.own.is_empty() {
            self.others = None;
        }
        lowest
    }

    fn lowest(&self) -> Option<(u64, u64)> {
        let (soft, hard) = self.others?;
        Some((self.own.iter().copied().fold(soft, u64::min), hard))
    }
}

/// A bound that is in force until this is dropped.
struct Memory {
    /// None if the system does not say what is in use.
    limit: Option<u64>,
}

impl Memory {
    /// So many bytes beside what is in use now.
    fn bound(bytes: u64) -> Self {
        let limit = in_use().map(|in_use| in_use.saturating_add(bytes));
        if let Some(limit) = limit {
            let mut in_force = lock(&IN_FORCE);
            set(in_force.add(limit, limits));
        }
        Self { limit }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(limit) = self.limit {
            let mut in_force = lock(&IN_FORCE);
            set(in_force.remove(limit));
        }
    }
}

#[cfg(unix)]
fn in_use() -> Option<u64> {
    procfs::memory("self", "VmData")
}

#[cfg(not(unix))]
fn in_use() -> Option<u64> {
    None
}

#[cfg(unix)]
fn limits() -> Option<(u64, u64)> {
    Resource::DATA.get().ok()
}

#[cfg(not(unix))]
fn limits() -> Option<(u64, u64)> {
    None
}

/// None above what was in force before this process had any: the system takes each.
#[cfg(unix)]
fn set(limits: Option<(u64, u64)>) {
    let _bound = limits.map(|(soft, hard)| Resource::DATA.set(soft, hard));
}

#[cfg(not(unix))]
fn set(_limits: Option<(u64, u64)>) {}

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
    fn bounds_that_overlap_end_in_any_order_and_leave_what_was_before() {
        let bounds = || InForce { others: None, own: Vec::new() };
        let system = || Some((900, 1000));
        // The first to begin ends first, as no scope would have it.
        let mut overlap = bounds();
        assert_eq!(overlap.add(300, system), Some((300, 1000)));
        assert_eq!(overlap.add(500, || panic!("it is a bound of ours by now")), Some((300, 1000)));
        assert_eq!(overlap.remove(300), Some((500, 1000)));
        assert_eq!(overlap.remove(500), Some((900, 1000)));
        // Twice the same, one inside the other; and one above what the system allows anyhow.
        assert_eq!(overlap.add(300, system), Some((300, 1000)));
        assert_eq!(overlap.add(300, system), Some((300, 1000)));
        assert_eq!(overlap.remove(300), Some((300, 1000)));
        assert_eq!(overlap.remove(300), Some((900, 1000)));
        assert_eq!(overlap.add(950, system), Some((900, 1000)));
        assert_eq!(bounds().add(300, || None), None, "where nothing is known nothing is set");
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
