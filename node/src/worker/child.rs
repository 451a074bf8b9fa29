//! The worker process itself: `potluck worker`.

use std::io::{BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::jobs;
use super::proto::Job;
use crate::api::proto::{LINE_MAX, Line, Progress};
use crate::failure::{Failure, Kind, Outcome};

/// What a job may do to the outside while it runs.
pub struct Context {
    cancel: Arc<AtomicBool>,
    out: Mutex<std::io::Stdout>,
}

impl Context {
    /// Of a job that is to end before it has begun.
    #[cfg(test)]
    pub fn cancelled() -> Self {
        Self { cancel: Arc::new(AtomicBool::new(true)), out: Mutex::new(std::io::stdout()) }
    }

    /// Set when the parent wants the job to end.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Reports progress. If the parent is gone the job is cancelled.
    pub fn report(&self, progress: Progress) {
        if self.write(&Line::Progress(progress)).is_err() {
            self.cancel.store(true, Ordering::Relaxed);
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
    let job = read_job()?;
    let context = Context { cancel: Arc::new(AtomicBool::new(false)), out: Mutex::new(std::io::stdout()) };
    watch_parent(Arc::clone(&context.cancel));
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

/// The end of the input means: stop. A parent that was killed closes it too, so no worker is left behind.
fn watch_parent(cancel: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        cancel.store(true, Ordering::Relaxed);
    });
}
