//! The daemon: a node on a network, its socket, and the tasks between them.
//!
//! Start: home and lock, store, identity, network, exchange, node, socket. Stop: the socket first, so that nothing
//! new begins; then the network; then every task is awaited.

mod notes;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use potluck_protocol::text::Name;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::ask::Answer;
use crate::api::proto::{Progress, Request};
use crate::api::server::{self, Server};
use crate::app::{self, Network, Node, unasked};
use crate::exchange::{Exchange, Speeds};
use crate::failure::{Failure, Kind, Outcome};
use crate::home::peers::Remembered;
use crate::home::{Layout, lists, swarm_key};
use crate::metrics::server::Server as Metrics;
use crate::net::discovery::Dht;
use crate::net::discovery::limits::TARGET;
use crate::scrape::Scrape;
use crate::store::{Options, Store};
use crate::task::{self, Tasks};
use crate::{config, net, signals};

/// How a daemon is on the network.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Dialled at the start, and again while they are not connected.
    pub bootstrap: Vec<Multiaddr>,
    /// The network that it takes part in.
    pub network: Name,
    /// Looks for peers on the local network.
    pub mdns: bool,
    /// The part that it takes in the DHT.
    pub dht: Dht,
    /// Peers that may connect, beside those of the home's `allow` file; if both are none, everybody may.
    pub allow: Vec<PeerId>,
    /// Where the metrics are read; off without.
    pub metrics: Option<SocketAddr>,
    /// Limits on what is sent and received.
    pub speeds: Speeds,
    /// How it is reached from outside.
    pub nat: net::nat::Settings,
    /// Limits on what it takes of the disk, and of what nobody here asked for.
    pub space: Space,
}

/// What a node may take of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Writes that would leave less free are refused; 0 sets no minimum.
    pub min_free_bytes: u64,
    /// Bytes a day that are fetched although nobody here chose them.
    pub unasked_per_day: u64,
}

impl Default for Space {
    fn default() -> Self {
        Self { min_free_bytes: 0, unasked_per_day: unasked::PER_DAY }
    }
}

/// A running daemon.
pub struct Daemon {
    node: Arc<Node>,
    handle: net::Handle,
    tasks: Tasks,
    stop: CancellationToken,
    root: std::path::PathBuf,
    metrics: Option<SocketAddr>,
}

/// What a daemon says when it is up.
pub struct Ready {
    /// Its name on the network.
    pub peer: PeerId,
    /// Where it listens, each with its peer id at the end.
    pub addresses: Vec<Multiaddr>,
    /// Where the metrics are read.
    pub metrics: Option<SocketAddr>,
}

impl Daemon {
    /// Brings a node onto its network. The home's lock keeps a second one away.
    pub async fn start(root: &Path, settings: Settings) -> Outcome<Self> {
        let options = Options { min_free_bytes: settings.space.min_free_bytes, ..Options::default() };
        let (home, store, identity) = app::open(root, options).await?;
        let remembered =
            Remembered::open(&home.layout().peers(), settings.network.clone(), config::seconds_since_1970());
        let begun = begun(&store).await?;
        let config = configured(home.layout(), &settings, &remembered, begun)?;
        let (handle, inbound) = net::start(config, identity.libp2p()).await?;
        let tasks = Tasks::default();
        let exchange = Exchange::start(handle.clone(), inbound, store.clone(), &tasks, settings.speeds).await;
        let keeping = notes::keep_peers(handle.clone(), remembered, home.layout().peers(), tasks.stop().clone());
        tasks.spawn("who is here", keeping);
        let stop = CancellationToken::new();
        let scrape = Scrape::new(&handle, &exchange, &store);
        let metrics = serve_metrics(settings.metrics, scrape, &tasks).await?;
        notes::restore_bans(&home.layout().bans(), &handle);
        let keeping = notes::keep_bans(handle.clone(), home.layout().bans(), tasks.stop().clone());
        tasks.spawn("bans on disk", keeping);
        let unasked = Arc::new(unasked::Budget::new(settings.space.unasked_per_day));
        let network = Network { name: settings.network, handle: handle.clone(), exchange, unasked };
        let node = Arc::new(Node::online(home, store, identity, network, stop.clone()));
        node.join().await?;
        tasks.spawn("channels", node.watch_channels(tasks.stop().clone()));
        Ok(Self { node, handle, tasks, stop, root: root.to_path_buf(), metrics })
    }

