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
use crate::app::disk::Disk;
use crate::app::network::Network;
use crate::app::node::Node;
use crate::app::unasked::{self, Budget};
use crate::app::worker::{Numerics, Running, Worker};
use crate::exchange::{Exchange, Speeds};
use crate::failure::Outcome;
use crate::home::Home;
use crate::identity::Identity;
use crate::net;
use crate::store::testing::{Fixture, files_below};
use crate::store::{BaseRecord, Options, Store};
use crate::task::Tasks;
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
        let fixture = copied(&from);
        std::fs::remove_file(fixture.root().join("identity.key")).expect("there");
        let node = open(fixture.root(), script).await;
        Self { fixture, node }
    }

    /// A copy of the home, with the same key, while this one runs on.
    pub async fn copy(&self, script: &Arc<Script>) -> Self {
        let fixture = copied(&self.fixture);
        let node = open(fixture.root(), script).await;
        Self { fixture, node }
    }

    /// The same home on a network on which nobody else is, and the tasks of that network.
    pub async fn online(self, script: &Arc<Script>) -> (Self, Tasks) {
        let Self { fixture, node } = self;
        drop(node);
        let home = Home::open(fixture.root()).expect("free");
        let store = Store::open(&home).expect("opens");
        let identity = Identity::open(&home).expect("readable");
        let (handle, inbound) = net::start(net::testing::config(), identity.libp2p()).await.expect("starts");
        let tasks = Tasks::default();
        let exchange = Exchange::start(handle.clone(), inbound, store.clone(), &tasks, Speeds::default()).await;
        let unasked = Arc::new(Budget::new(unasked::PER_DAY));
        let network = Network { name: "test".parse().expect("a name"), handle, exchange, unasked };
        let numerics: Arc<dyn Numerics> = script.clone();
        let disk = Disk { home, store };
        let node = Node::online_by(disk, identity, network, Worker::with(numerics), CancellationToken::new());
        (Self { fixture, node }, tasks)
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

fn copied(from: &Fixture) -> Fixture {
    let fixture = Fixture { keypair: from.keypair.clone(), ..Fixture::new() };
    for file in files_below(from.root()) {
        let target = fixture.root().join(file.strip_prefix(from.root()).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("writable");
        std::fs::copy(&file, target).expect("room");
    }
    fixture
}

async fn open(root: &Path, script: &Arc<Script>) -> Node {
    let numerics: Arc<dyn Numerics> = script.clone();
    Node::offline_by(root, Options::default(), Worker::with(numerics)).await.expect("a home")
}
