//! Many manifests and none of what they name: what searches, followers and stewards look at. Every connected peer may be
//! asked for each, in the order of [`potluck_protocol::ask`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use potluck_protocol::ask::Answer;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::asking::{Asking, failed};
use super::limits::{LOOK_AT_ONCE, LOOK_GRACE, LOOK_QUIET};
use super::{Exchange, ask, lock};
use crate::net::{Misdeed, PeerInfo};

/// What came of a look.
#[derive(Debug, Default)]
pub struct Looked {
    /// Verified, in the order in which they came.
    pub found: Vec<Authentic<Manifest>>,
    /// Those that nobody handed out, in the order in which they were asked for.
    pub missing: Vec<ManifestId>,
    /// Those for which there was no time: nobody was asked, or not everybody for long enough.
    pub unasked: Vec<ManifestId>,
}

/// What came of a look for one.
enum Sought {
    Found(Box<Authentic<Manifest>>),
    Missing(ManifestId),
    Unasked(ManifestId),
}

/// The next result, unless it comes after that time.
async fn next_before<T>(looks: &mut FuturesUnordered<impl Future<Output = T>>, end: Option<Instant>) -> Option<T> {
    match end {
        Some(end) => timeout_at(end, looks.next()).await.ok().flatten(),
        None => looks.next().await,
    }
}

impl Exchange {
    /// Those of these manifests that connected peers hand out within `patience`, and those that they do not. What is here
    /// already is not asked for. What nobody handed out before is looked for last.
    pub async fn look_at(&self, manifests: Vec<ManifestId>, patience: Duration) -> Looked {
        self.look_until(manifests, Instant::now() + patience, |_| None).await
    }

    /// The same for somebody who waits: it ends a moment after the last of `first` was found, or when nothing more was
    /// found for a second. Anybody can announce what nobody hands out.
    pub async fn look_at_first(
        &self,
        manifests: Vec<ManifestId>,
        mut first: BTreeSet<ManifestId>,
        patience: Duration,
    ) -> Looked {
        let until = Instant::now() + patience;
        let any = !first.is_empty();
        let enough = |found: &ManifestId| {
            first.remove(found);
            Some(Instant::now() + if any && first.is_empty() { LOOK_GRACE } else { LOOK_QUIET })
        };
        self.look_until(manifests, until, enough).await
    }

    /// Until that time, or an earlier one that `enough` says after each that was found.
    async fn look_until(
        &self,
        manifests: Vec<ManifestId>,
        until: Instant,
        mut enough: impl FnMut(&ManifestId) -> Option<Instant>,
    ) -> Looked {
        // A network that is being restarted has nobody connected.
        let connected = self.0.net.peers().await.unwrap_or_default();
        let places = Semaphore::new(LOOK_AT_ONCE);
        let mut order = manifests.clone();
        order.sort_by_key(|id| lock(&self.0.missing).is_resting(id, self.now_ms()));
        let looks = order.into_iter().map(|id| self.look(id, &connected, &places, until));
        let mut looks: FuturesUnordered<_> = looks.collect();
        let places: BTreeMap<_, _> = manifests.into_iter().enumerate().map(|(place, id)| (id, place)).collect();
        let mut open: BTreeSet<ManifestId> = places.keys().copied().collect();
        let (mut looked, mut end) = (Looked::default(), None);
        while let Some(one) = next_before(&mut looks, end).await {
            let id = match one {
                Sought::Found(manifest) => {
                    let id = manifest.id();
                    end = enough(&id);
                    looked.found.push(*manifest);
                    id
                }
                Sought::Missing(id) => {
                    looked.missing.push(id);
                    id
                }
                Sought::Unasked(id) => {
                    looked.unasked.push(id);
                    id
                }
            };
            open.remove(&id);
        }
        // They had no full time: that they are missing is not known.
        looked.unasked.extend(open);
        looked.missing.sort_by_key(|id| places.get(id));
        looked.unasked.sort_by_key(|id| places.get(id));
        self.note_missing(&looked.found, &looked.missing);
        looked
    }

    async fn look(&self, id: ManifestId, connected: &[PeerInfo], places: &Semaphore, until: Instant) -> Sought {
        // Closed by nobody.
        let Ok(place) = places.acquire().await else { return Sought::Unasked(id) };
        if let Ok(Some(manifest)) = self.blocking(move |store| store.manifest(&id)).await {
            return Sought::Found(Box::new(manifest));
        }
        if Instant::now() >= until {
            return Sought::Unasked(id);
        }
        let mut place = Some(place);
        let mut asking = Asking::new(self, id, 1);
        let mut due = asking.meet(connected, &[]);
        let mut questions = FuturesUnordered::new();
        while Instant::now() < until {
            questions.extend(due.into_iter().map(|peer| self.question(peer, id)));
            if asking.is_exhausted() {
                return Sought::Missing(id);
            }
            if asking.is_idle() {
                place = None;
            }
            let wake = asking.wake().unwrap_or(until).min(until);
            due = tokio::select! {
                biased;
                Some((peer, answer)) = questions.next(), if !questions.is_empty() => match answer {
                    Ok(manifest) => {
                        asking.delivered(peer);
                        self.holders().note(id, peer);
                        return Sought::Found(Box::new(manifest));
                    }
                    Err(answer) => asking.answered(peer, answer),
                },
                () = sleep_until(wake) => asking.tick(),
            };
        }
        drop(place);
        Sought::Missing(id)
    }

