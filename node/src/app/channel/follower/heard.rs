//! When stewards were last heard from. Nothing dates the newest version of a channel: whoever is connected here, and whose
//! steward is not, may withhold newer ones.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use potluck_protocol::announce::Announcement;
use potluck_protocol::signed::PublicKey;

use crate::app::disk::Disk;
use crate::app::network::Network;
use crate::config;
use crate::failure::Outcome;
use crate::home::peers::Remembered;

/// What is known at one moment.
pub struct LastHeard {
    now: u64,
    /// By key, the newest of what it signed, by its own clock.
    signed: BTreeMap<PublicKey, u64>,
    connected: BTreeSet<PeerId>,
    /// Those that were connected before.
    remembered: Option<Remembered>,
}

impl LastHeard {
    /// Of all that is announced here, and of all peers.
    pub async fn read(disk: &Disk, network: Option<&Network>) -> Outcome<Self> {
        let now = config::seconds_since_1970();
        let mut heard = Self { now, signed: BTreeMap::new(), connected: BTreeSet::new(), remembered: None };
        disk.heard().await?.iter().for_each(|said| heard.note(said));
        if let Some(network) = network {
            network.handle.every_announcement().iter().for_each(|said| heard.note(said.body()));
            heard.connected = network.handle.peers().await.unwrap_or_default().iter().map(|info| info.peer).collect();
            heard.remembered = Some(Remembered::open(&disk.home.layout().peers(), network.name.clone(), now));
        }
        Ok(heard)
    }

    /// Sequences are microseconds of the publisher's clock, or less than a second's worth if they are none. A clock that is
    /// ahead says nothing.
    fn note(&mut self, said: &Announcement) {
        let seconds = said.sequence / 1_000_000;
        if (1..=self.now).contains(&seconds) {
            let newest = self.signed.entry(said.publisher).or_default();
            *newest = seconds.max(*newest);
        }
    }

    /// In seconds since 1970: connected here then, or signing an announcement that is known here.
    pub fn of(&self, steward: PublicKey) -> Option<u64> {
        let peer = steward.peer_id();
        let connected = peer.filter(|peer| self.connected.contains(peer)).map(|_| self.now);
        let seen = peer.and_then(|peer| self.remembered.as_ref()?.seen(&peer)).filter(|seconds| *seconds <= self.now);
        [self.signed.get(&steward).copied(), connected, seen].into_iter().flatten().max()
    }
}
