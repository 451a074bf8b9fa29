//! Offers for bases that this node does not follow: what the peers that follow them stand behind. It is no part of the
//! catalogue, and nothing limits what it may be but the number of questions: what one look saw is forgotten with the next.
//!
//! All peers are asked at once, each on one stream with one question after another, so that whoever is silent keeps
//! nobody else from being heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::ask::{spread, take_turns};
use potluck_protocol::catalogue::{Neighbourhood, Record};
use potluck_protocol::id::{AnnouncementId, BaseId, ManifestId};
use potluck_protocol::signed::Authentic;
use potluck_protocol::splitmix::SplitMix64;
use tokio::time::{Instant, timeout_at};

use super::ask::{AskError, Line};
use super::limits::{AROUND_FEW, AROUND_HEDGE, BASES_OF_OTHERS, FOLLOWERS_ASKED};
use super::{Exchange, ask, lock};
use crate::net::{Interest, Misdeed};

/// Who stands behind something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backer {
    /// Where the peer is.
    pub near: Neighbourhood,
    /// Which it is.
    pub peer: PeerId,
}

/// An announcement that peers stand behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backed {
    /// What they say.
    pub record: Record,
    /// All who say it, of those that were asked.
    pub by: Vec<Backer>,
}

impl Exchange {
    /// Announcements that connected peers stand behind, of bases that are not followed here, as far as they come within
    /// `patience`. A few that are silent are not waited for so long, and those that were silent before not at all.
    pub async fn look_around(&self, patience: Duration) -> Vec<Backed> {
        // A network that is being restarted has nobody connected.
        let mut interests = self.0.net.bases_of_others().await.unwrap_or_default();
        let now = Instant::now();
        interests.retain(|one| !self.reputation().is_blamed(&one.peer, now));
        let mut rng = SplitMix64::new(self.draw());
        let interviews = interviews(choose(interests, &mut rng), &mut rng);
        let is_resting = |peer: &PeerId| lock(&self.0.memory).is_resting(peer, self.now_ms());
        let mut wait = Wait::new(interviews.keys().map(|one| one.peer), is_resting, now, patience);
        let mut seen: BTreeMap<AnnouncementId, Backed> = BTreeMap::new();
        let interviews = interviews.into_iter().map(|(by, bases)| Interview { by, bases, line: self.line(by.peer) });
        let mut questions: FuturesUnordered<_> = interviews.map(Interview::ask).collect();
        while let Ok(Some((interview, answer))) = timeout_at(wait.ends_at(), questions.next()).await {
            let by = interview.by;
            wait.heard(by.peer, Instant::now());
            match answer {
                Ok(records) => {
                    for record in records {
                        let one = seen.entry(announce::id(&record));
                        one.or_insert_with(|| Backed { record: Arc::new(record), by: Vec::new() }).by.push(by);
                    }
                    if !interview.bases.is_empty() {
                        questions.push(interview.ask());
                        continue;
                    }
                }
                Err(error) => self.note_failed(by.peer, &error),
            }
            wait.done(&by.peer);
        }
        self.note_silent(&wait);
        *lock(&self.0.around) = seen.values().map(|one| one.record.clone()).collect();
        seen.into_values().collect()
    }

    /// What the last of these looks saw, so that what was shown can be named.
    pub fn seen_around(&self) -> Vec<Record> {
        lock(&self.0.around).clone()
    }

    /// A peer stands behind what announces a manifest: it is asked for it before others.
    pub fn note_named(&self, manifest: ManifestId, peer: PeerId) {
        self.holders().note_named(manifest, peer);
    }

    fn line(&self, peer: PeerId) -> Line {
        Line::new(&self.0.net, peer)
    }

    fn note_failed(&self, peer: PeerId, error: &AskError) {
        if error.is_fault() {
            tracing::warn!(%peer, %error, "a peer lied about a base that it follows");
            self.blame(peer, Misdeed::Protocol);
        } else {
            tracing::debug!(%peer, %error, "a peer said nothing of a base that it follows");
        }
    }

    /// Who gave no answer at all rests: in the next look it is asked, and not waited for.
    fn note_silent(&self, wait: &Wait) {
        let (now_ms, mut memory) = (self.now_ms(), lock(&self.0.memory));
        for peer in &wait.silent {
            tracing::debug!(%peer, "a peer was asked about a base and is silent");
            memory.led_nowhere(*peer, now_ms);
        }
    }
}

/// What peers follow, as far as they are asked about it. By turns: each neighbourhood names one base by lot before any
/// names a second, and so does each peer within its neighbourhood. So a base that one neighbourhood alone follows has a
/// place, however many others are named elsewhere.
fn choose(interests: Vec<Interest>, rng: &mut SplitMix64) -> Vec<Interest> {
    let by_peer = spread(interests, |one| (one.near, one.peer), rng);
    let mut bases: BTreeMap<BaseId, BTreeSet<Neighbourhood>> = BTreeMap::new();
    let mut chosen = take_turns(by_peer, |one| one.near, rng);
    chosen.retain(|one| {
        let room = bases.len() < BASES_OF_OTHERS;
        match bases.get_mut(&one.base) {
            Some(asked) => asked.len() < FOLLOWERS_ASKED && asked.insert(one.near),
            None if room => bases.entry(one.base).or_default().insert(one.near),
            None => false,
        }
    });
    chosen
}

