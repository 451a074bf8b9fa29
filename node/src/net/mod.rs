//! The swarm, as one actor behind a [`Handle`].
//!
//! Goals: to be connected, to find peers and providers, to pass on announcements that are authentic and no others, and to
//! hand out bulk streams. Non-goals: to know what a stream carries (that is `exchange`), to touch the store.
//!
//! ```text
//! Handle --Command--> supervisor -> actor { Swarm<Behaviour> } --Event--> everybody who listens
//!                                      \--Inbound streams--> exchange::serve
//! ```
//!
//! One task owns the swarm and never waits for a disk or a peer in it. Every queue is bounded; what happens when one is
//! full stands in [`limits`].

mod actor;
mod allowances;
pub mod announcements;
mod behaviour;
mod bootstrap;
pub mod bulk;
pub mod counters;
pub mod discovery;
mod error;
pub mod forwarders;
mod fresh_port;
mod gossip;
pub(crate) mod guard;
mod handle;
pub mod limits;
pub(crate) mod misdeed;
mod names;
pub mod nat;
mod paced;
mod peers;
mod port;
pub mod private;
mod state;
#[cfg(feature = "tls")]
mod security;
mod supervisor;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod twin;

pub use bootstrap::Health;
pub use bulk::{Answers, Asker, FrameError, Inbound, OpenError, Outbound, Replier, Requests};
pub use error::NetError;
pub use guard::{Ban, Bans, PeerGroup};
pub use handle::{Event, Handle, Interest, PeerInfo};
pub use misdeed::Misdeed;
pub use twin::{Sign, Twin, UNSURE};

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::pnet::PreSharedKey;
use libp2p::{Multiaddr, PeerId};
use potluck_protocol::id::Digest;
use potluck_protocol::rate_limit::TokenBucket;
use potluck_protocol::signed::PublicKey;
use potluck_protocol::text::Name;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::addresses::AddressScope;
use announcements::Announcements;
use bootstrap::Bootstrap;
use discovery::{Dht, Discovery};
use guard::Guard;
use peers::Peers;
use state::NetState;

/// What a swarm is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Part of every protocol name: nodes of two networks never speak to each other.
    pub network: Name,
    /// Where to listen; `tcp/0` takes a free port and keeps it over restarts of the swarm.
    pub listen: Vec<Multiaddr>,
    /// Dialled at the start, and again, with back-off, while they are not connected: more often when nobody is.
    pub bootstrap: Vec<Multiaddr>,
    /// Finds peers on the local network by multicast DNS, and is found there. Off by default: it speaks on every
    /// interface but the loopback one.
    pub mdns: bool,
    /// The part that is taken in the DHT.
    pub dht: Dht,
    /// Peers that are wanted: while fewer are here others are looked for, among those that somebody has named.
    pub target: usize,
    /// Peers that were connected when this node last ran, dialled while peers are wanting.
    pub remembered: Vec<discovery::Named>,
    /// The only peers that may connect or are dialled; `None`: everybody.
    pub allow: Option<Vec<PeerId>>,
    /// Of a private network: without it nobody gets as far as a handshake.
    pub pre_shared_key: Option<PreSharedKey>,
    /// How it is reached from outside.
    pub nat: nat::Settings,
    /// The highest number that a process before this one can have given to an announcement by this key: a higher one that
    /// comes from outside is a twin's.
    pub begun: u64,
}

impl Config {
    /// Listens on a free port of the loopback interface and looks for nobody: connected to whom it is told to.
    pub fn loopback(network: Name) -> Self {
        let listen = vec![Multiaddr::from(Ipv4Addr::LOCALHOST).with(Protocol::Tcp(0))];
        Self {
            network,
            listen,
            bootstrap: Vec::new(),
            mdns: false,
            nat: nat::Settings::default(),
            dht: Dht::Off,
            target: 0,
            remembered: Vec::new(),
            allow: None,
            pre_shared_key: None,
            begun: u64::MAX,
        }
    }

    /// Whose names may lead where.
    fn believed_names(&self) -> names::Believed {
        names::Believed { nearest: self.nearest(), typed: self.bootstrap.clone() }
    }

    /// The nearest addresses that the DHT deals in, and that names of others may lead to. In a network of people who know each other, and on a node that
    /// listens on local addresses only, these are all; else only such as the whole world can reach.
    fn nearest(&self) -> AddressScope {
        let local = |address| AddressScope::of(address).is_some_and(|scope| scope < AddressScope::World);
        let nearby = !self.listen.is_empty() && self.listen.iter().all(local);
        let private = self.allow.is_some() || self.pre_shared_key.is_some();
        if nearby || private { AddressScope::Machine } else { AddressScope::World }
    }
}

/// Starts the network; returns when it listens. Inbound bulk streams come out of the receiver, at most
/// [`limits::ACCEPT_QUEUE`] of them waiting.
pub async fn start(config: Config, identity: Keypair) -> Result<(Handle, mpsc::Receiver<Inbound>), NetError> {
    let (commands, mailbox) = mpsc::channel(limits::COMMANDS);
    let (events, _) = broadcast::channel(limits::EVENTS);
    let (accepted, inbound) = mpsc::channel(limits::ACCEPT_QUEUE);
    let stop = CancellationToken::new();
    let key = identity.public().try_into_ed25519().map_err(|error| NetError::Setup(error.to_string()))?;
    let own = PublicKey(Digest(key.to_bytes()));
    let twin = Twin::new(config.begun);
    let announcements = Announcements::new(own, twin.clone());
    let known = announcements.known.clone();
    let peer = identity.public().to_peer_id();
    let guard = Guard::new(counters::NetCounters::default());
    let life = crate::metrics::page::Life::default();
    let handle = Handle {
        peer,
        target: config.target,
        commands,
        events: events.clone(),
        known,
        stop: stop.clone(),
        guard: guard.clone(),
        life: life.clone(),
        own,
        twin: twin.clone(),
        expects: config.mdns || !(config.bootstrap.is_empty() && config.remembered.is_empty()),
    };
    let state = NetState {
        bootstrap: Bootstrap::new(&config.bootstrap),
        twin,
        config,
        identity,
        mailbox,
        events,
        accepted,
        stop,
        bases: Vec::new(),
        announcements,
        peers: Peers::default(),
        reconnect: Vec::new(),
        listening: Vec::new(),
        discovery: Discovery::default(),
        outbox: VecDeque::new(),
        said: TokenBucket::new(limits::SAID),
        started: Instant::now(),
        guard,
        life,
        recorder: None,
    };
    let (ready, up) = oneshot::channel();
    tokio::spawn(supervisor::run(state, ready));
    up.await.map_err(|_| NetError::Stopped)??;
    Ok((handle, inbound))
}
