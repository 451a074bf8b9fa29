//! Named places between write, fsync and rename at which a test may cut the power or fill the disk.
//!
//! Goals: every step of every durable write has a point, tests iterate over [`ALL`], a point costs one relaxed atomic
//! load when nothing is armed. Always compiled in, so that what is tested is what runs. Non-goal: faults of the network.
//!
//! `POTLUCK_FAILPOINT=NAME[@COUNT]:abort|enospc|eio` arms one point for the process; it acts from its COUNT-th passage
//! on (default the first). [`scoped`] arms one for the calling thread only.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The environment variable.
pub const VARIABLE: &str = "POTLUCK_FAILPOINT";

/// What is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A shard below `staged/`.
    Shard,
    /// A signed manifest.
    Manifest,
    /// A recipe.
    Recipe,
    /// The whole of `state.log`, at its creation and at compaction.
    Log,
    /// The node's key.
    Identity,
    /// `index/current`, which names the index in use: its rename is the swap.
    Index,
    /// A file of a folder that leaves the store.
    Export,
    /// One record at the end of `state.log`.
    Append,
}

/// How far the write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing has been written.
    Begin,
    /// Half of the bytes have been written.
    Half,
    /// All bytes have been written, none is known to be on disk.
    Written,
    /// The bytes are on disk, the file has no final name yet.
    Synced,
    /// The file has its final name, the folder may not be on disk.
    Renamed,
    /// All is on disk, nothing has been acknowledged.
    Done,
}

const FILES: [What; 7] =
    [What::Shard, What::Manifest, What::Recipe, What::Log, What::Identity, What::Index, What::Export];
const FILE_STEPS: [Step; 6] = [Step::Begin, Step::Half, Step::Written, Step::Synced, Step::Renamed, Step::Done];
const APPEND_STEPS: [Step; 4] = [Step::Begin, Step::Half, Step::Written, Step::Done];

/// Every point that exists.
pub const ALL: [Point; FILES.len() * FILE_STEPS.len() + APPEND_STEPS.len()] = all();

const fn all() -> [Point; FILES.len() * FILE_STEPS.len() + APPEND_STEPS.len()] {
    let mut points = [Point { what: What::Append, step: Step::Begin }; FILES.len() * FILE_STEPS.len() + 4];
    let mut index = 0;
    while index < FILES.len() * FILE_STEPS.len() {
        let what = FILES[index / FILE_STEPS.len()];
        points[index] = Point { what, step: FILE_STEPS[index % FILE_STEPS.len()] };
        index += 1;
    }
    let mut step = 0;
    while step < APPEND_STEPS.len() {
        points[index + step] = Point { what: What::Append, step: APPEND_STEPS[step] };
        step += 1;
    }
    points
}

/// One place in one kind of write; its name is e.g. `shard.written`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What is being written.
    pub what: What,
    /// Between which steps of the writing.
    pub step: Step,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{:?}.{:?}", self.what, self.step).to_lowercase())
    }
}

/// What happens at an armed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process dies on the spot, as by `kill -9`.
    Abort,
    /// The disk is full.
    NoSpace,
    /// The disk fails.
    Fault,
}

/// An armed point.
#[derive(Debug)]
pub struct Armed {
    point: Point,
    /// Passages that go by before it acts.
    left: AtomicU64,
    action: Action,
}

/// The text names no point or no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no failpoint: NAME[@COUNT]:abort|enospc|eio is wanted, NAME one of shard.begin, shard.half, ...")]
pub struct ParseError(String);

impl FromStr for Armed {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError(text.chars().take(80).collect());
        let (place, action) = text.split_once(':').ok_or_else(wrong)?;
        let (name, count) = place.split_once('@').unwrap_or((place, "1"));
        let point = ALL.into_iter().find(|point| point.to_string() == name).ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        let action = match action {
            "abort" => Action::Abort,
            "enospc" => Action::NoSpace,
            "eio" => Action::Fault,
            _ => return Err(wrong()),
        };
        Ok(Self { point, left: AtomicU64::new(count.checked_sub(1).ok_or_else(wrong)?), action })
    }
}

