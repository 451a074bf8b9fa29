//! The parent's side: starts the worker, passes on its progress, and says what happened if it dies.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::proto::{Job, Task};
use super::stopping;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{self, Line, Progress};

/// What is kept of a dead worker's last words.
const LAST_WORDS_MAX: u64 = 4 << 10;

/// Runs a job in a worker process. On `cancel` the worker is told to stop, keeps its checkpoint, and is awaited.
pub async fn run(job: &Job, progress: &mpsc::Sender<Progress>, cancel: &CancellationToken) -> Outcome<Value> {
    let mut child = start(job.threads).map_err(|error| Failure::io("start the worker process", &error))?;
    let (Some(mut input), Some(output), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::new(Kind::Failed, "the worker process has no pipes"));
    };
    let last_words = tokio::spawn(read_last_words(stderr));
    // A worker that dies at once breaks this pipe; its exit status below says why.
    let _broken = ipc::write_line(&mut input, job).await;
    let mut input = Some(input);
    let mut output = BufReader::new(output);
    let answer = loop {
        match next_line(&mut output, &mut input, cancel).await {
            Ok(Some(Line::Progress(report))) => drop(progress.send(report).await),
            Ok(Some(Line::Done(value))) => break Some(Ok(value)),
            Ok(Some(Line::Failed(failure))) => break Some(Err(explain(failure, &job.task))),
            Ok(None) | Err(_) => break None,
        }
    };
    drop(input);
    let status = child.wait().await.map_err(|error| Failure::io("wait for the worker process", &error))?;
    let words = last_words.await.unwrap_or_default();
    answer.unwrap_or_else(|| Err(explain_death(status, &words, &job.task)))
}

/// The worker's next line. Meanwhile the end of its input tells it to stop.
async fn next_line(
    output: &mut BufReader<ChildStdout>,
    input: &mut Option<ChildStdin>,
    cancel: &CancellationToken,
) -> std::io::Result<Option<Line>> {
    // Read to its end: half a line that was let go would be missing from the next one.
    let line = ipc::read_line(output);
    tokio::pin!(line);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled(), if input.is_some() => *input = None,
            line = &mut line => return line,
        }
    }
}

/// A training run that ended before it had something to keep says no more than that it was interrupted.
fn explain(failure: Failure, task: &Task) -> Failure {
    match task {
        Task::Train(task) if failure == Failure::interrupted() => stopping::stopped_before(task),
        _ => failure,
    }
}

fn start(threads: usize) -> std::io::Result<Child> {
    let program = config::program().map_err(std::io::Error::other)?;
    Command::new(program)
        .arg("worker")
        // Without it candle reads /proc/cpuinfo on every product, which costs more than a small product itself.
        .env("RAYON_NUM_THREADS", threads.max(1).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// The first bytes of what the worker wrote to its standard error; the rest is read and forgotten, so that it never
/// blocks on a full pipe.
async fn read_last_words(stderr: ChildStderr) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut words = Vec::new();
    let _unreadable = (&mut stderr).take(LAST_WORDS_MAX).read_to_end(&mut words).await;
    let _unreadable = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&words).trim().to_owned()
}

fn explain_death(status: std::process::ExitStatus, words: &str, task: &Task) -> Failure {
    if let Some(INTERRUPT | QUIT | TERMINATE | HANGUP) = signal(status) {
        // In its first instants, before it listens.
        return explain(Failure::interrupted(), task);
    }
    // SIGKILL, which is what the kernel sends when memory runs out.
    let failure = if signal(status) == Some(KILL) {
        let smaller = "take a smaller batch or a shorter length";
        let hint = match task {
            Task::Train(task) => format!("{smaller}; {}", stopping::describe_left(task)),
            _ => smaller.to_owned(),
        };
        let said = "the worker process was killed, most likely because memory ran out";
        Failure::new(Kind::NoSpace, said).hint(hint)
    } else {
        Failure::new(Kind::Failed, format!("the worker process died ({status})"))
    };
    if words.is_empty() { failure } else { failure.context(words.lines().next().unwrap_or_default()) }
}

/// The same numbers on every system that has signals.
const HANGUP: i32 = 1;
const INTERRUPT: i32 = 2;
const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERMINATE: i32 = 15;

#[cfg(unix)]
fn signal(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: std::process::ExitStatus) -> Option<i32> {
    None
}
