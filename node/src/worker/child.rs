//! The worker process itself: `potluck worker`.
//!
//! It is asked to end by the end of its input, and by the signals that end its parent: a terminal and a service manager
//! send them to the whole group. Then a job ends at its next safe place; one that has nothing to keep ends at once.

use std::io::{BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use super::context::{Context, ORPHAN};
use super::jobs;
use super::proto::Job;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{LINE_MAX, Line};
use crate::signals;

/// Reads the job, runs it, writes the answer. The exit code is the answer's.
pub fn run() -> Outcome<()> {
    let parent = parent();
    let context = Arc::new(Context::new(false));
    watch_signals(&context).map_err(|error| Failure::io("listen for signals", &error))?;
    let job = read_job()?;
    watch_parent(Arc::clone(&context), parent);
    context.begin(job.task.may_end_anywhere());
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
    let asked = signals::requests();
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