impl Armed {
    fn pass(&self, point: Point) -> io::Result<()> {
        if point != self.point {
            return Ok(());
        }
        let spent = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match (spent, self.action) {
            (Ok(_), _) => Ok(()),
            (Err(_), Action::Abort) => std::process::abort(),
            (Err(_), Action::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            (Err(_), Action::Fault) => Err(io::Error::other("input/output error")),
        }
    }
}

/// Set as soon as anything is armed: the one thing that an unarmed point reads.
static ANY: AtomicBool = AtomicBool::new(false);
static PROCESS: OnceLock<Option<Armed>> = OnceLock::new();

thread_local! {
    static THREAD: RefCell<Option<Armed>> = const { RefCell::new(None) };
}

/// Reads [`VARIABLE`], the first time that it is called. Every process that writes comes through here, because opening
/// a home calls it.
#[expect(clippy::disallowed_methods, reason = "a variable of tests only, beside those of node/src/config.rs")]
pub fn arm_from_environment() -> Result<(), ParseError> {
    if PROCESS.get().is_some() {
        return Ok(());
    }
    let armed: Option<Armed> = std::env::var(VARIABLE).ok().map(|text| text.parse()).transpose()?;
    if let Some(Armed { point, .. }) = &armed {
        tracing::warn!(%point, "{VARIABLE} is set: for a test, this process dies or cannot write there");
        ANY.store(true, Ordering::Relaxed);
    }
    PROCESS.get_or_init(|| armed);
    Ok(())
}

/// Keeps a point armed for this thread until it is dropped.
#[derive(Debug)]
pub struct Scoped(());

/// Arms one point for the calling thread. One at a time: a second takes the place of the first.
pub fn scoped(text: &str) -> Result<Scoped, ParseError> {
    let armed = text.parse()?;
    THREAD.with(|thread| *thread.borrow_mut() = Some(armed));
    ANY.store(true, Ordering::Relaxed);
    Ok(Scoped(()))
}

impl Drop for Scoped {
    fn drop(&mut self) {
        THREAD.with(|thread| *thread.borrow_mut() = None);
    }
}

/// Passes a point: `Err` or no return if it is armed.
pub fn pass(what: What, step: Step) -> io::Result<()> {
    if !ANY.load(Ordering::Relaxed) {
        return Ok(());
    }
    let point = Point { what, step };
    if let Some(Some(armed)) = PROCESS.get() {
        armed.pass(point)?;
    }
    THREAD.with(|thread| thread.borrow().as_ref().map_or(Ok(()), |armed| armed.pass(point)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own_and_is_found_by_it() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(Point::to_string).collect();
        assert_eq!(names.len(), ALL.len());
        for point in ALL {
            let armed: Armed = format!("{point}@3:eio").parse().expect("a known name");
            assert_eq!((armed.point, armed.action), (point, Action::Fault));
        }
        for wrong in
            ["", "shard.written", "shard.written:stop", "x.y:abort", "shard.written@0:abort", "append.renamed:eio"]
        {
            assert!(wrong.parse::<Armed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_point_acts_from_its_count_on_and_only_while_armed() {
        let guard = scoped("manifest.synced@2:enospc").expect("valid");
        let pass = || pass(What::Manifest, Step::Synced).map_err(|error| error.kind());
        assert_eq!(pass(), Ok(()));
        assert_eq!(pass(), Err(io::ErrorKind::StorageFull));
        assert_eq!(pass(), Err(io::ErrorKind::StorageFull));
        assert!(super::pass(What::Manifest, Step::Written).is_ok());
        drop(guard);
        assert!(super::pass(What::Manifest, Step::Synced).is_ok());
    }
}
