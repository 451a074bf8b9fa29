//! The parent's side: starts the worker, passes on its progress, and says what happened if it dies.

use std::path::Path;
use std::process::Stdio;
use std::sync::Once;

use potluck_trainer::removal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::proto::{Job, Task};
use super::{bounded, confined, stopping};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{self, Line, Progress};
use crate::text::bytes;

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
    if let Task::Train(task) = &job.task {
        // The worker may remove what is in it, and nothing beside it. What is not empty is kept.
        let _kept = removal::empty_folder(&stopping::run_folder(&task.out));
    }
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
    tell_confinement();
    let program = config::program().map_err(std::io::Error::other)?;
    command(&program, threads).arg("worker").spawn()
}

/// Says once in the log what this system holds workers to.
fn tell_confinement() {
    static TOLD: Once = Once::new();
    if tracing::enabled!(tracing::Level::DEBUG) {
        TOLD.call_once(|| match confined::probe() {
            Ok(confined) => tracing::debug!("worker processes are confined {confined}"),
            Err(failure) => tracing::debug!("{failure}"),
        });
    }
}

/// What starts a program as a worker. It reads what strangers wrote, and so gets no more of this process's environment
/// than it needs: no token, and nothing that tells who runs it.
fn command(program: &Path, threads: usize) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(config::worker_environment())
        // Without it candle reads /proc/cpuinfo on every product, which costs more than a small product itself.
        .env("RAYON_NUM_THREADS", threads.max(1).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
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
    // An allocation that was refused: the standard library says so, on a line of its own.
    let refused = || words.lines().any(|line| line.starts_with("memory allocation of "));
    let failure = if signal(status) == Some(ABORT) && refused() {
        explain_memory(task)
    } else if signal(status) == Some(KILL) {
        // SIGKILL, which is what the kernel sends when memory runs out.
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

/// The system does not say whether an allocation was beyond our bound or more than this machine has: so it is no word on
/// a base, or on who published it, and another publication of the same base may open.
fn explain_memory(task: &Task) -> Failure {
    match task {
        Task::Identify { .. } | Task::Describe { .. } => Failure::new(
            Kind::Failed,
            format!("the base took more memory to open than {}, or than this machine has", bytes(bounded::MEMORY)),
        )
        .hint("close other programs and try again; if that much is free, its tokenizer or chat template is made to do this"),
        _ => Failure::new(Kind::NoSpace, "the worker process could not get the memory that it asked for").hint(
            "close other programs, or take a smaller batch; if the base is a stranger's, its tokenizer or template may be made to do this",
        ),
    }
}

/// The same numbers on every system that has signals.
const HANGUP: i32 = 1;
const INTERRUPT: i32 = 2;
const QUIT: i32 = 3;
const ABORT: i32 = 6;
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// `env` prints what it was given. A test always has a `PATH` of its own, and may have a token.
    #[tokio::test]
    async fn a_worker_gets_nothing_of_the_environment_but_what_it_needs() {
        let output = command(Path::new("/usr/bin/env"), 3).output().await.expect("it is there");
        let given = String::from_utf8(output.stdout).expect("text");
        let names: Vec<_> = given.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.contains(&"RAYON_NUM_THREADS"), "{given}");
        let own = config::worker_environment().map(|(name, _)| name).collect::<Vec<_>>();
        for name in names.iter().filter(|name| **name != "RAYON_NUM_THREADS") {
            assert!(own.contains(name), "{name} is given to a worker");
        }
        assert!(
            !own.iter().any(|name| name.contains("TOKEN") || *name == "PATH" || *name == "HOME"),
            "{}",
            own.join(" ")
        );
    }

    #[test]
    fn memory_that_is_short_here_is_no_word_on_a_base_or_its_publisher() {
        use std::os::unix::process::ExitStatusExt;
        let status = std::process::ExitStatus::from_raw(ABORT);
        let base = super::super::proto::BaseSource::Tiny;
        let words = "memory allocation of 8589934592 bytes failed";
        for task in [Task::Identify { base: base.clone() }, Task::Describe { base: base.clone() }] {
            // Which `app` takes for no fault, and tries another publication.
            assert_eq!(explain_death(status, words, &task).kind, Kind::Failed);
        }
        let train = Task::CheckData { base, data: "rows.jsonl".into(), settings: check_settings() };
        assert_eq!(explain_death(status, words, &train).kind, Kind::NoSpace);
        let quoted = "a file says: memory allocation of 1 bytes failed";
        assert_eq!(explain_death(status, quoted, &train).kind, Kind::Failed);
    }

    fn check_settings() -> super::super::proto::CheckSettings {
        let overlong = potluck_trainer::data::tokenise::Overlong::Refuse;
        super::super::proto::CheckSettings { max_length: 1, overlong, batch_tokens: 1, preview: 0 }
    }
}