    /// What answers requests here.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Answers commands from now on.
    pub fn serve_socket(&mut self) -> Outcome<()> {
        let server = Server::bind(&self.root)?;
        let serving = server.run(Arc::clone(&self.node), self.tasks.clone(), self.tasks.stop().clone());
        self.tasks.spawn("local socket", serving);
        Ok(())
    }

    /// Where it listens.
    pub async fn ready(&self) -> Outcome<Ready> {
        let addresses = self.handle.listen_addresses().await?;
        Ok(Ready { peer: self.handle.peer_id(), addresses, metrics: self.metrics })
    }

    /// Until somebody says stop: a signal, a request, or, with `input`, the end of standard input.
    pub async fn until_stopped(&self, input: bool) {
        tokio::select! {
            biased;
            () = signals::requests().to_end.cancelled_owned() => {}
            () = self.stop.cancelled() => {}
            () = end_of_input(), if input => {}
        }
    }

    /// Long work of a worker process that is under way.
    pub fn at_work(&self) -> usize {
        self.node.at_work()
    }

    /// Ends everything in order.
    pub async fn stop(self) {
        self.tasks.stop().cancel();
        // Each keeps what it has done, however long that takes: a second Ctrl-C ends all at once.
        self.node.rest().await;
        self.handle.shutdown().await;
        if !self.tasks.finish().await {
            tracing::error!("some tasks did not end in time");
        }
    }
}

/// Where to listen: QUIC has no place for the key of a private network.
fn listening(wanted: &[Multiaddr], keyed: bool) -> Outcome<Vec<Multiaddr>> {
    let is_tcp = |address: &&Multiaddr| address.iter().any(|part| matches!(part, Protocol::Tcp(_)));
    let listen: Vec<Multiaddr> = wanted.iter().filter(|address| !keyed || is_tcp(address)).cloned().collect();
    if listen.is_empty() && !wanted.is_empty() {
        return Err(Failure::new(Kind::Usage, "a private network (swarm.key) listens on TCP only")
            .hint("give an address with --listen, e.g. /ip4/0.0.0.0/tcp/7740"));
    }
    Ok(listen)
}

/// The highest number that this key can have given before now: numbers follow the clock (see `app/publisher.rs`).
async fn begun(store: &Store) -> Outcome<u64> {
    let (store, clock) = (store.clone(), config::microseconds_since_1970());
    let used = task::blocking(move || store.sequence()).await.map_err(app::failures::crashed)?;
    Ok(used.max(clock))
}

/// What a person said on the command line and in the home's files, and who was here last time.
fn configured(layout: &Layout, settings: &Settings, remembered: &Remembered, begun: u64) -> Outcome<net::Config> {
    let mut bootstrap = settings.bootstrap.clone();
    for address in lists::bootstrap(&layout.bootstrap())? {
        if !bootstrap.contains(&address) {
            bootstrap.push(address);
        }
    }
    let listed = lists::allow(&layout.allow())?;
    let restricted = listed.is_some() || !settings.allow.is_empty();
    let allowed = settings.allow.iter().copied().chain(listed.into_iter().flatten());
    let key = swarm_key::open(&layout.swarm_key())?;
    Ok(net::Config {
        network: settings.network.clone(),
        listen: listening(&settings.listen, key.is_some())?,
        bootstrap,
        mdns: settings.mdns,
        nat: settings.nat.clone(),
        dht: settings.dht,
        target: TARGET,
        remembered: remembered.peers(),
        allow: restricted.then(|| allowed.collect()),
        pre_shared_key: key,
        begun,
    })
}

impl server::Node for Node {
    async fn run(
        &self,
        request: Request,
        progress: mpsc::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Outcome<Answer> {
        Self::run(self, request, progress, cancel).await
    }
}

/// Serves the metrics if that is asked for; returns where.
async fn serve_metrics(at: Option<SocketAddr>, scrape: Scrape, tasks: &Tasks) -> Outcome<Option<SocketAddr>> {
    let Some(at) = at else { return Ok(None) };
    let server = Metrics::bind(at).await.map_err(|error| {
        Failure::io(format!("serve metrics on {at}"), &error).hint("choose another port: --metrics 127.0.0.1:PORT")
    })?;
    let address = server.address();
    tasks.spawn("metrics", server.run(scrape, tasks.stop().clone()));
    Ok(Some(address))
}

async fn end_of_input() {
    // An error ends the input as well.
    let _ended = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
}
