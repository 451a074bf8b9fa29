//! The slots for connections that others made to us, and which is closed for a new one when all are taken.
//!
//! Whoever has been here longest stays: that is what an attacker cannot have many of. Then those go first who have not
//! said who they are, then those of whose neighbourhood most are here, the oldest of them.

use std::collections::BTreeMap;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::super::limits::{PROTECTED, SLOTS_PER_GROUP, UNIDENTIFIED_MS};
use super::group::PeerGroup;

/// Connections that others made to us. // I12
#[derive(Debug)]
pub struct Slots {
    capacity: usize,
    taken: BTreeMap<ConnectionId, Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    peer: PeerId,
    group: PeerGroup,
    since_ms: u64,
    /// It has said that it is of our network.
    identified: bool,
    /// It has been told to go.
    leaving: bool,
}

impl Slots {
    /// So many places, all of them free.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, taken: BTreeMap::new() }
    }

    /// Whether one more from there may come.
    pub fn has_room(&self, group: PeerGroup) -> bool {
        let theirs = self.here().filter(|(_, slot)| slot.group == group);
        matches!(group, PeerGroup::Here | PeerGroup::Relayed) || theirs.count() < SLOTS_PER_GROUP
    }

    /// A connection stands. Returns the one that goes for it, if all places were taken.
    pub fn take(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        group: PeerGroup,
        now_ms: u64,
    ) -> Option<(ConnectionId, PeerId)> {
        self.taken.insert(id, Slot { peer, group, since_ms: now_ms, identified: false, leaving: false });
        if self.here().count() <= self.capacity {
            return None;
        }
        let victim = self.victim(id)?;
        let slot = self.taken.get_mut(&victim)?;
        slot.leaving = true;
        Some((victim, slot.peer))
    }

    /// A connection is gone.
    pub fn leave(&mut self, id: &ConnectionId) {
        self.taken.remove(id);
    }

    /// The peer has said that it is of our network.
    pub fn identified(&mut self, peer: &PeerId) {
        self.taken.values_mut().filter(|slot| slot.peer == *peer).for_each(|slot| slot.identified = true);
    }

    /// Those who have not said who they are for too long; each is named once.
    pub fn strangers(&mut self, now_ms: u64) -> Vec<(ConnectionId, PeerId)> {
        let late = |slot: &&mut Slot| {
            !slot.identified && !slot.leaving && now_ms >= slot.since_ms.saturating_add(UNIDENTIFIED_MS)
        };
        let mut strangers = Vec::new();
        for (id, slot) in self.taken.iter_mut().filter(|(_, slot)| late(slot)) {
            slot.leaving = true;
            strangers.push((*id, slot.peer));
        }
        strangers
    }

    /// From where a peer has connected, if it did.
    pub fn group(&self, peer: &PeerId) -> Option<PeerGroup> {
        self.taken.values().find(|slot| slot.peer == *peer).map(|slot| slot.group)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    fn here(&self) -> impl Iterator<Item = (&ConnectionId, &Slot)> {
        self.taken.iter().filter(|(_, slot)| !slot.leaving)
    }

    fn victim(&self, newcomer: ConnectionId) -> Option<ConnectionId> {
        let mut counts = BTreeMap::<PeerGroup, usize>::new();
        self.here().for_each(|(_, slot)| *counts.entry(slot.group).or_default() += 1);
        let mut known: Vec<_> =
            self.here().filter(|(_, slot)| slot.identified).map(|(id, slot)| (slot.since_ms, *id)).collect();
        known.sort_unstable();
        known.truncate(PROTECTED);
        let stays = |id: &ConnectionId| *id == newcomer || known.iter().any(|(_, other)| other == id);
        let candidates = self.here().filter(|(id, _)| !stays(id));
        let rank = |slot: &Slot| {
            let crowd = counts.get(&slot.group).copied().unwrap_or(0);
            (slot.identified, std::cmp::Reverse(crowd), slot.since_ms)
        };
        candidates.min_by_key(|(_, slot)| rank(slot)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::AddressGroup;
    use crate::net::limits::ESTABLISHED_IN;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn group(n: usize) -> PeerGroup {
        PeerGroup::Near(AddressGroup::V4([10, (n >> 8) as u8, n as u8]))
    }

    /// As many as there are places, each from elsewhere and identified, one a millisecond.
    fn full() -> (Slots, Vec<PeerId>) {
        let mut slots = Slots::new(ESTABLISHED_IN);
        let peers: Vec<_> = (0..ESTABLISHED_IN).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            assert_eq!(slots.take(id(n), *peer, group(n), n as u64), None);
            slots.identified(peer);
        }
        (slots, peers)
    }

    #[test]
    fn one_neighbourhood_gets_so_many_places_and_this_machine_all_it_wants() {
        let mut slots = Slots::new(ESTABLISHED_IN);
        for n in 0..SLOTS_PER_GROUP {
            assert!(slots.has_room(group(1)));
            slots.take(id(n), PeerId::random(), group(1), 0);
        }
        assert!(!slots.has_room(group(1)) && slots.has_room(group(2)));
        slots.leave(&id(0));
        assert!(slots.has_room(group(1)));
        for n in 0..2 * SLOTS_PER_GROUP {
            assert!(slots.has_room(PeerGroup::Here));
            slots.take(id(1000 + n), PeerId::random(), PeerGroup::Here, 0);
        }
    }

    #[test]
    fn whoever_has_not_said_who_he_is_goes_first() {
        let (mut slots, peers) = full();
        let silent = PeerId::random();
        slots.leave(&id(ESTABLISHED_IN - 1));
        slots.take(id(900), silent, group(900), 900);
        let goes = slots.take(id(901), PeerId::random(), group(901), 901);
        assert_eq!(goes, Some((id(900), silent)));
        assert_eq!(slots.here().count(), ESTABLISHED_IN);
        assert!(slots.group(&peers[0]).is_some());
    }

    #[test]
    fn those_of_the_largest_neighbourhood_go_before_those_who_came_alone() {
        let (mut slots, _) = full();
        for n in 0..SLOTS_PER_GROUP {
            let (peer, last) = (PeerId::random(), id(ESTABLISHED_IN - 1 - n));
            slots.leave(&last);
            slots.take(id(900 + n), peer, group(900), 900 + n as u64);
            slots.identified(&peer);
        }
        let (goes, _) = slots.take(id(990), PeerId::random(), group(990), 990).expect("somebody goes");
        assert_eq!(goes, id(900), "the oldest of the crowd");
    }

    #[test]
    fn those_who_have_been_here_longest_stay_whoever_comes() {
        let (mut slots, peers) = full();
        for n in 0..4 * ESTABLISHED_IN {
            let newcomer = PeerId::random();
            if let Some((goes, _)) = slots.take(id(1000 + n), newcomer, group(1000 + n), 1000 + n as u64) {
                slots.leave(&goes);
            }
            slots.identified(&newcomer);
        }
        assert_eq!(peers.iter().filter(|peer| slots.group(peer).is_some()).count(), PROTECTED);
        assert!(peers[..PROTECTED].iter().all(|peer| slots.group(peer).is_some()));
    }

    #[test]
    fn strangers_are_named_once_when_their_time_is_over() {
        let mut slots = Slots::new(ESTABLISHED_IN);
        let (known, stranger) = (PeerId::random(), PeerId::random());
        slots.take(id(1), known, group(1), 0);
        slots.take(id(2), stranger, group(2), 0);
        slots.identified(&known);
        assert_eq!(slots.strangers(UNIDENTIFIED_MS - 1), []);
        assert_eq!(slots.strangers(UNIDENTIFIED_MS), [(id(2), stranger)]);
        assert_eq!(slots.strangers(UNIDENTIFIED_MS), []);
    }
}
