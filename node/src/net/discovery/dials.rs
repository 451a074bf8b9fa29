//! Whom to dial when, of those who are said to be somewhere. A pure machine.
//!
//! Everything here is a hint: peers say where others are, multicast DNS says who is near, the disk says who was there
//! last time. So: bounded in peers and in addresses of one group, each address left alone for a while after it failed,
//! whoever it was said to be, and no more dials than peers are wanted. // I12

use std::collections::{HashMap, HashSet, VecDeque};

use libp2p::{Multiaddr, PeerId};

use super::limits;
use crate::addresses::{AddressGroup, without_peer};

/// Why a peer is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// On the local network: wanted however many peers there are, until it is gone from there.
    Nearby,
    /// Somebody named it, or it was here before: wanted while peers are wanting.
    Named,
}

#[derive(Debug)]
struct Wanted {
    why: Why,
    addresses: Vec<Multiaddr>,
    tries: u32,
    /// Not before.
    at_ms: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Away,
    Dialled,
    Connected,
}

/// The hints.
#[derive(Debug, Default)]
pub struct Dials {
    wanted: HashMap<PeerId, Wanted>,
    /// In the order in which they came.
    order: VecDeque<PeerId>,
    groups: HashMap<AddressGroup, usize>,
    failed: HashMap<Multiaddr, Failed>,
    failed_order: VecDeque<Multiaddr>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    until_ms: u64,
}

impl Dials {
    /// Somebody is said to be at some addresses; not dialled before `at_ms`. The caller has left out those that this
    /// source is not believed.
    pub fn hint(&mut self, peer: PeerId, addresses: &[Multiaddr], why: Why, at_ms: u64) {
        if !self.wanted.contains_key(&peer) {
            if self.wanted.len() >= limits::HINTS && !self.make_room() {
                return;
            }
            let new = Wanted { why, addresses: Vec::new(), tries: 0, at_ms, state: State::Away };
            self.wanted.insert(peer, new);
            self.order.push_back(peer);
        }
        for address in addresses.iter().map(without_peer) {
            self.add(&peer, address);
        }
        match self.wanted.get_mut(&peer) {
            Some(wanted) if !wanted.addresses.is_empty() => {
                if why == Why::Nearby {
                    wanted.why = why;
                }
            }
            _ => self.forget(&peer),
        }
    }

    fn add(&mut self, peer: &PeerId, address: Multiaddr) {
        let Some(wanted) = self.wanted.get_mut(peer) else { return };
        let group = self.groups.entry(AddressGroup::from(&address)).or_default();
        let known = wanted.addresses.contains(&address);
        if !known && wanted.addresses.len() < limits::HINT_ADDRESSES && *group < limits::HINTS_PER_GROUP {
            *group += 1;
            wanted.addresses.push(address);
        } else if *group == 0 {
            self.groups.remove(&AddressGroup::from(&address));
        }
    }

    /// The oldest hint that is not being used goes.
    fn make_room(&mut self) -> bool {
        let idle = |wanted: &Wanted| wanted.why == Why::Named && wanted.state == State::Away;
        let oldest = self.order.iter().find(|peer| self.wanted.get(*peer).is_some_and(idle)).copied();
        oldest.inspect(|peer| self.forget(peer)).is_some()
    }

    /// It is not there any more.
    pub fn forget(&mut self, peer: &PeerId) {
        let Some(wanted) = self.wanted.remove(peer) else { return };
        self.order.retain(|one| one != peer);
        for group in wanted.addresses.iter().map(AddressGroup::from) {
            if let Some(count) = self.groups.get_mut(&group) {
                *count -= 1;
                if *count == 0 {
                    self.groups.remove(&group);
                }
            }
        }
    }

