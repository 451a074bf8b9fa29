//! When to compare with whom: the machine that keeps a catalogue equal to its neighbours'.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::admission::Admission;
use super::base_records::Record;
use super::followed_base::{FollowedBase, Follower};
use super::records::{Catalogue, Inserted, Page};
use super::rests::Rests;
use super::round::{Action, Event, Question, Round, RoundId, RoundOutcome, Step, another_question};
use super::timing::{
    BASES, CROWDED_PAUSE_MS, HEDGE_MS, MEET_MS, PEERS_PER_BASE, PERIOD_CROWDED_MS, PERIOD_MS, ROUNDS, SOON_MS, SPREAD,
    SPREAD_MS, SPREAD_PAUSE_MS, TURN_MS,
};
use super::voucher::{Neighbour, Neighbourhood, Trust, Voucher};
use crate::announce::{self, Announcement};
use crate::id::BaseId;
use crate::limits::ANNOUNCEMENTS_MAX;
use crate::signed::Authentic;
use crate::splitmix::{SplitMix64, mix};

/// Decides what is asked of whom, and when. Holds no record: the catalogue is handed in.
#[derive(Clone, Debug)]
pub struct Reconcile {
    rng: SplitMix64,
    bases: BTreeMap<BaseId, FollowedBase>,
    /// Rounds that are to be, and not before which time.
    due: BTreeMap<(BaseId, PeerId), u64>,
    rounds: BTreeMap<RoundId, Round>,
    rests: Rests,
    admission: Admission,
    next_round: u64,
}

