//! What was found out about claims, and how much of it was done lately: so that a lying prover costs one fold for each
//! claim at most, and a crowd of them a few in an hour.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use potluck_protocol::id::{FoldDigest, ManifestId};
use potluck_protocol::signed::PublicKey;
use tokio::time::Instant;

use crate::app::channel::follower::limits::{LEDGER_MAX, PROOFS_PER_KEY, SPAN};
use crate::lock::lock;

/// What folding a version gave here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refolded {
    /// What it states.
    Same,
    Other(FoldDigest),
}

/// The ledger of a node. Clones share it.
#[derive(Clone, Default)]
pub struct Rates(Arc<Mutex<Ledger>>);

impl Rates {
    /// Held for operations on maps only.
    pub fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut lock(&self.0))
    }
}

/// Of this process; after a restart claims are looked at again.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Proofs that were judged.
    judged: Latest<()>,
    /// Against which channel a proof is that was read.
    about: Latest<ManifestId>,
    /// By version.
    results: Latest<Refolded>,
    /// By channel and by key: when.
    reruns: BTreeMap<ManifestId, VecDeque<Instant>>,
    proofs: BTreeMap<PublicKey, VecDeque<Instant>>,
}

/// What is remembered of the last [`LEDGER_MAX`] manifests. The oldest are forgotten first: strangers choose ids, and
/// nobody's shall be forgotten because of its number.
#[derive(Debug)]
struct Latest<T> {
    all: BTreeMap<ManifestId, T>,
    /// The oldest first.
    order: VecDeque<ManifestId>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T> Latest<T> {
    fn get(&self, id: &ManifestId) -> Option<&T> {
        self.all.get(id)
    }

    fn insert(&mut self, id: ManifestId, what: T) {
        if self.all.insert(id, what).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > LEDGER_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

impl Ledger {
    /// Whether a proof was judged lately.
    pub fn is_judged(&self, proof: &ManifestId) -> bool {
        self.judged.get(proof).is_some()
    }

    /// Notes that a proof was judged.
    pub fn judged(&mut self, proof: ManifestId) {
        self.judged.insert(proof, ());
    }

    /// Whether a proof was read and is against another channel than this one.
    pub fn is_elsewhere(&self, proof: &ManifestId, channel: &ManifestId) -> bool {
        self.about.get(proof).is_some_and(|about| about != channel)
    }

    /// Notes against which channel a proof is.
    pub fn read(&mut self, proof: ManifestId, channel: ManifestId) {
        self.about.insert(proof, channel);
    }

    /// What folding a version gave here, if that is remembered.
    pub fn result(&self, version: &ManifestId) -> Option<Refolded> {
        self.results.get(version).copied()
    }

    /// Remembers what folding a version gave here.
    pub fn set_result(&mut self, version: ManifestId, result: Refolded) {
        self.results.insert(version, result);
    }

    /// Whether one more version of this channel may be folded now because of a claim, when `most` may be within the span;
    /// counts it.
    pub fn may_rerun(&mut self, channel: ManifestId, most: usize, now: Instant) -> bool {
        take(&mut self.reruns, channel, most, now)
    }

    /// Whether proofs by this key may be looked at now.
    pub fn has_looks(&self, key: &PublicKey, now: Instant) -> bool {
        let recent = |all: &VecDeque<Instant>| all.iter().filter(|at| now.duration_since(**at) < SPAN).count();
        self.proofs.get(key).is_none_or(|all| recent(all) < PROOFS_PER_KEY)
    }

    /// Whether one more proof by this key is looked at now; counts it.
    pub fn may_look(&mut self, key: PublicKey, now: Instant) -> bool {
        take(&mut self.proofs, key, PROOFS_PER_KEY, now)
    }
}

fn take<K: Ord + Copy>(times: &mut BTreeMap<K, VecDeque<Instant>>, key: K, most: usize, now: Instant) -> bool {
    let recent = |at: &Instant| now.duration_since(*at) < SPAN;
    times.retain(|_, all| {
        all.retain(recent);
        !all.is_empty()
    });
    if times.len() >= LEDGER_MAX && !times.contains_key(&key) {
        // Keys are free: whoever makes many must not keep others out. The one that was looked at longest ago makes room.
        let oldest = times.iter().min_by_key(|(_, all)| all.back().copied()).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            times.remove(&oldest);
        }
    }
    let all = times.entry(key).or_default();
    let fits = all.len() < most;
    if fits {
        all.push_back(now);
    }
    fits
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;
    use crate::app::channel::follower::limits::{RERUNS, RERUNS_OF_OLD};

    fn id(n: usize) -> ManifestId {
        ManifestId(Digest::of(&n.to_le_bytes()))
    }

    #[test]
    fn a_crowd_of_claims_costs_a_few_folds_an_hour() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let granted = (0..100).filter(|_| ledger.may_rerun(id(0), RERUNS, now)).count();
        assert_eq!(granted, RERUNS);
        assert!(ledger.may_rerun(id(1), RERUNS, now), "another channel is not held up");
        assert!(!ledger.may_rerun(id(1), RERUNS_OF_OLD, now), "an old version waits for an hour without any");
        assert!(ledger.may_rerun(id(0), RERUNS_OF_OLD, now + SPAN));
        let key = PublicKey(Digest::of(b"key"));
        assert_eq!((0..100).filter(|_| ledger.may_look(key, now)).count(), PROOFS_PER_KEY);
        assert!(!ledger.has_looks(&key, now) && ledger.has_looks(&key, now + SPAN));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for n in 0..LEDGER_MAX + 10 {
            ledger.judged(id(n));
            ledger.set_result(id(n), Refolded::Same);
            ledger.read(id(n), id(0));
            let look = now + std::time::Duration::from_millis(n as u64);
            assert!(ledger.may_look(PublicKey(id(n).0), look), "a crowd of keys keeps no new one out");
        }
        assert_eq!((ledger.judged.all.len(), ledger.judged.order.len()), (LEDGER_MAX, LEDGER_MAX));
        assert_eq!((ledger.results.all.len(), ledger.results.order.len()), (LEDGER_MAX, LEDGER_MAX));
        assert_eq!((ledger.about.all.len(), ledger.proofs.len()), (LEDGER_MAX, LEDGER_MAX));
        assert!(!ledger.is_judged(&id(0)) && ledger.is_judged(&id(LEDGER_MAX + 9)));
    }

    #[test]
    fn what_was_found_out_last_is_remembered_whatever_its_id() {
        let mut ids: Vec<_> = (0..LEDGER_MAX + 500).map(id).collect();
        // The last to come have the lowest ids.
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        let mut ledger = Ledger::default();
        for &one in &ids {
            ledger.judged(one);
            ledger.set_result(one, Refolded::Same);
            ledger.read(one, id(0));
        }
        for (n, one) in ids.iter().enumerate() {
            let here = (ledger.is_judged(one), ledger.result(one).is_some(), ledger.is_elsewhere(one, &id(1)));
            assert_eq!(here, (n >= 500, n >= 500, n >= 500), "{n}");
        }
    }
}
