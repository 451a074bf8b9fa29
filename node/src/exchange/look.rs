//! Many manifests and none of what they name: what searches, followers and stewards look at. Every connected peer may be
//! asked for each, in the order of [`potluck_protocol::ask`].

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use potluck_protocol::ask::Answer;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::asking::{Asking, failed};
use super::limits::LOOK_AT_ONCE;
use super::{Exchange, ask, lock};
use crate::net::{Misdeed, PeerInfo};

/// What came of a look.
#[derive(Debug, Default)]
pub struct Looked {
    /// Verified, in the order in which they came.
    pub found: Vec<Authentic<Manifest>>,
    /// Those that nobody handed out, in the order in which they were asked for.
    pub missing: Vec<ManifestId>,
    /// Those for which nobody was asked: there was no time.
    pub unasked: Vec<ManifestId>,
}

/// What came of a look for one.
enum Sought {
    Found(Box<Authentic<Manifest>>),
    Missing(ManifestId),
    Unasked(ManifestId),
}

impl Exchange {
    /// Those of these manifests that connected peers hand out within `patience`, and those that they do not. What is here
    /// already is not asked for. What nobody handed out before is looked for last.
    pub async fn look_at(&self, manifests: Vec<ManifestId>, patience: Duration) -> Looked {
        let until = Instant::now() + patience;
        // A network that is being restarted has nobody connected.
        let connected = self.0.net.peers().await.unwrap_or_default();
        let places = Semaphore::new(LOOK_AT_ONCE);
        let mut order = manifests.clone();
        order.sort_by_key(|id| lock(&self.0.missing).is_resting(id, self.now_ms()));
        let looks = order.into_iter().map(|id| self.look(id, &connected, &places, until));
        let looks: FuturesUnordered<_> = looks.collect();
        let sought: Vec<_> = looks.collect().await;
        let places: BTreeMap<_, _> = manifests.into_iter().enumerate().map(|(place, id)| (id, place)).collect();
        let mut looked = Looked::default();
        for one in sought {
            match one {
                Sought::Found(manifest) => looked.found.push(*manifest),
                Sought::Missing(id) => looked.missing.push(id),
                Sought::Unasked(id) => looked.unasked.push(id),
            }
        }
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
    use crate::net::testing::{connect, peer_id};

    /// A manifest that does not exist.
    fn nothing(number: u8) -> ManifestId {
        ManifestId(Digest::of(&[b'n', number]))
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
