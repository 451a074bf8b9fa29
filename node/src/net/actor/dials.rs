//! Who is dialled, and who waits for it.

use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::super::bootstrap::Health;
use super::super::error::NetError;
use super::super::private;
use super::{Actor, Back, answer};

impl Actor<'_> {
    /// Dials where a peer might be; nobody waits for it.
    pub(super) fn dial_hint(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
        if let Err(error) = self.swarm.dial(opts.addresses(addresses).build()) {
            tracing::debug!(%peer, %error, "a peer is not dialled");
        }
    }

    pub(super) fn dial_peer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, back: Back<()>) {
        if self.swarm.is_connected(&peer) {
            return answer(back, Ok(()));
        }
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addresses);
        self.dial(opts.build(), back);
    }

    pub(super) fn dial(&mut self, opts: DialOpts, back: Back<()>) {
        let (connection, peer) = (opts.connection_id(), opts.get_peer_id());
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.dials.insert(connection, back);
            }
            Err(error) => answer(back, Err(self.dial_error(peer, &error))),
        }
    }

    pub(super) fn dial_error(&self, peer: Option<PeerId>, error: &DialError) -> NetError {
        let reason = private::explain(error, self.state.config.pre_shared_key.is_some());
        let peer = peer.map_or_else(|| "an address".to_owned(), |peer| peer.to_string());
        NetError::Dial { peer, reason }
    }

    /// Dials every bootstrap address; a new swarm has nobody.
    pub(super) fn dial_first(&mut self) {
        self.dial_bootstrap(self.state.config.bootstrap.clone());
        self.redial_later();
    }

    /// When somebody may have to be dialled again.
    pub(super) fn redial_wake(&self) -> Option<Instant> {
        self.alone.at().into_iter().chain(self.bootstrap.at()).min()
    }

    /// Dials again whom somebody named in the settings and who is not here: soon and often while nobody is, and now and
    /// then in company. Two parts of a network that lost sight of each other have enough peers each, and nobody in
    /// either names anybody of the other: where both began is where they meet again.
    pub(super) fn redial(&mut self) {
        let now = Instant::now();
        self.note_who_is_here();
        let (alone, away) = (self.state.peers.is_alone(), self.bootstrap_away());
        if self.alone.take(now) && alone {
            self.hint_remembered();
            self.dial_bootstrap(away);
        } else if self.bootstrap.take(now) && !alone {
            if away.is_empty() {
                self.bootstrap.rest();
            }
            self.dial_bootstrap(away);
        }
        self.redial_later();
    }

    /// Comes back if somebody is missing.
    pub(super) fn redial_later(&mut self) {
        let now = Instant::now();
        let somewhere = !self.state.config.bootstrap.is_empty() || !self.state.config.remembered.is_empty();
        if somewhere && self.state.peers.is_alone() {
            self.alone.later(now);
        }
        if !self.bootstrap_away().is_empty() {
            self.bootstrap.later(now);
        }
    }

    fn dial_bootstrap(&mut self, addresses: Vec<Multiaddr>) {
        for address in addresses {
            self.knock(DialOpts::from(address.clone()), address);
        }
    }

    /// A bootstrap peer that came by itself is reached as well as one that was dialled.
    pub(super) fn note_who_is_here(&mut self) {
        for address in &self.state.config.bootstrap {
            if self.state.peers.is_here(address) {
                self.state.bootstrap.note(address, Health::Works);
            }
        }
    }

    /// The bootstrap addresses at which nobody who is connected is known to be.
    fn bootstrap_away(&self) -> Vec<Multiaddr> {
        let peers = &self.state.peers;
        self.state.config.bootstrap.iter().filter(|address| !peers.is_here(address)).cloned().collect()
    }
}
