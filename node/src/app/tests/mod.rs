//! What the tests of the parts share: a node in a temporary home whose worker answers by a script, without a process and
//! without a network.

mod answers;
mod channels;
mod shapes;

use std::path::Path;
use std::sync::{Arc, Mutex};

use potluck_protocol::id::{BaseId, Digest};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::ask::Ask;
use crate::app::call::Call;
use crate::app::node::Node;
use crate::app::worker::{Numerics, Running, Worker};
use crate::failure::Outcome;
use crate::store::testing::{Fixture, files_below};
use crate::store::{BaseRecord, Options, Store};
use crate::worker::proto::{Job, Task};

/// What a task is called in a script.
fn name(task: &Task) -> &'static str {
    match task {
        Task::CheckData { .. } => "check",
        Task::Choose(_) => "choose",
        Task::Fold { .. } => "fold",
        Task::Identify { .. } => "identify",
        Task::Describe { .. } => "describe",
        _ => "another",
    }
}

type Answers = Box<dyn Fn(&Task) -> Outcome<Value> + Send + Sync>;

/// Answers tasks by a function, and remembers which ones came.
pub struct Script {
    answers: Answers,
    asked: Mutex<Vec<&'static str>>,
}

impl Script {
    pub fn new(answers: impl Fn(&Task) -> Outcome<Value> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answers: Box::new(answers), asked: Mutex::default() })
    }

    /// The tasks that came since this was asked last.
    pub fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().expect("no test panicked with it"))
    }
}

impl Numerics for Script {
    fn run<'a>(&'a self, job: Job, _: &'a Call<'_>) -> Running<'a> {
        self.asked.lock().expect("no test panicked with it").push(name(&job.task));
        Box::pin(async move { (self.answers)(&job.task) })
    }
}

/// A node in a home of its own. Adapters that its fixture adds are of [`Stage::base`].
pub struct Stage {
    pub fixture: Fixture,
    pub node: Node,
}

impl Stage {
    /// A node that knows one base, by the name `small`. It lies nowhere: only a worker would read it.
    pub async fn new(script: &Arc<Script>) -> Self {
        let fixture = Fixture::new();
        let node = open(fixture.root(), script).await;
        let stage = Self { fixture, node };
        let (name, path) = ("small".parse().expect("a name"), "/nowhere/small".to_owned());
        let record = BaseRecord { id: Self::base(), name, path, files: Vec::new(), view_of: None };
        stage.store().add_base(record).expect("room");
        stage
    }

    /// The base that every adapter of a fixture is of.
    pub fn base() -> BaseId {
        BaseId(Digest::of(b"base"))
    }

    /// Another node, with a key of its own, that knows all that this one knew.
    pub async fn hand_over(self, script: &Arc<Script>) -> Self {
        let Self { fixture: from, node } = self;
        drop(node);
        let fixture = Fixture::new();
        for file in files_below(from.root()) {
            let relative = file.strip_prefix(from.root()).expect("below it");
            if relative == Path::new("identity.key") {
                continue;
            }
            let target = fixture.root().join(relative);
            std::fs::create_dir_all(target.parent().expect("a folder")).expect("writable");
            std::fs::copy(&file, target).expect("room");
        }
        let node = open(fixture.root(), script).await;
        Self { fixture, node }
    }

    pub fn store(&self) -> &Store {
        &self.node.parts.maintenance.disk.store
    }

    /// Asks the node, and lets nobody know how far it is.
    pub async fn ask<R: Ask>(&self, request: R) -> Outcome<R::Answer> {
        // Its receiver goes at once: one that stayed without reading would stop the request.
        let (progress, _) = mpsc::channel(1);
        R::take(self.node.run(request.into(), progress, CancellationToken::new()).await?)
    }
}

async fn open(root: &Path, script: &Arc<Script>) -> Node {
    let numerics: Arc<dyn Numerics> = script.clone();
    Node::offline_by(root, Options::default(), Worker::with(numerics)).await.expect("a home")
}