impl Reconcile {
    /// Knows nobody. Nodes should have different seeds, so that they do not all ask at once.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: SplitMix64::new(mix(seed)),
            bases: BTreeMap::new(),
            due: BTreeMap::new(),
            rounds: BTreeMap::new(),
            rests: Rests::default(),
            admission: Admission::default(),
            next_round: 0,
        }
    }

    /// The same for one comparison that somebody waits for and that must miss nothing. Its time is the only bound.
    pub fn unlimited(seed: u64) -> Self {
        Self { admission: Admission::unlimited(), ..Self::new(seed) }
    }

    /// Takes an event at a time (milliseconds of any clock that does not go back) and says what to do. What is learned
    /// is in `catalogue` when it returns.
    pub fn handle(&mut self, event: Event, now_ms: u64, catalogue: &mut Catalogue) -> Vec<Action> {
        let mut actions = Vec::new();
        self.note(event, now_ms, catalogue, &mut actions);
        self.end_overdue(now_ms, &mut actions);
        self.plan(now_ms, catalogue);
        self.start_due(now_ms, catalogue, &mut actions);
        actions
    }

    /// When [`Event::Tick`] is wanted next if nothing else happens; `None` if time alone changes nothing.
    pub fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        // What is due and does not start waits for a round to end or to be slow: those times are among these.
        let rounds = self.rounds.values().flat_map(|round| [round.ends_at_ms(), round.started_ms + HEDGE_MS]);
        let bases = self.bases.values().filter(|followed| !followed.peers.is_empty());
        let planned = bases.flat_map(|followed| std::iter::once(followed.next_ms).chain(followed.spread_ms));
        let due = self.due.iter().map(|((base, peer), at)| self.rests.until_ms(base, peer).max(*at));
        rounds.chain(planned).chain(due).filter(|at| *at > now_ms).min()
    }

    fn note(&mut self, event: Event, now_ms: u64, catalogue: &mut Catalogue, actions: &mut Vec<Action>) {
        match event {
            Event::Met { peer, base, near } => self.note_met(peer, near, base, now_ms),
            Event::Gone { peer } => self.note_gone(&peer, now_ms, actions),
            Event::Asked { peer, base } => {
                if self.bases.get(&base).is_some_and(|followed| followed.peers.contains_key(&peer)) {
                    let at_ms = now_ms + self.rng.below(TURN_MS);
                    self.schedule(base, peer, at_ms);
                }
            }
            Event::Missed { base } => self.plan_sooner(&base, now_ms),
            Event::Crowded { peer, base } => {
                let followed = self.bases.get(&base).and_then(|followed| followed.peers.get(&peer));
                if let Some(one) = followed {
                    let pause_ms = one.asked_ms.map_or(0, |at| at + CROWDED_PAUSE_MS);
                    let at_ms = pause_ms.max(now_ms + self.rng.below(TURN_MS));
                    self.rests.shorten(&base, &peer, at_ms);
                    self.schedule(base, peer, at_ms);
                }
            }
            Event::Differs { round, differing } => {
                if let Some(one) = self.rounds.get_mut(&round) {
                    let next = one.take_differing(&differing, catalogue, &self.admission, &mut self.rng, now_ms);
                    self.proceed(round, next, now_ms, actions);
                }
            }
            Event::StoodBehind { round, page } => self.stood_behind(round, page, now_ms, catalogue, actions),
            Event::Records { round, page } => self.records(round, page, now_ms, catalogue, actions),
            Event::Unanswered { round } => self.end(round, RoundOutcome::Unanswered, now_ms, actions),
            Event::Wrong { round, blame } => self.proceed(round, Step::Wrong(blame), now_ms, actions),
            Event::Tick => {}
        }
    }

    fn note_met(&mut self, peer: PeerId, near: Neighbourhood, base: BaseId, now_ms: u64) {
        if self.bases.len() >= BASES && !self.bases.contains_key(&base) {
            return;
        }
        let next_ms = now_ms + self.vary(PERIOD_MS);
        let followed = self.bases.entry(base).or_insert_with(|| FollowedBase::new(next_ms));
        if followed.peers.len() < PEERS_PER_BASE || followed.peers.contains_key(&peer) {
            followed.peers.insert(peer, Follower { near, asked_ms: None });
            let at_ms = now_ms + self.rng.below(MEET_MS);
            self.schedule(base, peer, at_ms);
        }
    }

    fn note_gone(&mut self, peer: &PeerId, now_ms: u64, actions: &mut Vec<Action>) {
        for followed in self.bases.values_mut() {
            followed.peers.remove(peer);
        }
        self.due.retain(|(_, other), _| other != peer);
        let theirs = self.rounds.iter().filter(|(_, round)| round.peer == *peer);
        for id in theirs.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id, RoundOutcome::Unanswered, now_ms, actions);
        }
    }

    fn records(&mut self, id: RoundId, page: Page, now_ms: u64, catalogue: &mut Catalogue, actions: &mut Vec<Action>) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        let count = page.count();
        for later in page.later {
            if let Err(blame) = round.accept_later(later) {
                return self.proceed(id, Step::Wrong(blame), now_ms, actions);
            }
            self.admission.decline_later(later, now_ms);
        }
        let (learned, mut declined) = (round.learned, 0);
        for record in page.records {
            if let Err(blame) = round.accept(&record) {
                return self.proceed(id, Step::Wrong(blame), now_ms, actions);
            }
            let from = Neighbour { peer: round.peer, near: round.near };
            let voucher = Voucher::of_publisher(from, &record.body().publisher);
            match take(&mut self.admission, catalogue, record, (round.near, voucher), now_ms) {
                Taken::New { record, heard } => {
                    round.learned += usize::from(heard);
                    actions.push(Action::Learned(record));
                }
                Taken::Declined => declined += 1,
                Taken::Stale => {}
            }
        }
        round.declined += declined;
        // A page of which little is taken says what the next ones are like.
        if self.admission.is_limited() && declined > round.learned - learned {
            let outcome = round.outcome();
            return self.proceed(id, Step::End(outcome), now_ms, actions);
        }
        let next = round.take_page(count, catalogue, now_ms);
        self.proceed(id, next, now_ms, actions);
    }

    /// What a peer stands behind has the places of its neighbourhood, so that it is had however much else there is.
    fn stood_behind(
        &mut self,
        id: RoundId,
        page: Page,
        now_ms: u64,
        catalogue: &mut Catalogue,
        actions: &mut Vec<Action>,
    ) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        if !round.awaits_stood_behind() || page.records.iter().any(|record| record.body().base != round.base) {
            return self.proceed(id, another_question(), now_ms, actions);
        }
        page.later.into_iter().take(ANNOUNCEMENTS_MAX).for_each(|id| self.admission.decline_later(id, now_ms));
        for record in page.records.into_iter().take(ANNOUNCEMENTS_MAX) {
            let from = Neighbour { peer: round.peer, near: round.near };
            let voucher = Voucher::of_publisher(from, &record.body().publisher).unwrap_or(Voucher::Neighbour(from));
            let older = catalogue.is_stale(&record) && !catalogue.contains(&round.base, &announce::id(&record));
            let has_place = catalogue.has_place(&record, voucher);
            if older || has_place || !self.admission.take_stood_behind(round.near, now_ms) {
                continue;
            }
            let taken = take(&mut self.admission, catalogue, record, (round.near, Some(voucher)), now_ms);
            if let Taken::New { record, heard } = taken {
                // What only has a place beside what is compared is no news that a comparison could spread.
                round.learned += usize::from(heard);
                actions.push(Action::Learned(record));
            }
        }
        let next = round.fetch(catalogue, now_ms);
        self.proceed(id, next, now_ms, actions);
    }

    fn proceed(&mut self, id: RoundId, next: Step, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(round) = self.rounds.get(&id) else { return };
        let peer = round.peer;
        match next {
            Step::Ask(question) => actions.push(Action::Ask { round: id, peer, question }),
            Step::End(outcome) => self.end(id, outcome, now_ms, actions),
            Step::Wrong(blame) => {
                actions.push(Action::Blame { peer, blame });
                self.end(id, RoundOutcome::Wrong, now_ms, actions);
            }
        }
    }

    fn end(&mut self, id: RoundId, outcome: RoundOutcome, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(Round { peer, base, learned, declined, later, .. }) = self.rounds.remove(&id) else { return };
        self.rests.note(outcome, declined > learned, base, peer, now_ms);
        // Nothing to learn where something differs: it lacks what we have, and may not be the only one. Where only a later
        // version could learn something, that is why it differs.
        let lacks = outcome == RoundOutcome::Nothing && !later;
        if lacks || matches!(outcome, RoundOutcome::Unanswered | RoundOutcome::Wrong) {
            self.plan_sooner(&base, now_ms);
        }
        if learned > 0
            && let Some(followed) = self.bases.get_mut(&base)
        {
            let soonest_ms = followed.spread_again_ms.max(now_ms);
            followed.spread_ms.get_or_insert(soonest_ms);
        }
        actions.push(Action::Ended { round: id, peer, base, outcome });
    }

    fn end_overdue(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let overdue = self.rounds.iter().filter(|(_, round)| now_ms >= round.ends_at_ms());
        for id in overdue.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id, RoundOutcome::Unanswered, now_ms, actions);
        }
    }

    /// A round with a peer, not before a time, and not before the peer's rest is over.
    fn schedule(&mut self, base: BaseId, peer: PeerId, at_ms: u64) {
        if self.due.len() < BASES * PEERS_PER_BASE || self.due.contains_key(&(base, peer)) {
            let at_ms = at_ms.max(self.rests.until_ms(&base, &peer));
            self.due.entry((base, peer)).and_modify(|due| *due = at_ms.min(*due)).or_insert(at_ms);
        }
    }

    fn plan_sooner(&mut self, base: &BaseId, now_ms: u64) {
        let soon_ms = now_ms + SOON_MS + self.rng.below(SOON_MS);
        if let Some(followed) = self.bases.get_mut(base) {
            followed.next_ms = followed.next_ms.min(soon_ms);
        }
    }

    /// Three to five quarters of a time.
    fn vary(&mut self, ms: u64) -> u64 {
        ms - ms / 4 + self.rng.below(ms / 2)
    }

    /// Makes rounds due whose time has come.
    fn plan(&mut self, now_ms: u64, catalogue: &Catalogue) {
        let (next_ms, next_crowded_ms) = (now_ms + self.vary(PERIOD_MS), now_ms + self.vary(PERIOD_CROWDED_MS));
        let mut chosen = Vec::new();
        for (base, followed) in &mut self.bases {
            let next_ms = if catalogue.is_crowded(base) { next_crowded_ms } else { next_ms };
            // It may have become crowded since.
            followed.next_ms = followed.next_ms.min(next_ms);
            let rests = &self.rests;
            let rested = |peer: &&PeerId| rests.until_ms(base, peer) <= now_ms;
            let peers = || followed.peers.keys().filter(rested).copied().collect();
            let some = if followed.spread_ms.is_some_and(|at| at <= now_ms) {
                followed.spread_ms = None;
                followed.spread_again_ms = now_ms + SPREAD_PAUSE_MS;
                followed.some_of(peers(), SPREAD, &mut self.rng)
            } else if followed.next_ms <= now_ms {
                followed.next_of(peers(), &mut self.rng).into_iter().collect()
            } else {
                continue;
            };
            if followed.next_ms <= now_ms {
                followed.next_ms = next_ms;
            }
            chosen.extend(some.into_iter().map(|peer| (*base, peer)));
        }
        for (base, peer) in chosen {
            let at_ms = now_ms + self.rng.below(SPREAD_MS);
            self.schedule(base, peer, at_ms);
        }
    }

    fn start_due(&mut self, now_ms: u64, catalogue: &mut Catalogue, actions: &mut Vec<Action>) {
        while self.rounds.len() < ROUNDS
            && let Some((base, peer)) = self.next_due(now_ms)
        {
            self.due.remove(&(base, peer));
            let id = RoundId(self.next_round);
            self.next_round += 1;
            let follower = self.bases.get_mut(&base).and_then(|followed| followed.peers.get_mut(&peer));
            let near = follower.map(|one| {
                one.asked_ms = Some(now_ms);
                one.near
            });
            self.rounds.insert(id, Round::new(peer, near.unwrap_or_default(), base, now_ms));
            actions.push(Action::Ask { round: id, peer, question: Question::Compare(catalogue.question(base)) });
        }
    }

    /// Of the rounds that may start: the one with the peer that disappointed least, then the one that waited longest.
    fn next_due(&self, now_ms: u64) -> Option<(BaseId, PeerId)> {
        let young = |round: &Round| now_ms < round.started_ms + HEDGE_MS;
        let free = |base: &BaseId, peer: &PeerId| {
            self.rounds.values().all(|round| round.peer != *peer && !(round.base == *base && young(round)))
        };
        // It may have disappointed since this became due.
        let rested = |base: &BaseId, peer: &PeerId| self.rests.until_ms(base, peer) <= now_ms;
        let ready =
            self.due.iter().filter(|((base, peer), at)| **at <= now_ms && rested(base, peer) && free(base, peer));
        ready
            .map(|((base, peer), at)| (self.rests.failures(base, peer), *at, *base, *peer))
            .min()
            .map(|one| (one.2, one.3))
    }
}