/// The same for each peer, in an order that nobody chose: there may not be time for all of it.
fn interviews(chosen: Vec<Interest>, rng: &mut SplitMix64) -> BTreeMap<Backer, Vec<BaseId>> {
    let mut interviews: BTreeMap<Backer, Vec<BaseId>> = BTreeMap::new();
    for Interest { peer, near, base } in chosen {
        interviews.entry(Backer { near, peer }).or_default().push(base);
    }
    for bases in interviews.values_mut() {
        let count = bases.len();
        *bases = rng.sample(std::mem::take(bases), count);
    }
    interviews
}

/// The questions to one peer.
struct Interview {
    by: Backer,
    /// Those of which it was not asked yet.
    bases: Vec<BaseId>,
    line: Line,
}

impl Interview {
    /// The next of them.
    async fn ask(mut self) -> (Self, Result<Vec<Authentic<Announcement>>, AskError>) {
        let answer = match self.bases.pop() {
            Some(base) => ask::announcements(&mut self.line, base).await,
            None => Ok(Vec::new()),
        };
        (self, answer)
    }
}

/// How long answers are waited for.
struct Wait {
    /// In any case no longer.
    until: Instant,
    /// If no more peers than these are waited for, the others decide.
    few: usize,
    /// When the last answer came.
    heard: Instant,
    /// Those that still owe answers, and did not lead nowhere before.
    for_peers: BTreeSet<PeerId>,
    /// Those that gave none yet.
    silent: BTreeSet<PeerId>,
}

impl Wait {
    fn new(
        asked: impl Iterator<Item = PeerId>,
        is_resting: impl Fn(&PeerId) -> bool,
        now: Instant,
        patience: Duration,
    ) -> Self {
        let silent: BTreeSet<_> = asked.collect();
        let for_peers = silent.iter().filter(|peer| !is_resting(peer)).copied().collect();
        // One of two is a few; one alone is not.
        let few = (silent.len() / AROUND_FEW).max(1).min(silent.len().saturating_sub(1));
        Self { until: now + patience, few, heard: now, for_peers, silent }
    }

    fn heard(&mut self, peer: PeerId, now: Instant) {
        self.heard = now;
        self.silent.remove(&peer);
    }

    /// A peer owes no answer any more.
    fn done(&mut self, peer: &PeerId) {
        self.for_peers.remove(peer);
    }

    fn ends_at(&self) -> Instant {
        if self.for_peers.len() <= self.few { self.until.min(self.heard + AROUND_HEDGE) } else { self.until }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::Digest;
    use potluck_protocol::signed::{PublicKey, Signed};

    use super::*;
    use crate::exchange::testing::{honest, silent};
    use crate::net::Handle;
    use crate::net::testing::{announcement, base, connect, key, until};

    /// So long that a look ends for another reason.
    const LONG: Duration = Duration::from_secs(10);

    fn of_number(number: u64) -> BaseId {
        BaseId(Digest::of(&number.to_le_bytes()))
    }

    /// One peer of a neighbourhood follows these.
    fn follows(near: u64, bases: std::ops::Range<u64>) -> Vec<Interest> {
        let (near, peer) = (Neighbourhood(near), PeerId::random());
        bases.map(|number| Interest { peer, near, base: of_number(number) }).collect()
    }

    fn names(chosen: &[Interest], number: u64) -> bool {
        chosen.iter().any(|one| one.base == of_number(number))
    }

    fn announced_for(base: BaseId, keypair: &Keypair) -> Authentic<Announcement> {
        let publisher = PublicKey::of(keypair);
        let body = Announcement { base, publisher, ..announcement(1, "own", 1).body().clone() };
        Signed::sign(&body, keypair).expect("it encodes").expect("its key").verify().expect("just signed")
    }

    /// Until a node knows that so many bases are followed by others.
    async fn hears_of(node: &Handle, count: usize) {
        until(async || node.bases_of_others().await.expect("running").len() == count).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_follows_no_base_sees_what_is_offered_for_those_of_others() {
        let (publisher, other) = (honest(1).await, honest(2).await);
        let own = announcement(1, "own", 1);
        publisher.net.announce(own.clone()).await.expect("it is kept");
        connect(&other.net, &publisher.net).await;
        hears_of(&other.net, 1).await;
        let seen = other.exchange.look_around(LONG).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(*seen[0].record, own);
        assert_eq!(Vec::from_iter(seen[0].by.iter().map(|by| by.peer)), [publisher.net.peer_id()]);
        assert_eq!(other.exchange.seen_around(), [Arc::new(own)]);
        assert!(other.net.announcements(base()).is_empty(), "it is no part of the catalogue");
    }

    /// What a review found: 32 streams to it were opened at once, of which a connection refuses half.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_bases_of_the_only_neighbour_are_asked_about() {
        let (publisher, other) = (honest(1).await, honest(2).await);
        let count = BASES_OF_OTHERS;
        for number in 0..count as u64 {
            publisher.net.announce(announced_for(of_number(number), &key(1))).await.expect("it is kept");
        }
        connect(&other.net, &publisher.net).await;
        hears_of(&other.net, count).await;
        let seen = other.exchange.look_around(6 * LONG).await;
        assert_eq!(seen.len(), count);
    }

    /// What a review found: three of them held every place until there was no time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn silent_peers_that_follow_a_hundred_bases_each_keep_nobody_from_being_heard() {
        let (publisher, other) = (honest(1).await, honest(2).await);
        let own = announcement(1, "own", 1);
        publisher.net.announce(own.clone()).await.expect("it is kept");
        connect(&other.net, &publisher.net).await;
        let mut all = Vec::new();
        for seed in 3..6 {
            let one = silent(seed).await;
            for number in 0..100 {
                one.subscribe(of_number(100 * u64::from(seed) + number)).await.expect("so many are allowed");
            }
            connect(&other.net, &one).await;
            all.push(one);
        }
        hears_of(&other.net, 301).await;
        let seen = other.exchange.look_around(Duration::from_secs(3)).await;
        assert_eq!(Vec::from_iter(seen.iter().map(|one| (*one.record).clone())), [own]);
        let now_ms = other.exchange.now_ms();
        let rests = |peer| lock(&other.exchange.0.memory).is_resting(&peer, now_ms);
        assert!(all.iter().all(|one| rests(one.peer_id())), "they are not waited for again");
        assert!(!rests(publisher.net.peer_id()));
        assert!(other.net.banned().is_empty(), "silence is no fault");
    }

