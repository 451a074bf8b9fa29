//! The node's side of the numerics: runs tasks in worker processes, and knows how many run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::call::Call;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::answers::Identified;
use crate::worker::parent;
use crate::worker::proto::{BaseSource, Job, Task};

/// A job that runs; ends with its answer as the worker wrote it.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome<Value>> + Send + 'a>>;

/// Who computes. Tests give answers of their own, without a process.
pub trait Numerics: Send + Sync {
    /// Runs one job. Ends early, with an error that says what was kept, when the call is cancelled.
    fn run<'a>(&'a self, job: Job, call: &'a Call<'_>) -> Running<'a>;
}

/// One process of this program for each job.
struct Processes;

impl Numerics for Processes {
    fn run<'a>(&'a self, job: Job, call: &'a Call<'_>) -> Running<'a> {
        Box::pin(async move { parent::run(&job, call.progress, call.cancel).await })
    }
}

/// Runs tasks and reads their answers. Clones share the count of those that run.
#[derive(Clone)]
pub struct Worker {
    numerics: Arc<dyn Numerics>,
    /// One token for each job.
    running: TaskTracker,
    /// A base that this process has read whole already.
    read: Option<(BaseSource, Identified)>,
}

impl Worker {
    /// Computes in child processes.
    pub fn processes() -> Self {
        Self::with(Arc::new(Processes))
    }

    /// Computes by what is given.
    pub fn with(numerics: Arc<dyn Numerics>) -> Self {
        Self { numerics, running: TaskTracker::new(), read: None }
    }

    /// The same, which need not read a base again that was read for this very command.
    pub fn knowing(self, source: BaseSource, identified: Identified) -> Self {
        Self { read: Some((source, identified)), ..self }
    }

    /// Runs a task on so many threads.
    pub async fn run(&self, call: &Call<'_>, threads: usize, task: Task) -> Outcome<Value> {
        let _running = self.running.token();
        self.numerics.run(Job { threads, task }, call).await
    }

    /// Runs a task and reads its answer.
    pub async fn compute<T: DeserializeOwned>(&self, call: &Call<'_>, threads: usize, task: Task) -> Outcome<T> {
        parse(self.run(call, threads, task).await?)
    }

    /// Reads a base whole (opens, checks, hashes), unless that was done for this very command.
    pub async fn identify(&self, call: &Call<'_>, source: &BaseSource) -> Outcome<Identified> {
        match &self.read {
            Some((read, identified)) if read == source => Ok(identified.clone()),
            _ => self.compute(call, config::processors(), Task::Identify { base: source.clone() }).await,
        }
    }

    /// The same of one that is not known yet: it is said, since a large one takes long.
    pub async fn read_whole(&self, call: &Call<'_>, source: &BaseSource) -> Outcome<Identified> {
        let is_read = self.read.as_ref().is_some_and(|(read, _)| read == source);
        if let (BaseSource::Path(path), false) = (source, is_read) {
            call.phase(format!("reading {} whole, to know which base it is", path.display())).await;
        }
        self.identify(call, source).await
    }

    /// Tasks that run now.
    pub fn at_work(&self) -> usize {
        self.running.len()
    }

    /// Until no task runs any more.
    pub async fn rest(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

/// Reads an answer as what its task gives.
pub fn parse<T: DeserializeOwned>(answer: Value) -> Outcome<T> {
    serde_json::from_value(answer).map_err(|error| Failure::new(Kind::Failed, format!("the worker's answer: {error}")))
}
