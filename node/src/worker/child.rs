//! The worker process itself: `potluck worker`.
//!
//! It is asked to end by the end of its input, and by the signals that end its parent: a terminal and a service manager
//! send them to the whole group. Then a job ends at its next safe place; one that has nothing to keep ends at once.

use std::io::{BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::jobs;
use super::proto::Job;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{LINE_MAX, Line, Progress};
use crate::signals;

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
    fn new(cancelled: bool) -> Self {
        let (cancel, anywhere) = (Arc::new(AtomicBool::new(cancelled)), AtomicBool::new(false));
        Self { cancel, anywhere, out: Mutex::new(std::io::stdout()) }
    }

    /// Of a job that is to end before it has begun.
    #[cfg(test)]
    pub fn cancelled() -> Self {
        Self::new(true)
    }

    /// From here on the job has something to keep, and looks for the word to end.
    pub fn keeps_something(&self) {
        self.anywhere.store(false, Ordering::SeqCst);
    }

    fn ask(&self) {
        self.cancel.store(true, Ordering::SeqCst);
        self.leave_if_it_may();
    }

    fn begin(&self, job: &Job) {
        self.anywhere.store(job.task.may_end_anywhere(), Ordering::SeqCst);
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
    fn leave(&self) -> ! {
        let _parent_is_gone = self.write(&Line::Failed(Failure::interrupted()));
        std::process::exit(Kind::Interrupted as i32);
    }

    /// Set when the job is to end.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// The same, for a model that ends within a pass.
    pub fn stop(&self) -> Arc<AtomicBool> {
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

    fn write(&self, line: &Line) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        out.write_all(&bytes)?;
        out.flush()
    }
}

/// Reads the job, runs it, writes the answer. The exit code is the answer's.
pub fn run() -> Outcome<()> {
    let parent = parent();
    let context = Arc::new(Context::new(false));
    watch_signals(&context).map_err(|error| Failure::io("listen for signals", &error))?;
    let job = read_job()?;
    watch_parent(Arc::clone(&context), parent);
    context.begin(&job);
    let outcome = jobs::run(&job, &context);
    let line = match &outcome {
        Ok(value) => Line::Done(value.clone()),
        Err(failure) => Line::Failed(failure.clone()),
    };
    context.write(&line).map_err(|error| Failure::io("answer the parent process", &error))?;
    outcome.map(|_| ())
}

fn read_job() -> Outcome<Job> {
    let mut line = Vec::new();
    let fail = |error: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("`potluck worker` is started by potluck itself: {error}"))
    };
    std::io::stdin().lock().take(LINE_MAX as u64).read_until(b'\n', &mut line).map_err(|error| fail(&error))?;
    serde_json::from_slice(&line).map_err(|error| fail(&error))
}

/// On a thread of its own: the job has all others.
fn watch_signals(context: &Arc<Context>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listening = {
        let _within = runtime.enter();
        signals::listen()?
    };
    let context = Arc::clone(context);
    std::thread::spawn(move || runtime.block_on(obey(&context, listening)));
    Ok(())
}

async fn obey(context: &Context, listening: impl Future<Output = ()>) {
    let asked = signals::asked();
    let told = async {
        asked.to_end.cancelled().await;
        context.ask();
        asked.at_once.cancelled().await;
        context.leave();
    };
    tokio::join!(listening, told);
}

/// The end of the input means: stop. A parent that was killed closes it too, so no worker is left behind.
fn watch_parent(context: Arc<Context>, parent: Option<u32>) {
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        context.ask();
        while self::parent() == parent {
            // A parent that waits for us may do so as long as it likes. Its death is no event that can be awaited.
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(ORPHAN);
        context.leave();
    });
}

#[cfg(unix)]
fn parent() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

/// Elsewhere a worker whose parent is gone ends at its next safe place, however long that takes.
#[cfg(not(unix))]
fn parent() -> Option<u32> {
    None
}
