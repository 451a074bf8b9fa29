//! The one task that owns the swarm. It routes and never waits: no disk, no peer, no lock inside the loop.

mod again;
mod dials;
mod discovery;
mod pointers;
mod reach;
mod repeats;
mod topics;
mod twin;
mod watch;

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt;
use libp2p::gossipsub::TopicHash;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, mdns};
use potluck_protocol::id::BaseId;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, interval, sleep_until};

use super::behaviour::{Behaviour, BehaviourEvent, protocol_version};
use super::discovery::Named;
use super::error::NetError;
use super::forwarders::Forwarders;
#[cfg(test)]
use super::gossip;
use super::handle::{Command, Event};
use super::state::NetState;
use super::{limits, nat, private};
use crate::addresses::is_relayed;
use again::Again;
use repeats::Repeats;

type Back<T> = oneshot::Sender<Result<T, NetError>>;

/// One life of the swarm. What must outlive a panic is in the [`NetState`].
pub struct Actor<'a> {
    pub(super) state: &'a mut NetState,
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) nat: nat::State,
    topics: HashMap<TopicHash, BaseId>,
    /// Who waits for a dial; entries go when it succeeds or fails.
    dials: HashMap<ConnectionId, Back<()>>,
    /// While nobody is connected.
    alone: Again,
    /// While some bootstrap peer is not.
    bootstrap: Again,
    /// What each forwarder may still bring that is ignored.
    forwarders: Forwarders,
    watch: Interval,
    /// Dials on whose outcome something is said.
    knocks: twin::Knocks,
    /// The listener's failures.
    failures: Repeats,
}

impl<'a> Actor<'a> {
    /// Follows the bases that were followed before, and dials the bootstrap peers and those who were connected.
    pub fn new(state: &'a mut NetState, swarm: Swarm<Behaviour>) -> Self {
        let nat = nat::State::new(&state.config.nat);
        let mut actor = Self {
            state,
            swarm,
            nat,
            topics: HashMap::new(),
            dials: HashMap::new(),
            alone: Again::new(limits::REDIAL_FIRST, limits::REDIAL_MAX),
            bootstrap: Again::new(limits::BOOTSTRAP_FIRST, limits::BOOTSTRAP_MAX),
            forwarders: Forwarders::default(),
            watch: interval(limits::WATCH),
            knocks: twin::Knocks::default(),
            failures: Repeats::default(),
        };
        actor.nat_start();
        for base in actor.state.bases.clone() {
            if let Err(error) = actor.join(base) {
                tracing::error!(%error, ?base, "a base that was followed before cannot be followed");
            }
        }
        actor.begin_discovery();
        actor.dial_first();
        for peer in std::mem::take(&mut actor.state.reconnect) {
            let addresses = actor.state.peers.addresses(&peer);
            actor.dial_hint(peer, addresses);
        }
        actor
    }

