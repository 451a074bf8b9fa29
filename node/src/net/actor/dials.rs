//! Who is dialled, and who waits for it.

use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::super::handle::NetError;
use super::super::{limits, private};
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
        let reason = private::explain(error, self.seat.config.pre_shared_key.is_some());
        let peer = peer.map_or_else(|| "an address".to_owned(), |peer| peer.to_string());
        NetError::Dial { peer, reason }
    }

    pub(super) fn redial(&mut self) {
        self.redial_at = None;
        if self.seat.peers.is_alone() {
            self.redial_pause = (self.redial_pause * 2).min(limits::REDIAL_MAX);
            self.hint_remembered();
            self.dial_bootstrap();
        }
    }

    /// Dials every bootstrap address, and comes back later if nobody is connected then.
    pub(super) fn dial_bootstrap(&mut self) {
        if self.seat.config.bootstrap.is_empty() && self.seat.config.remembered.is_empty() {
            return;
        }
        for address in self.seat.config.bootstrap.clone() {
            if let Err(error) = self.swarm.dial(DialOpts::from(address.clone())) {
                tracing::debug!(%address, %error, "a bootstrap peer cannot be dialled");
            }
        }
        self.redial_at = Some(Instant::now() + self.redial_pause);
    }
}
