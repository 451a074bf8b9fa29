//! Dials on whose outcome something is said: bootstrap addresses, and addresses at which a twin of ours may be.

use std::collections::HashMap;

use libp2p::Multiaddr;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError, ListenError};
use tokio::time::Instant;

use super::super::bootstrap::{Health, health_of};
use super::super::limits::CONNECTION_TIMEOUT;
use super::super::twin::Sign;
use super::Actor;
use crate::addresses::without_peer;

/// What is on its way. As many as the swarm dials at once. // I12
#[derive(Debug, Default)]
pub struct Knocks {
    dialled: HashMap<ConnectionId, Knock>,
    /// How many connections have come to us so far.
    came: u64,
    /// When our own name answered last to a dial of ours.
    own_answered: Option<Instant>,
}

#[derive(Debug)]
struct Knock {
    address: Multiaddr,
    /// How many had come when it began.
    came: u64,
}

impl Knocks {
    /// A connection has come: it may be a twin's.
    pub fn somebody_comes(&mut self) {
        self.came += 1;
    }
}

impl Actor<'_> {
    /// Dials, and takes down what comes of it.
    pub(super) fn knock(&mut self, opts: DialOpts, address: Multiaddr) {
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                let came = self.knocks.came;
                self.knocks.dialled.insert(connection, Knock { address, came });
            }
            Err(error) => self.note_failure(&address, &error),
        }
    }

    pub(super) fn knock_answered(&mut self, connection: ConnectionId) {
        if let Some(knock) = self.knocks.dialled.remove(&connection) {
            self.state.bootstrap.note(&knock.address, Health::Works);
        }
    }

    pub(super) fn knock_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let own = *self.swarm.local_peer_id();
        let is_own = match error {
            DialError::LocalPeerId { .. } => true,
            DialError::WrongPeerId { obtained, .. } => *obtained == own,
            _ => false,
        };
        if is_own {
            self.knocks.own_answered = Some(Instant::now());
        }
        let Some(knock) = self.knocks.dialled.remove(&connection) else { return };
        // Our own key answered. If it was us, somebody has come to us since the dial began; if nobody has, it is a twin.
        if is_own && knock.came == self.knocks.came {
            self.state.twin.record(Sign::Answers(without_peer(&knock.address)));
        }
        self.note_failure(&knock.address, error);
    }

    /// Our own key came to us: if nothing of ours is on its way, and was not lately, it is a twin.
    pub(super) fn came_and_failed(&mut self, error: &ListenError) {
        let ListenError::LocalPeerId { .. } = error else { return };
        let dialling = self.swarm.network_info().connection_counters().num_pending_outgoing() > 0;
        let lately = self.knocks.own_answered.is_some_and(|at| at.elapsed() < CONNECTION_TIMEOUT);
        if !dialling && !lately {
            self.state.twin.record(Sign::Comes);
        }
    }

    /// Somebody says that our own name is at these addresses. Where we do not listen ourselves, we look.
    pub(in super::super) fn look_for_twin(&mut self, addresses: Vec<Multiaddr>) {
        let ours: Vec<Multiaddr> =
            self.swarm.listeners().chain(self.swarm.external_addresses()).map(without_peer).collect();
        let elsewhere = addresses.iter().map(without_peer).filter(|address| !ours.contains(address));
        for address in elsewhere.collect::<Vec<_>>() {
            // Nobody is expected there by name: with our own it would not be dialled.
            self.knock(DialOpts::unknown_peer_id().address(address.clone()).build(), address);
        }
    }

    fn note_failure(&mut self, address: &Multiaddr, error: &DialError) {
        let (own, keyed) = (*self.swarm.local_peer_id(), self.state.config.pre_shared_key.is_some());
        if let Some(health) = health_of(error, own, keyed) {
            self.state.bootstrap.note(address, health);
        }
    }
}
