//! The places for those who connect to us, and who gives his up when they are all taken.
//!
//! Whoever has been here longest stays: that is what an attacker cannot have many of. Then those go first who have not
//! said who they are, then those of whose neighbourhood most are here, the oldest of them.

use std::collections::BTreeMap;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::super::limits::{PROTECTED, SEATS_PER_GROUP, UNIDENTIFIED_MS};
use super::group::Group;

/// Connections that others made to us. // I12
#[derive(Debug)]
pub struct Seats {
    places: usize,
    taken: BTreeMap<ConnectionId, Seat>,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    peer: PeerId,
    group: Group,
    since_ms: u64,
    /// It has said that it is of our network.
    identified: bool,
    /// It has been told to go.
    leaving: bool,
}

impl Seats {
    /// So many places, all of them free.
    pub fn new(places: usize) -> Self {
        Self { places, taken: BTreeMap::new() }
    }

    /// Whether one more from there may come.
    pub fn has_place(&self, group: Group) -> bool {
        let theirs = self.here().filter(|(_, seat)| seat.group == group);
        matches!(group, Group::Here | Group::Relayed) || theirs.count() < SEATS_PER_GROUP
    }

    /// A connection stands. Returns the one that goes for it, if all places were taken.
    pub fn take(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        group: Group,
        now_ms: u64,
    ) -> Option<(ConnectionId, PeerId)> {
        self.taken.insert(id, Seat { peer, group, since_ms: now_ms, identified: false, leaving: false });
        if self.here().count() <= self.places {
            return None;
        }
        let victim = self.victim(id)?;
        let seat = self.taken.get_mut(&victim)?;
        seat.leaving = true;
        Some((victim, seat.peer))
    }

    pub fn leave(&mut self, id: &ConnectionId) {
        self.taken.remove(id);
    }

    /// The peer has said that it is of our network.
    pub fn identified(&mut self, peer: &PeerId) {
        self.taken.values_mut().filter(|seat| seat.peer == *peer).for_each(|seat| seat.identified = true);
    }

    /// Those who have not said who they are for too long; each is named once.
    pub fn strangers(&mut self, now_ms: u64) -> Vec<(ConnectionId, PeerId)> {
        let late = |seat: &&mut Seat| {
            !seat.identified && !seat.leaving && now_ms >= seat.since_ms.saturating_add(UNIDENTIFIED_MS)
        };
        let mut strangers = Vec::new();
        for (id, seat) in self.taken.iter_mut().filter(|(_, seat)| late(seat)) {
            seat.leaving = true;
            strangers.push((*id, seat.peer));
        }
        strangers
    }

    pub fn group(&self, peer: &PeerId) -> Option<Group> {
        self.taken.values().find(|seat| seat.peer == *peer).map(|seat| seat.group)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    fn here(&self) -> impl Iterator<Item = (&ConnectionId, &Seat)> {
        self.taken.iter().filter(|(_, seat)| !seat.leaving)
    }

    fn victim(&self, newcomer: ConnectionId) -> Option<ConnectionId> {
        let mut counts = BTreeMap::<Group, usize>::new();
        self.here().for_each(|(_, seat)| *counts.entry(seat.group).or_default() += 1);
        let mut known: Vec<_> =
            self.here().filter(|(_, seat)| seat.identified).map(|(id, seat)| (seat.since_ms, *id)).collect();
        known.sort_unstable();
        known.truncate(PROTECTED);
        let stays = |id: &ConnectionId| *id == newcomer || known.iter().any(|(_, other)| other == id);
        let candidates = self.here().filter(|(id, _)| !stays(id));
        let rank = |seat: &Seat| {
            let crowd = counts.get(&seat.group).copied().unwrap_or(0);
            (seat.identified, std::cmp::Reverse(crowd), seat.since_ms)
        };
        candidates.min_by_key(|(_, seat)| rank(seat)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::AddressGroup;
    use crate::net::limits::ESTABLISHED_IN;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn group(n: usize) -> Group {
        Group::Near(AddressGroup::V4([10, (n >> 8) as u8, n as u8]))
    }

    /// As many as there are places, each from elsewhere and identified, one a millisecond.
    fn full() -> (Seats, Vec<PeerId>) {
        let mut seats = Seats::new(ESTABLISHED_IN);
        let peers: Vec<_> = (0..ESTABLISHED_IN).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            assert_eq!(seats.take(id(n), *peer, group(n), n as u64), None);
            seats.identified(peer);
        }
        (seats, peers)
    }

    #[test]
    fn one_neighbourhood_gets_so_many_places_and_this_machine_all_it_wants() {
        let mut seats = Seats::new(ESTABLISHED_IN);
        for n in 0..SEATS_PER_GROUP {
            assert!(seats.has_place(group(1)));
            seats.take(id(n), PeerId::random(), group(1), 0);
        }
        assert!(!seats.has_place(group(1)) && seats.has_place(group(2)));
        seats.leave(&id(0));
        assert!(seats.has_place(group(1)));
        for n in 0..2 * SEATS_PER_GROUP {
            assert!(seats.has_place(Group::Here));
            seats.take(id(1000 + n), PeerId::random(), Group::Here, 0);
        }
    }

    #[test]
    fn whoever_has_not_said_who_he_is_goes_first() {
        let (mut seats, peers) = full();
        let silent = PeerId::random();
        seats.leave(&id(ESTABLISHED_IN - 1));
        seats.take(id(900), silent, group(900), 900);
        let goes = seats.take(id(901), PeerId::random(), group(901), 901);
        assert_eq!(goes, Some((id(900), silent)));
        assert_eq!(seats.here().count(), ESTABLISHED_IN);
        assert!(seats.group(&peers[0]).is_some());
    }

    #[test]
    fn those_of_the_largest_neighbourhood_go_before_those_who_came_alone() {
        let (mut seats, _) = full();
        for n in 0..SEATS_PER_GROUP {
            let (peer, last) = (PeerId::random(), id(ESTABLISHED_IN - 1 - n));
            seats.leave(&last);
            seats.take(id(900 + n), peer, group(900), 900 + n as u64);
            seats.identified(&peer);
        }
        let (goes, _) = seats.take(id(990), PeerId::random(), group(990), 990).expect("somebody goes");
        assert_eq!(goes, id(900), "the oldest of the crowd");
    }

    #[test]
    fn those_who_have_been_here_longest_stay_whoever_comes() {
        let (mut seats, peers) = full();
        for n in 0..4 * ESTABLISHED_IN {
            let newcomer = PeerId::random();
            if let Some((goes, _)) = seats.take(id(1000 + n), newcomer, group(1000 + n), 1000 + n as u64) {
                seats.leave(&goes);
            }
            seats.identified(&newcomer);
        }
        assert_eq!(peers.iter().filter(|peer| seats.group(peer).is_some()).count(), PROTECTED);
        assert!(peers[..PROTECTED].iter().all(|peer| seats.group(peer).is_some()));
    }

    #[test]
    fn strangers_are_named_once_when_their_time_is_over() {
        let mut seats = Seats::new(ESTABLISHED_IN);
        let (known, stranger) = (PeerId::random(), PeerId::random());
        seats.take(id(1), known, group(1), 0);
        seats.take(id(2), stranger, group(2), 0);
        seats.identified(&known);
        assert_eq!(seats.strangers(UNIDENTIFIED_MS - 1), []);
        assert_eq!(seats.strangers(UNIDENTIFIED_MS), [(id(2), stranger)]);
        assert_eq!(seats.strangers(UNIDENTIFIED_MS), []);
    }
}