    /// Whom to dial now, and where; of those who are merely named at most `room`, dials on their way counted.
    pub fn due(&mut self, room: usize, now_ms: u64) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let dialled = |wanted: &&Wanted| wanted.why == Why::Named && wanted.state == State::Dialled;
        let mut room = room.saturating_sub(self.wanted.values().filter(dialled).count());
        let (failed, mut due) = (&self.failed, Vec::new());
        for peer in &self.order {
            let Some(wanted) = self.wanted.get_mut(peer) else { continue };
            if wanted.state != State::Away || wanted.at_ms > now_ms || (wanted.why == Why::Named && room == 0) {
                continue;
            }
            let rested = |one: &&Multiaddr| failed.get(*one).is_none_or(|failed| failed.until_ms <= now_ms);
            let addresses: Vec<Multiaddr> = wanted.addresses.iter().filter(rested).cloned().collect();
            if !addresses.is_empty() {
                wanted.state = State::Dialled;
                room -= usize::from(wanted.why == Why::Named);
                due.push((*peer, addresses));
            }
        }
        due
    }

    /// A connection to it stands; who it is is not known yet.
    pub fn met(&mut self, peer: &PeerId) {
        if let Some(wanted) = self.wanted.get_mut(peer) {
            wanted.state = State::Connected;
        }
    }

    /// It is one of our network.
    pub fn connected(&mut self, peer: &PeerId) {
        let Some(wanted) = self.wanted.get_mut(peer) else { return };
        (wanted.state, wanted.tries) = (State::Connected, 0);
        let addresses: HashSet<Multiaddr> = wanted.addresses.iter().cloned().collect();
        if wanted.why == Why::Named {
            self.forget(peer);
        }
        self.failed.retain(|address, _| !addresses.contains(address));
        self.failed_order.retain(|address| !addresses.contains(address));
    }

    /// The last connection to it is gone.
    pub fn lost(&mut self, peer: &PeerId, now_ms: u64) {
        // A peer that goes before it has said who it is will do so again.
        self.try_later(peer, now_ms);
    }

    /// Nobody is connected any more: the swarm was built anew.
    pub fn all_lost(&mut self) {
        self.wanted.values_mut().for_each(|wanted| wanted.state = State::Away);
    }

    /// A dial to it ended without a connection, at these addresses or, if there are none, at all that it has.
    pub fn failed(&mut self, peer: &PeerId, addresses: &[Multiaddr], now_ms: u64) {
        let known = self.wanted.get(peer).map(|wanted| wanted.addresses.clone()).unwrap_or_default();
        let tried = if addresses.is_empty() { known } else { addresses.iter().map(without_peer).collect() };
        for address in tried {
            self.rest(address, now_ms);
        }
        self.try_later(peer, now_ms);
    }

    /// Its dial did not begin: it is being dialled for another reason.
    pub fn busy(&mut self, peer: &PeerId, now_ms: u64) {
        if let Some(wanted) = self.wanted.get_mut(peer) {
            (wanted.state, wanted.at_ms) = (State::Away, now_ms + back_off_ms(1));
        }
    }

    fn try_later(&mut self, peer: &PeerId, now_ms: u64) {
        let Some(wanted) = self.wanted.get_mut(peer) else { return };
        wanted.tries += 1;
        wanted.at_ms = now_ms + back_off_ms(wanted.tries);
        wanted.state = State::Away;
        if wanted.why == Why::Named && wanted.tries >= limits::TRIES {
            self.forget(peer);
        }
    }

    fn rest(&mut self, address: Multiaddr, now_ms: u64) {
        if !self.failed.contains_key(&address) {
            self.failed_order.push_back(address.clone());
            if self.failed_order.len() > limits::FAILED
                && let Some(oldest) = self.failed_order.pop_front()
            {
                self.failed.remove(&oldest);
            }
        }
        let failed = self.failed.entry(address).or_insert(Failed { times: 0, until_ms: 0 });
        failed.times += 1;
        failed.until_ms = now_ms + back_off_ms(failed.times);
    }

    /// When [`Self::due`] may give something that it does not give now.
    pub fn wake_at_ms(&self, room: usize, now_ms: u64) -> Option<u64> {
        let wanting = |wanted: &&Wanted| wanted.state == State::Away && (wanted.why == Why::Nearby || room > 0);
        let at = |wanted: &Wanted| {
            let rested = |one: &Multiaddr| self.failed.get(one).map_or(0, |failed| failed.until_ms);
            wanted.addresses.iter().map(rested).min().unwrap_or(u64::MAX).max(wanted.at_ms)
        };
        let next = self.wanted.values().filter(wanting).map(at).min()?;
        // What is due now and was not dialled waits for room: looked at again soon enough.
        Some(if next > now_ms { next } else { now_ms + back_off_ms(1) })
    }
}

/// Doubles with each failure in a row.
fn back_off_ms(times: u32) -> u64 {
    let doubled = limits::BACK_OFF_FIRST.saturating_mul(1 << times.saturating_sub(1).min(16));
    doubled.min(limits::BACK_OFF_MAX).as_millis() as u64
}

#[cfg(test)]
mod tests;
