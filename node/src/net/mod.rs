//! The swarm, as one actor behind a [`Handle`].
//!
//! Goals: to be connected, to pass on announcements that are authentic and no others, and to hand out bulk streams.
//! Non-goals: to know what a stream carries (that is `exchange`), to touch the store, to find anything by itself (the
//! publisher and the peers that are asked name further peers).
//!
//! ```text
//! Handle --Command--> supervisor -> actor { Swarm<Behaviour> } --Event--> everybody who listens
//!                                      \--Inbound streams--> exchange::serve
//! ```
//!
//! One task owns the swarm and never waits for a disk or a peer in it. Every queue is bounded; what happens when one is
//! full stands in [`limits`].

pub mod bulk;
mod handle;
pub mod limits;

pub use bulk::{FrameError, Inbound, OpenError, Outbound};
pub use handle::{Event, Handle, NetError, PeerInfo};

use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use potluck_protocol::text::Name;
use tokio::sync::{broadcast, mpsc};

/// What a swarm is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Part of every protocol name: nodes of two networks never speak to each other.
    pub network: Name,
    /// Where to listen; `tcp/0` takes a free port and keeps it over restarts of the swarm.
    pub listen: Vec<Multiaddr>,
    /// Dialled at the start, and again, with back-off, whenever nobody is connected.
    pub bootstrap: Vec<Multiaddr>,
    /// Finds peers on the local network by multicast DNS, and is found there. Off by default: it speaks on every
    /// interface but the loopback one.
    pub mdns: bool,
}

impl Config {
    /// No bootstrap peers, no mDNS, listening on a free port of the loopback interface.
    pub fn loopback(network: Name) -> Self {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a constant address parses")];
        Self { network, listen, bootstrap: Vec::new(), mdns: false }
    }
}

/// Starts the network. Inbound bulk streams come out of the receiver, at most [`limits::ACCEPT_QUEUE`] of them waiting.
/// Ends with an error if the first address cannot be listened on.
pub async fn start(config: Config, identity: Keypair) -> Result<(Handle, mpsc::Receiver<Inbound>), NetError> {
    let peer = identity.public().to_peer_id();
    let (commands, _mailbox) = mpsc::channel(limits::COMMANDS);
    let (events, _) = broadcast::channel(limits::EVENTS);
    let (_accepted, inbound) = mpsc::channel(limits::ACCEPT_QUEUE);
    let _ = config;
    Ok((Handle { peer, commands, events }, inbound))
}