    /// Until the stop, or the last handle is gone.
    pub async fn run(mut self) {
        loop {
            let (redial, hints, ways) = (self.redial_wake(), self.hints_wake(), self.nat_next());
            tokio::select! {
                biased;
                () = self.state.stop.cancelled() => return,
                command = self.state.mailbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = sleep_until(redial.unwrap_or_else(Instant::now)), if redial.is_some() => self.redial(),
                () = sleep_until(hints.unwrap_or_else(Instant::now)), if hints.is_some() => self.dial_hints(),
                _ = self.watch.tick() => self.watch(),
                () = sleep_until(ways.unwrap_or_else(Instant::now)), if ways.is_some() => self.nat_due(),
                event = self.swarm.select_next_some() => self.event(event),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::ListenAddresses(back) => answer(back, self.state.listen_addresses()),
            Command::Peers(back) => {
                let (nat, bootstrap) = (&self.nat, &self.state.config.bootstrap);
                answer(back, self.state.peers.infos(|peer| nat.is_direct(peer), bootstrap));
            }
            Command::Bootstrap(back) => {
                self.note_who_is_here();
                answer(back, self.state.bootstrap.all().to_vec());
            }
            Command::Addresses(peers, back) => {
                answer(back, discovery::placed(peers, |peer| self.state.peers.addresses(peer)).collect());
            }
            Command::Subscribe(base, back) => answer(back, self.subscribe(base)),
            Command::BasesOfOthers(back) => answer(back, self.bases_of_others()),
            Command::Announce(announcement, back) => answer(back, self.announce(*announcement)),
            Command::Open(peer, way, back) => self.swarm.behaviour_mut().bulk.open(peer, way, back),
            Command::Reach(back) => answer(back, self.nat.info(Instant::now())),
            Command::Dial(peer, addresses, back) => self.dial_peer(peer, addresses, back),
            Command::DialAddress(address, back) => self.dial(DialOpts::from(address), back),
            Command::Disconnect(peer) => {
                // Not connected is what was wanted.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::Discovery(ask) => self.handle_discovery(ask),
            Command::Report(peer, misdeed) => self.swarm.behaviour_mut().guard.report(peer, misdeed),
            #[cfg(test)]
            Command::Panic => panic!("a test asked for it"),
            #[cfg(test)]
            Command::PublishRaw(base, bytes, back) => {
                let topic = gossip::topic(&self.state.config.network, &base);
                let published = self.swarm.behaviour_mut().gossipsub.publish(topic, bytes);
                answer(back, published.map(|_| ()).map_err(|error| NetError::Announce(error.to_string())));
            }
            #[cfg(test)]
            Command::BulkEntries(back) => answer(back, self.swarm.behaviour().bulk.entries()),
            #[cfg(test)]
            Command::Rejected(back) => answer(back, self.state.announcements.rejected),
            #[cfg(test)]
            Command::GuardEmpty(back) => answer(back, self.swarm.behaviour().guard.is_empty()),
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.record(&event);
        self.nat_sees(&event);
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Nat(event)) => self.nat_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => self.gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                self.found_nearby(by_peer(found))
            }
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Expired(gone))) => {
                self.gone_from_nearby(by_peer(gone))
            }
            SwarmEvent::Behaviour(BehaviourEvent::Dht(event)) => self.kad(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                self.state.heard_listen_address(address);
                self.nat_listens();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.state.listening.retain(|one| *one != address),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.state.peers.established(peer_id, &endpoint);
                self.state.discovery.dials.met(&peer_id);
                self.knock_answered(connection_id);
                if let Some(back) = self.dials.remove(&connection_id) {
                    answer(back, Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.closed(peer_id),
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(?peer_id, %error, "a peer could not be reached");
                self.knock_failed(connection_id, &error);
                if let Some(back) = self.dials.remove(&connection_id) {
                    answer(back, Err(self.dial_error(peer_id, &error)));
                }
                peer_id.inspect(|peer| self.dial_failed(*peer, &error));
            }
            SwarmEvent::IncomingConnection { .. } => self.knocks.somebody_comes(),
            SwarmEvent::IncomingConnectionError { error, peer_id, .. } => {
                tracing::debug!(?peer_id, %error, "a peer that came was not let in");
                self.came_and_failed(&error);
                if let Some(peer) = peer_id.filter(|_| private::is_not_allowed(&error)) {
                    tracing::info!(%peer, "refused: it is not on the allow list");
                    self.state.emit(Event::Refused(peer));
                }
            }
            SwarmEvent::ListenerError { error, .. } => self.failures.warn(Instant::now(), &error),
            // A relay that ends a place is nothing unusual.
            SwarmEvent::ListenerClosed { addresses, reason, .. } if !addresses.iter().any(is_relayed) => {
                tracing::warn!(?addresses, ?reason, "a listener closed");
            }
            _ => {}
        }
    }

    fn closed(&mut self, peer: PeerId) {
        let identified = self.state.peers.closed(&peer);
        if identified {
            self.state.emit(Event::Disconnected(peer));
        } else {
            tracing::info!(%peer, "it went before it said who it is: perhaps we are not on its allow list");
        }
        self.lost(peer, identified);
        self.redial_later();
    }

    fn identify(&mut self, event: identify::Event) {
        let identify::Event::Received { connection_id, peer_id, info } = event else { return };
        if info.protocol_version != protocol_version(&self.state.config.network) {
            tracing::info!(%peer_id, version = ?info.protocol_version, "a peer of another network: disconnected");
            // It may have gone by itself.
            let _ = self.swarm.disconnect_peer_id(peer_id);
            self.state.discovery.dials.forget(&peer_id);
            self.state.emit(Event::Foreign(peer_id));
            return;
        }
        self.alone.rest();
        self.swarm.behaviour_mut().guard.identified(&peer_id);
        self.nat_identified(peer_id, connection_id, &info);
        self.state.peers.stated(peer_id, &info.listen_addrs);
        let news = self.state.peers.identified(peer_id, info.agent_version.clone(), &info.listen_addrs);
        self.route(peer_id, &info);
        if news {
            self.state.emit(Event::Connected(peer_id));
        }
    }
}

/// Answers a question; whoever asked may have stopped waiting.
pub(in crate::net) fn answer<T>(back: oneshot::Sender<T>, value: T) {
    let _ = back.send(value);
}

/// Multicast DNS names a peer once for each address.
fn by_peer(found: Vec<(PeerId, Multiaddr)>) -> Vec<Named> {
    let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for (peer, address) in found {
        peers.entry(peer).or_default().push(address);
    }
    peers.into_iter().collect()
}
