//! What the rest of the daemon sees of the network: a cheap handle, its commands and events.

mod discovery;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::announce::Announcement;
use potluck_protocol::catalogue::{Neighbourhood, Record};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::splitmix::SplitMix64;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::announcements::Known;
use super::bootstrap::Health;
use super::bulk::{OpenError, Outbound, Way};
use super::discovery::{Ask, Named};
use super::error::NetError;
use super::guard::{Ban, Guard};
use super::limits;
use super::misdeed::Misdeed;
use super::nat::limits::DIRECT_PATIENCE;
use super::nat::{ReachInfo, Reachability};
use super::twin::{Sign, Twin};
use crate::addresses::AddressGroup;
use crate::metrics::page::Life;
use crate::net::counters::{NetCounters, Queue};

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Who it is.
    pub peer: PeerId,
    /// Where it says that it listens and where it was reached, reachable ones first.
    pub addresses: Vec<Multiaddr>,
    /// What it calls itself, once it has said so: `potluck/VERSION`.
    pub agent: Option<String>,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// One connection at least does not lead through a relay.
    pub direct: bool,
    /// The neighbourhood at the other end of its newest connection: not what it states of itself.
    pub group: AddressGroup,
    /// It is where, or whom, a bootstrap address of the settings names.
    pub bootstrap: bool,
}

/// A base that a connected peer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Who follows it.
    pub peer: PeerId,
    /// Where the peer is.
    pub near: Neighbourhood,
    /// What it follows.
    pub base: BaseId,
}

/// What happened on the network.
#[derive(Clone, Debug)]
pub enum Event {
    /// This node listens there.
    Listening(Multiaddr),
    /// The first connection to a peer of this network stands.
    Connected(PeerId),
    /// The last one is gone.
    Disconnected(PeerId),
    /// A peer of another network was met and disconnected.
    Foreign(PeerId),
    /// A peer that is not on the allow list came, and was refused.
    Refused(PeerId),
    /// A peer that answers for the DHT is asked from now on.
    Routed(PeerId),
    /// A peer follows a base that we follow too: it may know announcements that we have missed.
    Subscribed {
        /// Who follows it.
        peer: PeerId,
        /// The base that both follow.
        base: BaseId,
        /// Where the peer is.
        near: Neighbourhood,
    },
    /// An announcement that is authentic and new to us.
    Heard(Record),
    /// More announcements of a base came by gossip than are looked at: some were ignored.
    Missed(BaseId),
    /// A peer passed on an announcement of a base for which there was no room: it may stand behind it.
    Crowded {
        /// Who passed it on.
        peer: PeerId,
        /// Of which base.
        base: BaseId,
    },
    /// A peer that was reached through a relay is connected directly.
    Direct(PeerId),
    /// A relay holds a place for us, so that others reach us through it.
    Reserved {
        /// Who relays for us.
        relay: PeerId,
        /// It had held a place for us before.
        renewal: bool,
    },
    /// How others reach us has changed.
    Reachability(Reachability),
    /// An address of ours was confirmed.
    Confirmed(Multiaddr),
    /// The swarm panicked and was built anew; connections are being made again.
    Restarted,
}

/// The way to the network actor. Cheap to clone; the network ends when [`Handle::shutdown`] is called or the last
/// handle is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) peer: PeerId,
    pub(super) target: usize,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) known: Known,
    pub(super) stop: CancellationToken,
    pub(super) guard: Guard,
    pub(super) life: Life,
    pub(super) own: PublicKey,
    pub(super) twin: Twin,
    pub(super) expects: bool,
}

/// What the actor is asked to do; each carries the way back.
#[derive(Debug)]
pub(super) enum Command {
    ListenAddresses(oneshot::Sender<Vec<Multiaddr>>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Addresses(Vec<PeerId>, oneshot::Sender<Vec<Named>>),
    Bootstrap(oneshot::Sender<Vec<(Multiaddr, Health)>>),
    Subscribe(BaseId, oneshot::Sender<Result<(), NetError>>),
    Announce(Box<Authentic<Announcement>>, oneshot::Sender<Result<(), NetError>>),
    BasesOfOthers(oneshot::Sender<Vec<Interest>>),
    Open(PeerId, Way, oneshot::Sender<Result<Outbound, OpenError>>),
    Reach(oneshot::Sender<ReachInfo>),
    Dial(PeerId, Vec<Multiaddr>, oneshot::Sender<Result<(), NetError>>),
    DialAddress(Multiaddr, oneshot::Sender<Result<(), NetError>>),
    Disconnect(PeerId),
    Discovery(Ask),
    Report(PeerId, Misdeed),
    #[cfg(test)]
    Panic,
    #[cfg(test)]
    PublishRaw(BaseId, Vec<u8>, oneshot::Sender<Result<(), NetError>>),
    #[cfg(test)]
    BulkEntries(oneshot::Sender<usize>),
    #[cfg(test)]
    Rejected(oneshot::Sender<u64>),
    #[cfg(test)]
    GuardEmpty(oneshot::Sender<bool>),
}

impl Handle {
    /// Our own name on the network.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// What happens from now on. A listener that falls 1,024 events behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Where we listen, each with our peer id at its end, so that it can be given to others as it is.
    pub async fn listen_addresses(&self) -> Result<Vec<Multiaddr>, NetError> {
        self.ask(Command::ListenAddresses).await
    }

