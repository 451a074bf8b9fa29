//! Being reached from outside: what is known of our own addresses, relays, and the way from a relayed connection to a
//! direct one.
//!
//! Goals: a node behind a NAT is found under addresses through relays, at most [`limits::RESERVATIONS`] at a time, and a
//! connection made through one is replaced by a direct one wherever the two NATs allow it.
//! Non-goals: to find relays (peers that offer to relay are met like any other), to move anything but control messages
//! and manifests through one.
//!
//! ```text
//! identify: "I probe"        -> ReachabilityEvidence -> public | private | unknown
//! identify: "I relay"        -> Relays -> listen through it while private, again when it ends
//! inbound through a relay    -> dial what the peer states; DCUtR dials what NATs let through
//! direct beside relayed      -> Routes -> the relayed one is closed after a moment
//! ```
//!
//! The three are pure: events and the time come in as arguments. `actor::reach` ties them to the swarm.

mod behaviour;
mod candidates;
pub mod limits;
mod reachability;
mod relays;
mod routes;
#[cfg(test)]
mod tests;

pub(super) use behaviour::{Behaviour, BehaviourEvent};
pub use limits::RelayLimits;
pub use reachability::Reachability;

use libp2p::{Multiaddr, PeerId};

use reachability::ReachabilityEvidence;
use relays::Relays;
use routes::Routes;

/// What a person says of how a node is reached.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Addresses under which others reach this node, as whoever forwarded a port knows them.
    pub external: Vec<Multiaddr>,
    /// Asks the router for a port by UPnP. Speaks on every interface but the loopback one.
    pub upnp: bool,
    /// Relays for others within these bounds, and tells them whether they can be reached.
    pub relay: Option<RelayLimits>,
    /// This node is known to be unreachable: it takes relays at once instead of waiting for a probe.
    pub behind_nat: bool,
}

/// How this node is reached.
#[derive(Clone, Debug)]
pub struct ReachInfo {
    /// Whether others reach it without a relay.
    pub reachability: Reachability,
    /// Confirmed: by a probe, by the router, or by whoever started the node. None leads through a relay.
    pub external: Vec<Multiaddr>,
    /// Relays that hold a place for us.
    pub relays: Vec<PeerId>,
    /// It relays for others.
    pub relaying: bool,
}

/// What one life of the swarm knows of its ways.
pub struct State {
    pub(super) evidence: ReachabilityEvidence,
    pub(super) relays: Relays,
    pub(super) routes: Routes,
    pub(super) relaying: bool,
    /// What was said last of our reachability.
    pub(super) told: Reachability,
}

impl State {
    /// Of a swarm that begins: nothing is known but what a person said.
    pub fn new(settings: &Settings) -> Self {
        let evidence = ReachabilityEvidence::new(settings.behind_nat);
        Self {
            evidence,
            relays: Relays::default(),
            routes: Routes::default(),
            relaying: settings.relay.is_some(),
            told: Reachability::Unknown,
        }
    }

    /// No connection but through relays is not direct.
    pub fn is_direct(&self, peer: &PeerId) -> bool {
        self.routes.is_direct(peer)
    }

    /// What is known now.
    pub fn info(&self, now: tokio::time::Instant) -> ReachInfo {
        ReachInfo {
            reachability: self.evidence.state(now),
            external: self.evidence.confirmed().to_vec(),
            relays: self.relays.held(),
            relaying: self.relaying,
        }
    }
}
