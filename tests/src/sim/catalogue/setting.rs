//! What all nodes of one world have in common.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use libp2p::identity::ed25519::Keypair;

use super::Manner;
use crate::sim::swarm::peer_id;
use potluck_protocol::catalogue::{Bounds, Neighbourhood, timing};
use potluck_protocol::limits::CATALOGUE_NEAR;
use potluck_protocol::signed::PublicKey;

/// What can be switched off in a world, so that its checks are seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// Nothing has a place of its own in a catalogue, and nobody says what they stand behind.
    Shelf,
    /// Nobody is banned.
    Bans,
    /// Everybody may ask as often as they like.
    Allowances,
}

/// What all nodes of one world have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    manners: Vec<Manner>,
    peers: Vec<PeerId>,
    numbers: BTreeMap<PeerId, usize>,
    publishers: BTreeMap<PublicKey, usize>,
    pub bounds: Bounds,
    /// The keys of the nodes, if they are publishers themselves.
    keys: Vec<PublicKey>,
    /// Keys that everybody follows.
    pub followed: BTreeSet<PublicKey>,
    /// Where each node is; elsewhere than all others if nothing is said.
    pub near: Vec<u64>,
    /// The time of day at the beginning, in seconds since 1970.
    pub begins_s: u64,
    /// Whoever misbehaves is banned, as a daemon does it.
    pub bans: bool,
    pub without: Option<Defence>,
    /// Nodes that are not honest, and do nothing that may be counted as a misdeed.
    pub harmless: BTreeSet<usize>,
    /// Records at most that are a node's own, of keys that it follows, or of manifests that it has.
    pub trusted_max: usize,
    /// How many bases there are.
    pub bases: u64,
    /// Of a thousand messages so many are lost.
    pub loss: u64,
    /// Nobody is done before.
    pub until_ms: u64,
}

impl Setting {
    pub fn new(manners: Vec<Manner>) -> Self {
        let peers: Vec<PeerId> = (0..manners.len()).map(peer_id).collect();
        Self {
            numbers: numbers(&peers),
            near: (0..manners.len() as u64).collect(),
            manners,
            peers,
            publishers: BTreeMap::new(),
            bounds: Bounds::default(),
            keys: Vec::new(),
            followed: BTreeSet::new(),
            begins_s: 0,
            bans: false,
            without: None,
            harmless: BTreeSet::new(),
            trusted_max: 0,
            bases: 2,
            loss: 0,
            until_ms: 0,
        }
    }

    /// Nodes that publish with the keys by which they are known.
    pub fn of_publishers(manners: Vec<Manner>, keys: &[Keypair]) -> Self {
        let peers: Vec<PeerId> = keys.iter().map(|key| PublicKey::of(key).peer_id().expect("a key")).collect();
        let keys: Vec<_> = keys.iter().map(PublicKey::of).collect();
        let publishers = keys.iter().enumerate().map(|(n, key)| (*key, n)).collect();
        Self { numbers: numbers(&peers), publishers, peers, keys, ..Self::new(manners) }
    }

    /// A node's own key.
    pub(super) fn key(&self, node: usize) -> Option<PublicKey> {
        self.keys.get(node).copied()
    }

    pub fn manner(&self, node: usize) -> Manner {
        self.manners[node]
    }

    pub fn peer(&self, node: usize) -> PeerId {
        self.peers[node]
    }

    pub(super) fn node(&self, peer: &PeerId) -> usize {
        self.numbers[peer]
    }

    /// The nodes that publish with these keys.
    pub fn nodes_of(&self, keys: &[PublicKey]) -> Vec<usize> {
        keys.iter().filter_map(|key| self.publishers.get(key).copied()).collect()
    }

    pub fn neighbourhood(&self, node: usize) -> Neighbourhood {
        Neighbourhood(self.near[node])
    }

    /// The most records that a catalogue may hold: what was heard, the places of all neighbourhoods, and what its node
    /// and the keys that it follows say themselves.
    pub(super) fn records_max(&self) -> usize {
        let neighbourhoods = self.near.iter().collect::<BTreeSet<_>>().len();
        self.bounds.in_all + CATALOGUE_NEAR * neighbourhoods + self.trusted_max
    }

    /// The epoch of a time of this world.
    pub(super) fn epoch(&self, now_ms: u64) -> u64 {
        timing::epoch(self.begins_s + now_ms / 1_000)
    }

    pub(super) fn lacks(&self, defence: Defence) -> bool {
        self.without == Some(defence)
    }
}

fn numbers(peers: &[PeerId]) -> BTreeMap<PeerId, usize> {
    peers.iter().enumerate().map(|(n, peer)| (*peer, n)).collect()
}