/// What became of a record that a peer sent.
enum Taken {
    /// It is here now, and whether it is among what was heard.
    New {
        record: Record,
        heard: bool,
    },
    Declined,
    Stale,
}

/// Takes a record if it is new, has a place and its kind of news is allowed now. What a peer stands behind has been
/// counted.
fn take(
    admission: &mut Admission,
    catalogue: &mut Catalogue,
    record: Authentic<Announcement>,
    (near, voucher): (Neighbourhood, Option<Voucher>),
    now_ms: u64,
) -> Taken {
    let (id, publisher, of_channels) =
        (announce::id(&record), record.body().publisher, record.body().kind.is_of_channels());
    if catalogue.is_stale(&record) {
        // It may have a better place than before.
        drop(catalogue.insert_vouched(record, voucher));
        return Taken::Stale;
    }
    let renewal = catalogue.has_key(record.body());
    let allowed = match catalogue.trust_in(record.body()) {
        Some(Trust::Own) => true,
        Some(_) if renewal => admission.take_trusted_renewal(publisher, now_ms),
        Some(Trust::Followed) => admission.take_followed(publisher, now_ms),
        Some(Trust::Checked) => true,
        None if renewal => admission.take_renewal(publisher, now_ms),
        None if matches!(voucher, Some(Voucher::Neighbour(_))) => true,
        // No allowance is spent on what has no place.
        None if voucher.is_none() && !catalogue.has_room(record.body(), id) => false,
        None if voucher.is_some() || catalogue.knows(&publisher) => admission.take_arrival(near, now_ms),
        None => admission.take_newcomer(near, of_channels, now_ms),
    };
    if allowed {
        match catalogue.insert_vouched(record, voucher) {
            Inserted::New { record, heard, .. } => return Taken::New { record, heard },
            Inserted::Stale => return Taken::Stale,
            Inserted::NoRoom | Inserted::TooLong => {}
        }
    }
    admission.decline(near, id, now_ms);
    Taken::Declined
}