    /// Asks one peer. Who breaks a rule is to blame.
    async fn question(&self, peer: PeerId, id: ManifestId) -> (PeerId, Result<Authentic<Manifest>, Answer>) {
        let answer = match ask::manifest(&self.0.net, peer, id).await {
            Ok(Some(manifest)) => Ok(manifest),
            // Whoever passes on what only a later version can read has done nothing wrong.
            Ok(None) | Err(ask::AskError::Unreadable(_)) => Err(Answer::Lacks),
            Err(error) => {
                tracing::debug!(%peer, %error, "a manifest was not handed out");
                if error.is_fault() {
                    self.blame(peer, Misdeed::Protocol);
                }
                Err(failed(&error))
            }
        };
        (peer, answer)
    }

    /// What nobody handed out rests, for a time that doubles.
    fn note_missing(&self, found: &[Authentic<Manifest>], missing: &[ManifestId]) {
        let (now_ms, mut rests) = (self.now_ms(), lock(&self.0.missing));
        found.iter().for_each(|manifest| rests.reset(&manifest.id()));
        missing.iter().for_each(|id| rests.back_off_once(*id, now_ms));
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;
    use crate::exchange::testing::{honest, publish, silent};
    use crate::net::testing::{connect, node, peer_id};

    /// A manifest that does not exist.
    fn nothing(number: u8) -> ManifestId {
        ManifestId(Digest::of(&[b'n', number]))
    }

    /// Four silent peers that a search would wait for, and one that hands out what is wanted.
    #[tokio::test]
    async fn a_search_ends_a_moment_after_what_fits_was_found_whatever_was_made_up_beside_it() {
        let (one, two) = (honest(1).await, honest(2).await);
        let id = publish(&one.store, 3000);
        connect(&two.net, &one.net).await;
        let (mute, _unread) = node(3).await;
        connect(&two.net, &mute).await;
        let wanted: Vec<_> = (0..8).map(nothing).chain([id]).collect();
        // Days: whoever waited for what is made up would not end.
        let patience = Duration::from_secs(200_000);
        let looked = two.exchange.look_at_first(wanted.clone(), BTreeSet::from([id]), patience).await;
        assert_eq!(looked.found.iter().map(|one| one.id()).collect::<Vec<_>>(), [id]);
        assert_eq!(looked.missing.len() + looked.unasked.len(), 8);
        // All fit: it ends when nothing more was found for a while.
        let all = wanted.iter().copied().collect();
        let looked = two.exchange.look_at_first(wanted, all, patience).await;
        assert_eq!(looked.found.iter().map(|one| one.id()).collect::<Vec<_>>(), [id]);
    }

    #[tokio::test]
    async fn a_look_brings_manifests_and_nothing_that_they_name() {
        let (one, two) = (honest(1).await, honest(2).await);
        let id = publish(&one.store, 3000);
        connect(&two.net, &one.net).await;
        let looked = two.exchange.look_at(vec![nothing(0), id], Duration::from_secs(10)).await;
        assert_eq!(looked.found.iter().map(Authentic::id).collect::<Vec<_>>(), [id]);
        assert_eq!(looked.missing, [nothing(0)], "what could not be had is said");
        assert!(two.store.manifest(&id).expect("readable").is_none(), "it is not called complete");
        assert_eq!(two.store.stat().expect("readable").shards, 0);
        let own = one.exchange.look_at(vec![id], Duration::ZERO).await;
        assert_eq!(own.found.len(), 1, "what is here needs nobody");
    }

    /// What the security review found of channels: peers were asked one after the other, in the order of their ids, so the
    /// first one that was silent was the last one that was asked.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_silent_peer_keeps_nothing_from_a_look() {
        let node = honest(1).await;
        let mut seeds: Vec<u8> = (2..12).collect();
        seeds.sort_by_key(|seed| peer_id(*seed));
        let has_it = honest(seeds.pop().expect("ten")).await;
        let id = publish(&has_it.store, 3000);
        let mut idlers = Vec::new();
        for seed in seeds {
            idlers.push(silent(seed).await);
        }
        for idler in &idlers {
            connect(&node.net, idler).await;
        }
        connect(&node.net, &has_it.net).await;
        // Made-up ones before it, of which the idlers keep us waiting too.
        let wanted = (0..20).map(nothing).chain([id]).collect();
        let looked = node.exchange.look_at(wanted, Duration::from_secs(9)).await;
        assert_eq!(looked.found.iter().map(Authentic::id).collect::<Vec<_>>(), [id]);
        assert_eq!(looked.missing, (0..20).map(nothing).collect::<Vec<_>>());
        assert!(node.net.banned().is_empty(), "silence is no fault");
    }
}
