//! What outlives a panic of the swarm: identity, mailbox, addresses, what is followed and known.

use std::collections::VecDeque;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::metrics::Registry;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm, relay};
use potluck_protocol::id::BaseId;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::announcements::Announcements;
use super::behaviour::Behaviour;
use super::bootstrap::Bootstrap;
use super::bulk::Inbound;
use super::discovery::Discovery;
use super::error::NetError;
use super::guard::Guard;
use super::handle::{Command, Event};
use super::peers::Peers;
use super::twin::Twin;
use super::{Config, limits, port, transport};
use crate::addresses::without_peer;
use crate::lock;
use crate::metrics::page::Life;
use crate::net::counters::Queue;

/// How long a listener may take to say where it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The actor's lasting state. A panic may have left any part of it one step behind; no part relies on another's step.
pub struct NetState {
    /// Free ports in `listen` are replaced by the ones that were got.
    pub config: Config,
    /// How it stands with the bootstrap addresses.
    pub bootstrap: Bootstrap,
    /// Signs of another process with this node's key.
    pub twin: Twin,
    /// The node's key.
    pub identity: Keypair,
    /// What the handles ask.
    pub mailbox: mpsc::Receiver<Command>,
    /// What the handles are told.
    pub events: broadcast::Sender<Event>,
    /// Inbound streams on their way to the exchange.
    pub accepted: mpsc::Sender<Inbound>,
    /// Ends the network.
    pub stop: CancellationToken,
    /// The bases whose announcements are followed.
    pub bases: Vec<BaseId>,
    /// What is known to be announced.
    pub announcements: Announcements,
    /// Who is connected, and where peers were.
    pub peers: Peers,
    /// Peers that were connected when the swarm panicked.
    pub reconnect: Vec<PeerId>,
    /// What is provided, and whom to dial.
    pub discovery: Discovery,
    /// Where this node listens, without its name.
    pub listening: Vec<Multiaddr>,
    /// Own announcements that wait for a listener, by their base.
    pub outbox: VecDeque<(BaseId, Vec<u8>)>,
    /// The zero of [`Self::now_ms`].
    pub started: Instant,
    /// Bans, and what is counted.
    pub guard: Guard,
    /// What libp2p counts in this life of the swarm.
    pub life: Life,
    /// Its recorder of events.
    pub recorder: Option<libp2p::metrics::Metrics>,
}

impl NetState {
    /// Nobody listening is no error.
    pub fn emit(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Milliseconds since the start.
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Where we listen, with our name.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        let peer = self.identity.public().to_peer_id();
        self.listening.iter().map(|address| address.clone().with(Protocol::P2p(peer))).collect()
    }

    /// The swarm listens at an address; told once for each.
    pub fn heard_listen_address(&mut self, address: Multiaddr) {
        let address = without_peer(&address);
        if !self.listening.contains(&address) {
            self.listening.push(address.clone());
            self.emit(Event::Listening(address));
        }
    }

    /// Keeps an announcement for whoever listens next. // I12
    pub fn keep_for_later(&mut self, base: BaseId, bytes: Vec<u8>) {
        if self.outbox.len() >= limits::OUTBOX {
            self.outbox.pop_front();
            self.guard.metrics().dropped.inc(Queue::Outbox);
        }
        self.outbox.push_back((base, bytes));
    }

    /// The announcements of a base that waited for a listener.
    pub fn take_kept(&mut self, base: BaseId) -> Vec<Vec<u8>> {
        let (taken, kept) = self.outbox.drain(..).partition::<VecDeque<_>, _>(|(other, _)| *other == base);
        self.outbox = kept;
        taken.into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// A swarm that listens everywhere it should. The ports got are kept for the next one.
    pub async fn swarm(&mut self) -> Result<Swarm<Behaviour>, NetError> {
        let (through, relayed) = relay::client::new(self.identity.public().to_peer_id());
        let behaviour = Behaviour::new(&self.config, &self.identity, self.accepted.clone(), &self.guard, relayed)?;
        let mut registry = Registry::default();
        let key = self.config.pre_shared_key;
        let ways = transport::Ways { key, names: self.config.believed_names(), relayed: through };
        let mut swarm = transport::swarm(&self.identity, ways, behaviour, &self.guard, &mut registry)?;
        self.recorder = Some(libp2p::metrics::Metrics::new(&mut registry));
        *lock::lock(&self.life) = registry;
        self.listening.clear();
        for index in 0..self.config.listen.len() {
            let wanted = self.config.listen[index].clone();
            let got = listen(&mut swarm, wanted.clone()).await?;
            self.config.listen[index] = with_port_of(wanted, &got);
            self.heard_listen_address(got);
        }
        Ok(swarm)
    }
}

/// Listens and waits for the first address.
async fn listen(swarm: &mut Swarm<Behaviour>, address: Multiaddr) -> Result<Multiaddr, NetError> {
    let failed = |reason: String| NetError::Listen { address: address.clone(), reason };
    port::check_free(&address).map_err(|error| failed(port::reason(&error)))?;
    let wanted = swarm.listen_on(address.clone()).map_err(|error| failed(error.to_string()))?;
    let first = async {
        use futures::StreamExt;
        use libp2p::swarm::SwarmEvent;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == wanted => return Ok(address),
                SwarmEvent::ListenerError { listener_id, error } if listener_id == wanted => return Err(error),
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } if listener_id == wanted => {
                    return Err(error);
                }
                // Nothing is dialled yet; who connects this early is met again through identify.
                _ => {}
            }
        }
    };
    match tokio::time::timeout(LISTEN_TIMEOUT, first).await {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no address within {} s", LISTEN_TIMEOUT.as_secs()))),
    }
}

/// `wanted` with the port of `got` in place of port 0.
fn with_port_of(wanted: Multiaddr, got: &Multiaddr) -> Multiaddr {
    let port = got.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    let replace = |part| match (part, port) {
        (Protocol::Tcp(0), Some(port)) => Protocol::Tcp(port),
        (Protocol::Udp(0), Some(port)) => Protocol::Udp(port),
        (part, _) => part,
    };
    wanted.iter().map(replace).collect()
}