    /// Everybody who is connected.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetError> {
        self.ask(Command::Peers).await
    }

    /// Where peers, connected now or before, were reached or said that they listen, as far as that is known of them.
    pub async fn addresses(&self, peers: Vec<PeerId>) -> Result<Vec<Named>, NetError> {
        self.ask(|back| Command::Addresses(peers, back)).await
    }

    /// Follows the announcements of a base. Doing so twice is no error.
    pub async fn subscribe(&self, base: BaseId) -> Result<(), NetError> {
        self.ask(|back| Command::Subscribe(base, back)).await?
    }

    /// Announces a manifest; whoever comes later hears it too. If nobody listens it is kept and sent when somebody does.
    pub async fn announce(&self, announcement: Authentic<Announcement>) -> Result<(), NetError> {
        self.ask(|back| Command::Announce(Box::new(announcement), back)).await?
    }

    /// Bases that connected peers follow and this node does not: what is announced for them does not come by itself.
    /// Peers may name as many as they are allowed to follow.
    pub async fn bases_of_others(&self) -> Result<Vec<Interest>, NetError> {
        self.ask(Command::BasesOfOthers).await
    }

    /// The announcements of a base that are known now, ours included.
    pub fn announcements(&self, base: BaseId) -> Vec<Record> {
        self.known.with(|catalogue| catalogue.of_base(&base).cloned().collect())
    }

    /// From now on nothing that a key says is given up for what strangers say.
    pub fn follow(&self, key: PublicKey) {
        self.known.with(|catalogue| catalogue.follow(key));
    }

    /// The announcements of all bases that are known now.
    pub fn every_announcement(&self) -> Vec<Record> {
        self.known.with(|catalogue| catalogue.records().cloned().collect())
    }

    /// Who announced a manifest: at most [`limits::ANNOUNCERS`], drawn by lot.
    pub fn announcers(&self, manifest: ManifestId) -> Vec<PeerId> {
        let mut rng = SplitMix64::new(RandomState::new().hash_one(manifest));
        let publishers = self.known.with(|catalogue| catalogue.publishers(&manifest, limits::ANNOUNCERS, &mut rng));
        // The arithmetic after the draw, and when others may look at the catalogue again.
        publishers.iter().filter_map(|key| key.peer_id()).collect()
    }

    /// Those who announced a manifest and brought that themselves, or are trusted here.
    pub fn vouched_announcers(&self, manifest: ManifestId) -> Vec<PeerId> {
        let publishers = self.known.with(|catalogue| catalogue.vouched_publishers(&manifest));
        publishers.iter().filter_map(PublicKey::peer_id).collect()
    }

    /// Those of these peers that announced a manifest.
    pub fn announcers_among(&self, manifest: ManifestId, peers: impl Iterator<Item = PeerId>) -> Vec<PeerId> {
        let keys: Vec<_> = peers.filter_map(|peer| Some((peer, PublicKey::of_peer(&peer)?))).collect();
        self.known.with(|catalogue| {
            let announcers = keys.iter().filter(|(_, key)| catalogue.announces(&manifest, key));
            announcers.map(|(peer, _)| *peer).collect()
        })
    }

    /// Everything that is known to be announced.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// The highest number of an announcement by our own key that is known here, from whatever process; 0 if none is.
    pub fn own_sequence(&self) -> u64 {
        let ours = |record: &&Record| record.body().publisher == self.own;
        self.known
            .with(|catalogue| catalogue.records().filter(ours).map(|record| record.body().sequence).max())
            .unwrap_or(0)
    }

    /// What was seen lately of another process with this node's key.
    pub fn twin(&self) -> Option<Sign> {
        self.twin.now()
    }

    /// Somebody may come although nobody is here: there are addresses to dial, or it is looked around for.
    pub fn expects_peers(&self) -> bool {
        self.expects
    }

