//! A node that publishes nothing and writes down which announcements it hears, however often they are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use potluck_node::exchange::{Exchange, Speeds};
use potluck_node::home::Home;
use potluck_node::net::{self, Config, Event, Handle};
use potluck_node::store::Store;
use potluck_node::task::Tasks;
use potluck_protocol::announce;
use potluck_protocol::id::{AnnouncementId, BaseId};
use potluck_protocol::signed::PublicKey;
use tokio::runtime::Runtime;

use crate::crash::Outcome;
use crate::kit::Program;

/// It runs until it is dropped.
pub struct Observer {
    runtime: Runtime,
    net: Handle,
    tasks: Tasks,
    /// Compares catalogues: what gossip ignored because much came at once is heard all the same.
    _exchange: Exchange,
    address: String,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    heard: Mutex<Heard>,
    more: Condvar,
}

#[derive(Default)]
struct Heard {
    /// Everything, by who numbered it.
    numbers: BTreeMap<(PublicKey, u64), BTreeSet<AnnouncementId>>,
    manifests: BTreeSet<String>,
    missed: bool,
}

impl Observer {
    /// Connected to somebody, and following `tiny`, whose id that one's home knows.
    pub fn start(network: &str, program: &Program, home: &Path, bootstrap: &str) -> Outcome<Self> {
        let base: BaseId = program.ok(home, ["base", "show", "tiny"])["base"].as_str().ok_or("no base")?.parse()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Config { bootstrap: vec![bootstrap.parse()?], ..Config::loopback(network.parse()?) };
        let notes = Arc::new(Notes::default());
        let store = Store::open(&Home::open(home.with_file_name("observer"))?)?;
        let tasks = Tasks::default();
        let (net, exchange, address) = runtime.block_on(async {
            let (net, inbound) = net::start(config, Keypair::generate_ed25519()).await?;
            tokio::spawn(listen(net.events(), Arc::clone(&notes)));
            let exchange = Exchange::start(net.clone(), inbound, store, &tasks, Speeds::default()).await;
            net.subscribe(base).await?;
            let address = net.listen_addresses().await?.remove(0).to_string();
            Ok::<_, net::NetError>((net, exchange, address))
        })?;
        Ok(Self { runtime, net, tasks, _exchange: exchange, address, notes })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Until it has heard of a manifest.
    pub fn hears(&self, manifest: &str, patience: Duration) -> Outcome<()> {
        let (until, mut heard) = (Instant::now() + patience, self.notes.lock());
        while !heard.manifests.contains(manifest) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{manifest} was not heard of within {patience:?}").into());
            }
            heard = self.notes.more.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    pub fn nobody_is_banned(&self) -> Outcome<()> {
        let banned = self.net.banned();
        if banned.is_empty() { Ok(()) } else { Err(format!("the observer has banned {banned:?}").into()) }
    }

    /// Ends; how many announcements it has heard, if each number stands for one.
    pub fn end(&self) -> Outcome<u64> {
        self.runtime.block_on(async {
            self.net.shutdown().await;
            self.tasks.finish().await
        });
        let heard = self.notes.lock();
        if heard.missed {
            return Err("the observer has missed events".into());
        }
        match heard.numbers.iter().find(|(_, bodies)| bodies.len() > 1) {
            Some(((key, number), bodies)) => {
                Err(format!("{key:?} has given number {number} to {} announcements", bodies.len()).into())
            }
            None => Ok(heard.numbers.len() as u64),
        }
    }
}

impl Notes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(mut events: tokio::sync::broadcast::Receiver<Event>, notes: Arc<Notes>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match events.recv().await {
            Ok(Event::Heard(record)) => {
                let (body, mut heard) = (record.body(), notes.lock());
                heard.numbers.entry((body.publisher, body.sequence)).or_default().insert(announce::id(&record));
                heard.manifests.insert(body.manifest.to_string());
                notes.more.notify_all();
            }
            Err(RecvError::Lagged(_)) => notes.lock().missed = true,
            Err(RecvError::Closed) => return,
            Ok(_) => {}
        }
    }
}
