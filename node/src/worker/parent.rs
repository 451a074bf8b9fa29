//! The parent's side: starts the worker, passes on its progress, and says what happened if it dies.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::proto::Job;
use crate::api::proto::{Line, Progress};
use crate::api::socket;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

/// What is kept of a dead worker's last words.
const LAST_WORDS_MAX: u64 = 4 << 10;

/// Runs a job in a worker process. On `cancel` the worker is told to stop, keeps its checkpoint, and is awaited.
pub async fn run(job: &Job, progress: &mpsc::Sender<Progress>, cancel: &CancellationToken) -> Outcome<Value> {
    let mut child = start(job.threads).map_err(|error| Failure::io("start the worker process", &error))?;
    let (Some(mut input), Some(output), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::new(Kind::Failed, "the worker process has no pipes"));
    };
    let last_words = tokio::spawn(last_words(stderr));
    // A worker that dies at once breaks this pipe; its exit status below says why.
    let _broken = socket::write_line(&mut input, job).await;
    let mut input = Some(input);
    let mut output = BufReader::new(output);
    let answer = loop {
        tokio::select! {
            biased;
            // The end of its input tells the worker to stop.
            () = cancel.cancelled(), if input.is_some() => input = None,
            line = socket::read_line(&mut output) => match line {
                Ok(Some(Line::Progress(report))) => drop(progress.send(report).await),
                Ok(Some(Line::Done(value))) => break Some(Ok(value)),
                Ok(Some(Line::Failed(failure))) => break Some(Err(failure)),
                Ok(None) | Err(_) => break None,
            }
        }
    };
    drop(input);
    let status = child.wait().await.map_err(|error| Failure::io("wait for the worker process", &error))?;
    let words = last_words.await.unwrap_or_default();
    answer.unwrap_or_else(|| Err(died(status, &words)))
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
async fn last_words(stderr: ChildStderr) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut words = Vec::new();
    let _unreadable = (&mut stderr).take(LAST_WORDS_MAX).read_to_end(&mut words).await;
    let _unreadable = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&words).trim().to_owned()
}

fn died(status: std::process::ExitStatus, words: &str) -> Failure {
    let failure = if killed(status) {
        Failure::new(Kind::NoSpace, "the worker process was killed, most likely because memory ran out").hint(
            "take a smaller batch or a shorter length; the last checkpoint is kept, the same command resumes from it",
        )
    } else {
        Failure::new(Kind::Failed, format!("the worker process died ({status})"))
    };
    if words.is_empty() { failure } else { failure.context(words.lines().next().unwrap_or_default()) }
}

#[cfg(unix)]
fn killed(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    // SIGKILL, which is what the kernel sends when memory runs out.
    status.signal() == Some(9)
}

#[cfg(not(unix))]
fn killed(_status: std::process::ExitStatus) -> bool {
    false
}
