//! The parts of libp2p that lead through NATs, as one behaviour of the swarm.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, autonat, dcutr, relay, upnp};

use super::limits::{PER_IP, PER_PEER};
use super::{RelayLimits, Settings, candidates};

/// The names of these protocols are fixed by libp2p; networks are told apart by identify.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// The addresses that the prober is asked about.
    pub candidates: candidates::Behaviour,
    /// Listens through relays, and dials through them.
    relayed: relay::client::Behaviour,
    /// Asks whether our addresses can be reached: each once, what was not answered again after 5 s.
    prober: autonat::v2::client::Behaviour,
    /// Both sides dial each other at once, agreed through a relayed connection.
    punch: dcutr::Behaviour,
    upnp: Toggle<upnp::tokio::Behaviour>,
    /// Relays for others.
    relay: Toggle<relay::Behaviour>,
    /// Probes for others.
    probed: Toggle<autonat::v2::server::Behaviour>,
}

impl Behaviour {
    /// `relayed` belongs to the relay transport of the same swarm.
    pub fn new(settings: &Settings, local: PeerId, relayed: relay::client::Behaviour) -> Self {
        let relay = settings.relay.as_ref().map(|limits| relay_server(local, limits));
        Self {
            candidates: candidates::Behaviour::default(),
            relayed,
            prober: autonat::v2::client::Behaviour::default(),
            punch: dcutr::Behaviour::new(local),
            upnp: settings.upnp.then(upnp::tokio::Behaviour::default).into(),
            probed: relay.is_some().then(autonat::v2::server::Behaviour::default).into(),
            relay: relay.into(),
        }
    }
}

fn relay_server(local: PeerId, limits: &RelayLimits) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: limits.reservations,
        // Of a peer whose old connection is not known to be dead yet. (One more than it says is let through.)
        max_reservations_per_peer: 1,
        reservation_duration: limits.reservation,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits,
        max_circuits_per_peer: limits.circuits_per_peer.saturating_sub(1),
        max_circuit_duration: limits.circuit,
        max_circuit_bytes: limits.circuit_bytes,
        circuit_src_rate_limiters: Vec::new(),
    };
    let (of_peer, of_ip) = (rate(PER_PEER), rate(PER_IP));
    let config = config
        .reservation_rate_per_peer(of_peer.0, of_peer.1)
        .reservation_rate_per_ip(of_ip.0, of_ip.1)
        .circuit_src_per_peer(of_peer.0, of_peer.1)
        .circuit_src_per_ip(of_ip.0, of_ip.1);
    let mut relay = relay::Behaviour::new(local, config);
    // Whoever asked for a relay gets one, also where nobody is there yet who could confirm its addresses.
    relay.set_status(Some(relay::Status::Enable));
    relay
}

fn rate((limit, interval): (u32, Duration)) -> (NonZeroU32, Duration) {
    (NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN), interval)
}
