//! Who gives up a slot when all slots for shards are taken: a peer that asks and does not read holds one for as long as
//! it likes, and a few of them would hold all.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::future::{AbortHandle, Abortable};
use libp2p::PeerId;
use tokio::time::Instant;

use super::limits::STALL_GRACE;
use super::lock;
use super::uploads::Asker;
use crate::addresses::AddressGroup;

/// The shards that are being sent. Bounded by the places for them.
#[derive(Debug, Default)]
pub struct Stalls(Mutex<Sending>);

#[derive(Debug, Default)]
struct Sending {
    next: u64,
    /// By age.
    all: BTreeMap<u64, (Asker, Instant, AbortHandle)>,
}

/// Takes a sending out of the list, however it ends.
struct Entry<'a>(&'a Stalls, u64);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).all.remove(&self.1);
    }
}

impl Stalls {
    /// Sends; `None` if it was ended to make room.
    pub async fn watch<T>(&self, asker: Asker, sending: impl Future<Output = T>) -> Option<T> {
        let (handle, registration) = AbortHandle::new_pair();
        let _entry = {
            let mut list = lock(&self.0);
            let ticket = list.next;
            list.next += 1;
            list.all.insert(ticket, (asker, Instant::now(), handle));
            Entry(self, ticket)
        };
        Abortable::new(sending, registration).await.ok()
    }

    /// Ends the oldest sending of the peer that has most of them in the neighbourhood that has most of them, unless all are
    /// young: an honest peer takes a shard in less time on any line that is worth a place while others wait.
    pub fn make_room(&self) {
        self.make_room_at(Instant::now());
    }

    fn make_room_at(&self, now: Instant) {
        let list = lock(&self.0);
        let (mut near, mut its) = (BTreeMap::<AddressGroup, usize>::new(), BTreeMap::<PeerId, usize>::new());
        for (asker, ..) in list.all.values() {
            *near.entry(asker.group).or_default() += 1;
            *its.entry(asker.peer).or_default() += 1;
        }
        let old = list.all.iter().filter(|(_, (_, since, _))| now.saturating_duration_since(*since) >= STALL_GRACE);
        // The last of equals would be the youngest.
        let victim = old.rev().max_by_key(|(_, (asker, ..))| (near.get(&asker.group), its.get(&asker.peer)));
        if let Some((_, (asker, _, handle))) = victim {
            tracing::debug!(peer = %asker.peer, "a peer does not take what it asked for, while others wait");
            handle.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(number: u8) -> Asker {
        Asker { peer: PeerId::random(), group: AddressGroup::V4([10, 0, number]) }
    }

    #[tokio::test]
    async fn many_peers_of_one_neighbourhood_give_way_before_one_peer_of_another() {
        let (stalls, honest) = (Stalls::default(), asker(1));
        let never = std::future::pending::<()>;
        let askers = [honest, honest, asker(2), asker(2), asker(2)];
        let mut sent = askers.map(|asker| Box::pin(stalls.watch(asker, never())));
        for one in &mut sent {
            assert!(futures::poll!(one).is_pending());
        }
        stalls.make_room_at(Instant::now() + STALL_GRACE);
        let [first, second, third, ..] = &mut sent;
        assert!(futures::poll!(third).is_ready());
        assert!(futures::poll!(first).is_pending() && futures::poll!(second).is_pending());
    }

    #[tokio::test]
    async fn the_oldest_of_the_greediest_goes_and_nobody_who_has_just_begun() {
        let (stalls, greedy, modest) = (Stalls::default(), asker(1), asker(1));
        let never = std::future::pending::<()>;
        let mut sent = [modest, greedy, greedy].map(|peer| Box::pin(stalls.watch(peer, never())));
        for one in &mut sent {
            assert!(futures::poll!(one).is_pending());
        }
        stalls.make_room();
        for one in &mut sent {
            assert!(futures::poll!(one).is_pending(), "they were young");
        }
        stalls.make_room_at(Instant::now() + STALL_GRACE);
        let [first, second, third] = &mut sent;
        assert!(futures::poll!(second).is_ready());
        assert!(futures::poll!(first).is_pending() && futures::poll!(third).is_pending());
        drop(sent);
        assert!(lock(&stalls.0).all.is_empty());
    }
}