    #[test]
    fn a_base_that_one_neighbourhood_follows_is_asked_about_whatever_strangers_name_in_others() {
        // A hundred made-up bases, each followed in two neighbourhoods; and in the honest one another stranger's.
        let mut interests = [follows(1, 0..100), follows(2, 0..100), follows(3, 100..200)].concat();
        interests.extend(follows(3, 999..1_000));
        for seed in 0..100 {
            let chosen = choose(interests.clone(), &mut SplitMix64::new(seed));
            assert!(names(&chosen, 999), "{seed}");
            let bases: BTreeSet<_> = chosen.iter().map(|one| one.base).collect();
            assert_eq!(bases.len(), BASES_OF_OTHERS);
        }
    }

    #[test]
    fn one_stranger_with_many_peers_and_bases_leaves_a_turn_for_each_other_peer() {
        let mut interests: Vec<_> = (0..16).flat_map(|peer| follows(1, 100 * peer..100 * peer + 100)).collect();
        interests.extend(follows(1, 9_999..10_000));
        assert!((0..100).all(|seed| names(&choose(interests.clone(), &mut SplitMix64::new(seed)), 9_999)));
    }

    #[test]
    fn a_base_is_asked_about_in_several_neighbourhoods_once_in_each() {
        let interests: Vec<_> = (0..20).flat_map(|peer| follows(peer / 4, 0..1)).collect();
        let chosen = choose(interests, &mut SplitMix64::new(1));
        let near: BTreeSet<_> = chosen.iter().map(|one| one.near).collect();
        assert_eq!((chosen.len(), near.len()), (FOLLOWERS_ASKED, FOLLOWERS_ASKED));
    }

    #[test]
    fn a_few_that_are_silent_are_waited_for_a_moment_and_those_that_were_before_not_at_all() {
        let peers: Vec<_> = (0..8).map(|_| PeerId::random()).collect();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_millis(500));
        let mut wait = Wait::new(peers.iter().copied(), |_| false, now, LONG);
        for peer in &peers[..5] {
            wait.heard(*peer, later);
            wait.done(peer);
        }
        assert_eq!(wait.ends_at(), now + LONG, "three of eight are no few");
        wait.heard(peers[5], later);
        assert_eq!(wait.ends_at(), now + LONG, "it owes more answers");
        wait.done(&peers[5]);
        assert_eq!(wait.ends_at(), later + AROUND_HEDGE);
        assert_eq!(wait.silent, BTreeSet::from_iter(peers[6..].iter().copied()));
        let wait = Wait::new(peers.iter().copied(), |peer| peers[2..].contains(peer), now, LONG);
        assert_eq!(wait.ends_at(), now + AROUND_HEDGE, "two of eight are");
        let wait = Wait::new(peers[..1].iter().copied(), |_| false, now, LONG);
        assert_eq!(wait.ends_at(), now + LONG, "nobody else is there");
    }
}
