//! The worker process itself: `potluck worker`.
//!
//! It is asked to end by the end of its input, and by the signals that end its parent: a terminal and a service manager
//! send them to the whole group. Then a job ends at its next safe place; one that has nothing to keep ends at once.

use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use potluck_trainer::fit::folder::FolderError;

use super::access::Access;
use super::context::{Context, ORPHAN};
use super::proto::{Job, Task};
use super::{confined, failures, jobs, stopping};
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{LINE_MAX, Line};
use crate::signals;

/// Reads the job, runs it, writes the answer. The exit code is the answer's.
pub fn run() -> Outcome<()> {
    let parent = parent();
    // The parent's words, not a stranger's. A signal until then ends this process, and nothing is lost.
    let job = read_job()?;
    // Before there is another thread: those that come later are held as this one is.
    let confined = make_run_folder(&job.task).and_then(|()| confined::confine(&Access::of(&job.task)));
    let context = Arc::new(Context::new(false));
    watch_signals(&context).map_err(|error| Failure::io("listen for signals", &error))?;
    watch_parent(Arc::clone(&context), parent);
    context.begin(job.task.may_end_anywhere());
    let outcome = confined.and_then(|_held| jobs::run(&job, &context));
    let line = match &outcome {
        Ok(value) => Line::Done(value.clone()),
        Err(failure) => Line::Failed(failure.clone()),
    };
    context.write(&line).map_err(|error| Failure::io("answer the parent process", &error))?;
    outcome.map(|_| ())
}

/// Only what is there can be allowed to a confined process. A folder that stays empty is removed by the parent.
fn make_run_folder(task: &Task) -> Outcome<()> {
    let Task::Train(task) = task else { return Ok(()) };
    let folder = stopping::run_folder(&task.out);
    let made = std::fs::create_dir_all(&folder).and_then(|()| is_apart(&folder));
    match made {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::new(
            Kind::Usage,
            format!("{} lies on another disk: the adapter is made there, and moved", folder.display()),
        )
        .hint("choose another --out")),
        Err(error) => Err(failures::folder(&FolderError::Io { path: folder, error })),
    }
}

/// Whether a folder, such as a link's end, is on another disk than the one that it lies in.
#[cfg(unix)]
fn is_apart(folder: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(std::fs::metadata(folder)?.dev() != std::fs::metadata(above)?.dev())
}

#[cfg(not(unix))]
fn is_apart(_folder: &Path) -> std::io::Result<bool> {
    Ok(false)
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
