//! What a job may do to the outside while it runs: report, and learn that it is to end.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::failure::{Failure, Kind};
use crate::ipc::{Line, Progress};
use crate::lock::lock;

/// How long a worker lives at most once its parent is gone. Whoever waits for what it holds waits longer than this.
pub const ORPHAN: Duration = Duration::from_secs(15);

/// What a job may do to the outside while it runs.
pub struct Context {
    cancel: Arc<AtomicBool>,
    /// The job may end anywhere: it looks for no word to do so.
    anywhere: AtomicBool,
    out: Mutex<std::io::Stdout>,
}

impl Context {
    pub(super) fn new(cancelled: bool) -> Self {
        let (cancel, anywhere) = (Arc::new(AtomicBool::new(cancelled)), AtomicBool::new(false));
        Self { cancel, anywhere, out: Mutex::new(std::io::stdout()) }
    }

    /// Of a job that is to end before it has begun.
    #[cfg(test)]
    pub fn cancelled() -> Self {
        Self::new(true)
    }

    /// From here on the job has something to keep, and looks for the word to end.
    pub fn begin_keeping(&self) {
        self.anywhere.store(false, Ordering::SeqCst);
    }

    /// Asks the job to end.
    pub(super) fn ask(&self) {
        self.cancel.store(true, Ordering::SeqCst);
        self.leave_if_it_may();
    }

    /// The job begins; `anywhere` if it has nothing to keep yet.
    pub(super) fn begin(&self, anywhere: bool) {
        self.anywhere.store(anywhere, Ordering::SeqCst);
        if self.is_cancelled() {
            self.leave_if_it_may();
        }
    }

    fn leave_if_it_may(&self) {
        if self.anywhere.load(Ordering::SeqCst) {
            self.leave();
        }
    }

    /// Ends the process, whatever it does.
    pub(super) fn leave(&self) -> ! {
        let _parent_is_gone = self.write(&Line::Failed(Failure::interrupted()));
        std::process::exit(Kind::Interrupted as i32);
    }

    /// Set when the job is to end.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// The same, for a model that ends within a pass.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }

    /// Reports progress. If the parent is gone the job is cancelled.
    pub fn report(&self, progress: Progress) {
        if self.write(&Line::Progress(progress)).is_err() {
            self.ask();
        }
    }

    /// Writes a line to the parent.
    pub(super) fn write(&self, line: &Line) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let mut out = lock(&self.out);
        out.write_all(&bytes)?;
        out.flush()
    }
}
