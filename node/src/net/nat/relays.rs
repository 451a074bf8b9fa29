//! Which relays hold a place for us, and which is asked next.

use std::collections::HashMap;

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::limits::{RELAYS_KNOWN, RESERVATIONS, RETRY_FIRST, RETRY_MAX};

/// Peers that offered to relay, and the slots that they hold. // I12
#[derive(Debug, Default)]
pub struct Relays {
    /// In the order in which they were met.
    known: Vec<Known>,
    /// At most [`RESERVATIONS`].
    slots: HashMap<ListenerId, Slot>,
}

#[derive(Debug)]
struct Known {
    peer: PeerId,
    /// Where it was reached.
    address: Multiaddr,
    /// In a row.
    failures: u32,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    relay: PeerId,
    /// It said yes.
    accepted: bool,
}

impl Relays {
    /// A peer offers to relay.
    pub fn add_offer(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(known) = self.known.iter_mut().find(|known| known.peer == peer) {
            known.address = address;
        } else if self.known.len() < RELAYS_KNOWN {
            self.known.push(Known { peer, address, failures: 0, retry_at: None });
        }
    }

    /// It does not offer it any more.
    pub fn remove_offer(&mut self, peer: &PeerId) {
        self.known.retain(|known| known.peer != *peer);
    }

    /// Whom to ask now, with its address: as many as are missing, those that failed least first.
    pub fn next_to_ask(&self, now: Instant) -> Vec<(PeerId, Multiaddr)> {
        let missing = RESERVATIONS.saturating_sub(self.slots.len());
        let mut free: Vec<_> = self.known.iter().filter(|known| self.is_free(known)).collect();
        free.retain(|known| known.retry_at.is_none_or(|at| at <= now));
        free.sort_by_key(|known| known.failures);
        free.into_iter().take(missing).map(|known| (known.peer, known.address.clone())).collect()
    }

    /// It has been asked; the answer comes for this listener.
    pub fn add_request(&mut self, listener: ListenerId, relay: PeerId) {
        self.slots.insert(listener, Slot { relay, accepted: false });
    }

    /// It holds a place, new or renewed.
    pub fn confirm(&mut self, relay: &PeerId) {
        self.slots.values_mut().filter(|slot| slot.relay == *relay).for_each(|slot| slot.accepted = true);
        self.known.iter_mut().filter(|known| known.peer == *relay).for_each(|known| known.failures = 0);
    }

    /// A listener closed; the relay, if one held it.
    pub fn remove(&mut self, listener: &ListenerId, now: Instant) -> Option<PeerId> {
        let slot = self.slots.remove(listener)?;
        self.back_off(&slot.relay, now);
        Some(slot.relay)
    }

    /// It refused, could not be asked, or ended a place.
    pub fn back_off(&mut self, relay: &PeerId, now: Instant) {
        if let Some(known) = self.known.iter_mut().find(|known| known.peer == *relay) {
            let pause = RETRY_FIRST.saturating_mul(1 << known.failures.min(16)).min(RETRY_MAX);
            known.retry_at = Some(now + pause);
            known.failures = known.failures.saturating_add(1);
        }
    }

    /// No relay is needed: the listeners to close.
    pub fn release(&mut self) -> Vec<ListenerId> {
        self.slots.drain().map(|(listener, _)| listener).collect()
    }

    /// Relays that said yes.
    pub fn held(&self) -> Vec<PeerId> {
        let mut held: Vec<_> = self.slots.values().filter(|slot| slot.accepted).map(|slot| slot.relay).collect();
        held.sort();
        held
    }

    /// When a relay may be asked again, if one is missing.
    pub fn next(&self) -> Option<Instant> {
        if self.slots.len() >= RESERVATIONS {
            return None;
        }
        self.known.iter().filter(|known| self.is_free(known)).filter_map(|known| known.retry_at).min()
    }

    fn is_free(&self, known: &Known) -> bool {
        !self.slots.values().any(|slot| slot.relay == known.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(count: usize) -> (Relays, Vec<PeerId>) {
        let mut relays = Relays::default();
        let peers: Vec<_> = (0..count).map(|_| PeerId::random()).collect();
        peers.iter().for_each(|peer| relays.add_offer(*peer, Multiaddr::empty()));
        (relays, peers)
    }

    fn ask_all(relays: &mut Relays, now: Instant) -> Vec<ListenerId> {
        let wanted = relays.next_to_ask(now).into_iter();
        wanted
            .map(|(peer, _)| {
                let listener = ListenerId::next();
                relays.add_request(listener, peer);
                listener
            })
            .collect()
    }

    #[test]
    fn two_places_are_taken_and_no_more() {
        let (mut relays, peers) = relays(5);
        let now = Instant::now();
        assert_eq!(ask_all(&mut relays, now).len(), RESERVATIONS);
        assert!(relays.next_to_ask(now).is_empty());
        assert!(relays.held().is_empty(), "asked is not held");
        peers.iter().for_each(|peer| relays.confirm(peer));
        assert_eq!(relays.held().len(), RESERVATIONS);
        assert_eq!(relays.next(), None);
    }

    #[test]
    fn a_lost_place_is_replaced_by_another_relay_and_the_lost_one_waits() {
        let (mut relays, peers) = relays(3);
        let now = Instant::now();
        let listeners = ask_all(&mut relays, now);
        assert_eq!(relays.remove(&listeners[0], now), Some(peers[0]));
        let next: Vec<_> = relays.next_to_ask(now).into_iter().map(|(peer, _)| peer).collect();
        assert_eq!(next, [peers[2]]);
        relays.remove_offer(&peers[2]);
        assert!(relays.next_to_ask(now).is_empty());
        assert_eq!(relays.next(), Some(now + RETRY_FIRST));
        let again: Vec<_> = relays.next_to_ask(now + RETRY_FIRST).into_iter().map(|(peer, _)| peer).collect();
        assert_eq!(again, [peers[0]]);
    }

    #[test]
    fn pauses_grow_to_their_bound_and_end_with_success() {
        let (mut relays, peers) = relays(1);
        let now = Instant::now();
        (0..40).for_each(|_| relays.back_off(&peers[0], now));
        assert_eq!(relays.next(), Some(now + RETRY_MAX));
        let listener = ask_all(&mut relays, now + RETRY_MAX)[0];
        relays.confirm(&peers[0]);
        relays.remove(&listener, now);
        assert_eq!(relays.next(), Some(now + RETRY_FIRST));
    }

    #[test]
    fn a_flood_of_offers_is_not_remembered() {
        let (relays, _) = relays(10 * RELAYS_KNOWN);
        assert_eq!(relays.known.len(), RELAYS_KNOWN);
    }

    #[test]
    fn what_is_released_is_gone() {
        let (mut relays, _) = relays(2);
        let listeners = ask_all(&mut relays, Instant::now());
        assert_eq!(relays.release().len(), listeners.len());
        assert_eq!(relays.remove(&listeners[0], Instant::now()), None);
    }
}
