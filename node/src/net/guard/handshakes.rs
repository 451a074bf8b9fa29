//! Handshakes that are under way: how many, from where, and which one makes room.
//!
//! A connection that says nothing costs its sender one packet, so a plain bound would let anybody shut the door with as
//! many of them. Here a newcomer always gets in and the oldest of the largest neighbourhood goes: an honest handshake is
//! over in milliseconds, a silent one grows old.

use std::collections::BTreeMap;

use futures::future::{AbortHandle, AbortRegistration};
use potluck_protocol::rate_limit::RateLimiter;

use super::super::limits::{HANDSHAKE_GROUPS, HANDSHAKE_RATE, HANDSHAKES, HANDSHAKES_PER_GROUP};
use super::group::PeerGroup;

/// All of them. // I12
#[derive(Debug)]
pub struct Handshakes {
    next: u64,
    /// By age.
    open: BTreeMap<u64, (PeerGroup, AbortHandle)>,
    rates: RateLimiter<PeerGroup>,
}

/// What became of a newcomer.
#[derive(Debug)]
pub enum Admission {
    /// It may begin; `evicted` says that another one was ended for it.
    In { ticket: u64, registration: AbortRegistration, evicted: bool },
    /// Its neighbourhood comes too often.
    TooOften,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { next: 0, open: BTreeMap::new(), rates: RateLimiter::new(HANDSHAKE_RATE, HANDSHAKE_GROUPS) }
    }
}

impl Handshakes {
    /// A connection has come.
    pub fn admit(&mut self, group: PeerGroup, now_ms: u64) -> Admission {
        if group != PeerGroup::Here && !self.rates.take(group, now_ms) {
            return Admission::TooOften;
        }
        let victim = self.victim(group);
        if let Some((_, handle)) = victim.and_then(|ticket| self.open.remove(&ticket)) {
            handle.abort();
        }
        let (handle, registration) = AbortHandle::new_pair();
        let ticket = self.next;
        self.next += 1;
        self.open.insert(ticket, (group, handle));
        Admission::In { ticket, registration, evicted: victim.is_some() }
    }

    /// It has ended, one way or another.
    pub fn ended(&mut self, ticket: u64) {
        self.open.remove(&ticket);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.open.len()
    }

    fn victim(&self, newcomer: PeerGroup) -> Option<u64> {
        let mut counts = BTreeMap::<PeerGroup, usize>::new();
        self.open.values().for_each(|(group, _)| *counts.entry(*group).or_default() += 1);
        let theirs = counts.get(&newcomer).copied().unwrap_or(0);
        // Of two largest ones the newcomer's own is taken.
        let largest = if newcomer != PeerGroup::Here && theirs >= HANDSHAKES_PER_GROUP {
            newcomer
        } else if self.open.len() >= HANDSHAKES {
            *counts.iter().max_by_key(|(group, count)| (**count, **group == newcomer))?.0
        } else {
            return None;
        };
        self.open.iter().find(|(_, (group, _))| *group == largest).map(|(ticket, _)| *ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::AddressGroup;

    fn group(n: u8) -> PeerGroup {
        PeerGroup::Near(AddressGroup::V4([10, 0, n]))
    }

    fn admit(table: &mut Handshakes, group: PeerGroup, now_ms: u64) -> Option<u64> {
        match table.admit(group, now_ms) {
            Admission::In { ticket, .. } => Some(ticket),
            Admission::TooOften => None,
        }
    }

    #[test]
    fn a_neighbourhood_that_comes_too_often_waits_and_others_do_not() {
        let mut table = Handshakes::default();
        let came = (0..1000).filter(|_| admit(&mut table, group(1), 0).is_some()).count();
        assert_eq!(came as u64, HANDSHAKE_RATE.burst);
        assert!(admit(&mut table, group(2), 0).is_some());
        assert!(admit(&mut table, group(1), HANDSHAKE_RATE.refill_ms).is_some());
        assert!((0..1000).all(|_| admit(&mut table, PeerGroup::Here, 0).is_some()), "this machine is not limited");
    }

    #[test]
    fn silent_ones_of_one_neighbourhood_make_room_for_each_other() {
        let mut table = Handshakes::default();
        let first: Vec<_> = (0..HANDSHAKES_PER_GROUP).filter_map(|_| admit(&mut table, group(1), 0)).collect();
        let other = admit(&mut table, group(2), 0).expect("there is room");
        assert!(matches!(table.admit(group(1), 0), Admission::In { evicted: true, .. }));
        assert!(!table.open.contains_key(&first[0]) && table.open.contains_key(&first[1]));
        assert!(table.open.contains_key(&other));
    }

    #[test]
    fn there_are_never_more_than_the_bound_and_the_largest_neighbourhood_pays() {
        let mut table = Handshakes::default();
        let honest = admit(&mut table, group(0), 0).expect("there is room");
        for n in 0..=u8::MAX {
            for _ in 0..4 {
                admit(&mut table, group(n.max(1)), 0);
            }
        }
        assert_eq!(table.len(), HANDSHAKES);
        assert!(table.open.contains_key(&honest), "it is the only one of its neighbourhood");
        table.ended(honest);
        assert_eq!(table.len(), HANDSHAKES - 1);
    }

    #[test]
    fn whoever_makes_room_is_told() {
        let mut table = Handshakes::default();
        let Admission::In { registration, .. } = table.admit(PeerGroup::Here, 0) else { panic!("there is room") };
        let waits = futures::future::Abortable::new(std::future::pending::<()>(), registration);
        for _ in 0..HANDSHAKES {
            admit(&mut table, PeerGroup::Here, 0);
        }
        assert!(futures::executor::block_on(waits).is_err());
    }
}