    /// How it stands with each bootstrap address.
    pub async fn bootstrap(&self) -> Result<Vec<(Multiaddr, Health)>, NetError> {
        self.ask(Command::Bootstrap).await
    }

    /// Tells everybody who listens of an announcement that came into the catalogue otherwise than by gossip.
    pub(crate) fn emit_heard(&self, record: Record) {
        if record.body().publisher == self.own {
            self.twin.check_number(record.body().sequence);
        }
        // Nobody listening is no error.
        let _ = self.events.send(Event::Heard(record));
    }

    /// A new bulk stream to a connected peer, on a direct connection if there is one: for questions and manifests.
    pub async fn open(&self, peer: PeerId) -> Result<Outbound, NetError> {
        self.open_by(peer, Way::Any).await
    }

    /// A new bulk stream for shards, which no relay carries. If the peer is reached through one only, waits a moment for
    /// the direct connection that is being tried meanwhile.
    pub async fn open_direct(&self, peer: PeerId) -> Result<Outbound, NetError> {
        // Listening first: the connection may come between the answer and the waiting.
        let mut events = self.events();
        let first = self.open_by(peer, Way::Direct).await;
        if !matches!(first, Err(NetError::Open { error: OpenError::OnlyRelayed, .. })) {
            return first;
        }
        let direct = async {
            loop {
                match events.recv().await {
                    Ok(Event::Direct(other) | Event::Disconnected(other)) if other == peer => return,
                    // Some were lost, maybe this one: asking tells.
                    Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        // In time or not: asking again tells.
        let _ = tokio::time::timeout(DIRECT_PATIENCE, direct).await;
        self.open_by(peer, Way::Direct).await
    }

    /// How others reach us.
    pub async fn reach(&self) -> Result<ReachInfo, NetError> {
        self.ask(Command::Reach).await
    }

    async fn open_by(&self, peer: PeerId, way: Way) -> Result<Outbound, NetError> {
        match self.ask(|back| Command::Open(peer, way, back)).await {
            Ok(opened) => opened.map_err(|error| NetError::Open { peer, error }),
            // The actor passes the way back on to the connection: if that closes, the way back is dropped.
            Err(NetError::Interrupted) => Err(NetError::Open { peer, error: OpenError::Closed }),
            Err(error) => Err(error),
        }
    }

    /// Connects to a peer; ends when the connection stands or has failed. Already connected is no error.
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), NetError> {
        self.ask(|back| Command::Dial(peer, addresses, back)).await?
    }

    /// Connects to whoever listens at an address (`/p2p/PEER` at its end is checked if it is there).
    pub async fn dial_address(&self, address: Multiaddr) -> Result<(), NetError> {
        self.ask(|back| Command::DialAddress(address, back)).await?
    }

    /// Closes every connection to a peer.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), NetError> {
        self.tell(Command::Disconnect(peer)).await
    }

    /// Says what a peer did that it could have known to be wrong. Enough of it, and nobody here speaks to it for a while.
    pub fn report(&self, peer: PeerId, misdeed: Misdeed) {
        // While the actor has no time there is enough else that tells on a peer.
        if self.commands.try_send(Command::Report(peer, misdeed)).is_err() {
            self.guard.metrics().dropped.inc(Queue::Reports);
        }
    }

    /// Who is banned now, and for how long more.
    pub fn banned(&self) -> Vec<Ban> {
        self.guard.banned()
    }

    /// Takes up bans of an earlier process. Whoever is connected already stays until the next misdeed.
    pub fn restore_bans(&self, bans: &[Ban]) {
        self.guard.restore(bans);
    }

    /// What is counted here.
    pub fn metrics(&self) -> &NetCounters {
        self.guard.metrics()
    }

    /// What libp2p counts in the present life of the swarm.
    pub fn life(&self) -> Life {
        self.life.clone()
    }

    /// How many announcements are known.
    pub fn catalogue_len(&self) -> usize {
        self.known.with(|catalogue| catalogue.len())
    }

    /// Lets the swarm panic: for tests.
    #[cfg(test)]
    pub(crate) async fn panic(&self) {
        self.tell(Command::Panic).await.expect("it runs");
    }

    /// Ends the network; returns when it has ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.commands.closed().await;
    }

    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NetError> {
        let (back, answer) = oneshot::channel();
        self.tell(command(back)).await?;
        answer.await.map_err(|_| if self.commands.is_closed() { NetError::Stopped } else { NetError::Interrupted })
    }

    pub(super) async fn tell(&self, command: Command) -> Result<(), NetError> {
        self.commands.send(command).await.map_err(|_| NetError::Stopped)
    }
}
