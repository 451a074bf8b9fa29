//! What the swarm does, and under which names. Every protocol name holds the network's, but for those that libp2p fixes
//! (identify, ping and NAT traversal); there the identify protocol version tells networks apart.

use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, gossipsub, identify, mdns, ping, relay};
use potluck_protocol::text::Name;
use tokio::sync::mpsc;

use super::bulk::{self, Inbound};
use super::discovery::{self, Dht};
use super::error::NetError;
use super::guard::{self, Guard};
use super::{Config, gossip, limits, nat};

/// The parts, polled in this order.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// A peer that is not on the list is closed before anything else is done with it.
    allowed: Toggle<allow_block_list::Behaviour<AllowedPeers>>,
    /// Early, so that a connection too many is denied before anything is set up for it.
    limits: connection_limits::Behaviour,
    /// Who may come in and who has to leave.
    pub guard: guard::Behaviour,
    /// Who is at the other end, and of which network.
    pub identify: identify::Behaviour,
    /// Keeps connections alive and notices dead ones.
    pub ping: ping::Behaviour,
    /// Announcements.
    pub gossipsub: gossipsub::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    /// Who provides what.
    pub dht: Toggle<discovery::Behaviour>,
    /// Streams of requests and shards.
    pub bulk: bulk::Behaviour,
    /// Being reached from outside.
    pub nat: nat::Behaviour,
}

/// What identify says of us first: peers that say something else belong to another network.
pub fn protocol_version(network: &Name) -> String {
    format!("/potluck/{network}/1")
}

impl Behaviour {
    /// Inbound bulk streams go to `accepted`; `relayed` belongs to the relay transport of the same swarm.
    pub fn new(
        config: &Config,
        identity: &Keypair,
        accepted: mpsc::Sender<Inbound>,
        guard: &Guard,
        relayed: relay::client::Behaviour,
    ) -> Result<Self, NetError> {
        let setup = |what: &str, error: String| NetError::Setup(format!("{what}: {error}"));
        let bulk = StreamProtocol::try_from_owned(format!("/potluck/{}/bulk/1", config.network))
            .map_err(|error| setup("bulk", error.to_string()))?;
        let mdns = match config.mdns {
            true => Some(mdns(identity).map_err(|error| setup("mdns", error.to_string()))?),
            false => None,
        };
        let identify = identify::Config::new(protocol_version(&config.network), identity.public())
            .with_agent_version(format!("potluck/{}", env!("CARGO_PKG_VERSION")))
            .with_push_listen_addr_updates(true);
        Ok(Self {
            allowed: config.allow.as_deref().map(allow_list).into(),
            limits: connection_limits::Behaviour::new(connection_limits(config)),
            guard: guard::Behaviour::new(guard.clone(), limits::ESTABLISHED_IN + places(config)),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            gossipsub: gossip::behaviour(&config.network, identity).map_err(|error| setup("gossipsub", error))?,
            mdns: mdns.into(),
            dht: dht(config, identity).map_err(|error| setup("kad", error))?.into(),
            bulk: bulk::Behaviour::new(bulk, accepted, guard.metrics().clone()),
            nat: nat::Behaviour::new(&config.nat, identity.public().to_peer_id(), relayed),
        })
    }
}

fn allow_list(peers: &[PeerId]) -> allow_block_list::Behaviour<AllowedPeers> {
    let mut allowed = allow_block_list::Behaviour::default();
    for peer in peers {
        allowed.allow_peer(*peer);
    }
    allowed
}

fn dht(config: &Config, identity: &Keypair) -> Result<Option<discovery::Behaviour>, String> {
    if config.dht == Dht::Off {
        return Ok(None);
    }
    let (local, protocol) = (identity.public().to_peer_id(), discovery::protocol(&config.network)?);
    Ok(Some(discovery::Behaviour::new(local, protocol, config.dht, config.nearest())))
}

/// A relay keeps a connection for every place that it gives.
fn places(config: &Config) -> usize {
    config.nat.relay.as_ref().map_or(0, |relay| relay.reservations)
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    ConnectionLimits::default()
        // The gate bounds the handshakes of those who come.
        .with_max_pending_outgoing(Some(limits::PENDING_OUT))
        .with_max_established_incoming(Some(
            (limits::ESTABLISHED_IN + places(config) + limits::ESTABLISHED_SURPLUS) as u32,
        ))
        .with_max_established_outgoing(Some(limits::ESTABLISHED_OUT))
        .with_max_established_per_peer(Some(limits::ESTABLISHED_PER_PEER))
}

fn mdns(identity: &Keypair) -> std::io::Result<mdns::tokio::Behaviour> {
    // More often than the default of five minutes: on a local network people watch.
    let config = mdns::Config { query_interval: Duration::from_secs(60), ..Default::default() };
    mdns::tokio::Behaviour::new(config, identity.public().to_peer_id())
}
