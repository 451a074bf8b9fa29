//! The rules that the catalogue machine keeps, checked from outside: a second account of what was asked and answered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use libp2p::PeerId;

use super::Setting;
use potluck_protocol::announce;
use potluck_protocol::catalogue::timing::{
    ANSWER_MS, BACKOFF_MAX_MS, BACKOFF_MS, CROWDED_PAUSE_MS, HEDGE_MS, PERIOD_CROWDED_MS, PERIOD_MS, ROUND_MS, ROUNDS,
    SPREAD,
};
use potluck_protocol::catalogue::{
    Action, Catalogue, Event, Question, Reconcile, Record, RoundId, RoundOutcome, Wanted,
};
use potluck_protocol::id::{AnnouncementId, BaseId};

/// What is known of one machine.
#[derive(Debug)]
pub struct Ledger {
    setting: Rc<Setting>,
    /// Peers that are there, with the bases that they follow.
    met: BTreeMap<PeerId, BTreeSet<BaseId>>,
    rounds: BTreeMap<RoundId, Running>,
    last: Option<RoundId>,
    /// Of a peer about one base, and (`None`) about all.
    rests: BTreeMap<(PeerId, Option<BaseId>), Rest>,
    /// When the last round with a peer about a base began, since it came.
    asked_ms: BTreeMap<(PeerId, BaseId), u64>,
    /// Rounds that something which happened may have caused.
    caused: u64,
    /// Rounds that began and that ended, and records that came for nothing.
    started: u64,
    /// There was no room in some base.
    crowded: bool,
    pub ended: u64,
    pub redundant: u64,
}

#[derive(Debug)]
struct Running {
    peer: PeerId,
    base: BaseId,
    started_ms: u64,
    /// When the question that is under way was asked.
    asked_ms: Option<u64>,
    /// What the peer said that it has, and what of it was asked for.
    named: BTreeSet<AnnouncementId>,
    asked: BTreeSet<AnnouncementId>,
    /// What it stands behind.
    stood_behind: BTreeSet<AnnouncementId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    fruitless: u32,
    until_ms: u64,
}

type Rule = Result<(), &'static str>;

fn rule(holds: bool, rule: &'static str) -> Rule {
    if holds { Ok(()) } else { Err(rule) }
}

impl Ledger {
    pub fn new(setting: Rc<Setting>) -> Self {
        let (met, rounds, rests, asked_ms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            setting,
            met,
            rounds,
            last: None,
            rests,
            asked_ms,
            caused: 0,
            started: 0,
            crowded: false,
            ended: 0,
            redundant: 0,
        }
    }

    /// The base of a round that is not over.
    pub fn base(&self, round: &RoundId) -> Option<BaseId> {
        self.rounds.get(round).map(|running| running.base)
    }

    /// Gives the machine an event and checks what it does.
    pub fn step(
        &mut self,
        sync: &mut Reconcile,
        event: Event,
        now_ms: u64,
        catalogue: &mut Catalogue,
    ) -> Result<Vec<Action>, String> {
        let before = catalogue.len();
        self.note(&event, now_ms, catalogue);
        let actions = sync.handle(event, now_ms, catalogue);
        for action in &actions {
            self.check(action, now_ms, catalogue).map_err(|rule| format!("{rule}: {action:?}"))?;
        }
        let late = |running: &Running| {
            now_ms >= running.started_ms + ROUND_MS || running.asked_ms.is_none_or(|at| now_ms >= at + ANSWER_MS)
        };
        let learned = actions.iter().filter(|action| matches!(action, Action::Learned(_))).count();
        let rules = [
            (!self.rounds.values().any(late), "a round is over when its time is"),
            (sync.wake_at_ms(now_ms).is_none_or(|at| at > now_ms), "time that wakes the machine lies before it"),
            (catalogue.len() <= before + learned, "what is new was said to be learned"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(rule.to_owned()),
            None => Ok(actions),
        }
    }

    fn note(&mut self, event: &Event, now_ms: u64, catalogue: &Catalogue) {
        match event {
            Event::Met { peer, base, .. } => {
                self.caused += 1;
                self.met.entry(*peer).or_default().insert(*base);
                self.asked_ms.remove(&(*peer, *base));
            }
            Event::Gone { peer } => {
                self.met.remove(peer);
            }
            Event::Differs { round, differing } => {
                if let Some(running) = self.rounds.get_mut(round) {
                    running.asked_ms = None;
                    running.named.extend(differing.ids());
                }
            }
            Event::StoodBehind { round, page } => {
                if let Some(running) = self.rounds.get_mut(round) {
                    running.asked_ms = None;
                    running.stood_behind.extend(page.records.iter().map(announce::id));
                }
            }
            Event::Records { round, page } => {
                if let Some(running) = self.rounds.get_mut(round) {
                    running.asked_ms = None;
                    self.redundant += page.records.iter().filter(|record| catalogue.is_stale(record)).count() as u64;
                }
            }
            Event::Asked { .. } | Event::Missed { .. } => self.caused += 1,
            Event::Crowded { peer, base } => {
                self.caused += 1;
                let pause_ms = self.asked_ms.get(&(*peer, *base)).map_or(0, |at| at + CROWDED_PAUSE_MS);
                for of in [None, Some(*base)] {
                    if let Some(rest) = self.rests.get_mut(&(*peer, of)) {
                        rest.until_ms = rest.until_ms.min(pause_ms.max(now_ms));
                    }
                }
            }
            Event::Unanswered { .. } | Event::Wrong { .. } | Event::Tick => {}
        }
    }

    fn check(&mut self, action: &Action, now_ms: u64, catalogue: &Catalogue) -> Rule {
        match action {
            Action::Ask { round, peer, question: Question::Compare(compare) } => {
                self.check_start(*round, *peer, compare.base, now_ms, catalogue)
            }
            Action::Ask { round, peer, question: Question::StoodBehind(base) } => {
                let running = self.rounds.get_mut(round).ok_or("what a peer stands behind is asked in a round")?;
                rule(running.asked_ms.is_none(), "one question of a round at a time")?;
                rule(running.asked.is_empty(), "what a peer stands behind comes before the rest")?;
                rule(running.peer == *peer && running.base == *base, "the round's peer is asked about its base")?;
                running.asked_ms = Some(now_ms);
                Ok(())
            }
            Action::Ask { round, peer, question: Question::Records(wanted) } => {
                self.check_page(*round, *peer, wanted, now_ms, catalogue)
            }
            Action::Learned(record) => self.check_learned(record),
            Action::Blame { peer, .. } => {
                let manner = self.setting.manner(self.setting.node(peer));
                rule(manner.is_provable(), "a peer is blamed that did nothing provable")
            }
            Action::Ended { round, peer, base, outcome } => {
                let running = self.rounds.remove(round).ok_or("a round ends once")?;
                self.ended += 1;
                self.caused += match outcome {
                    RoundOutcome::Learned(_) => SPREAD as u64,
                    // Some of it may have been learned before.
                    RoundOutcome::Unanswered | RoundOutcome::Wrong => 1 + SPREAD as u64,
                    RoundOutcome::Nothing => 1,
                    RoundOutcome::Equal => 0,
                };
                self.rest(*peer, *base, *outcome, now_ms);
                rule(running.peer == *peer && running.base == *base, "a round ends with whom and what it began")
            }
        }
    }

    fn check_start(&mut self, round: RoundId, peer: PeerId, base: BaseId, now_ms: u64, have: &Catalogue) -> Rule {
        let young = |running: &Running| running.base == base && now_ms < running.started_ms + HEDGE_MS;
        let rests = [None, Some(base)].into_iter().filter_map(|of| self.rests.get(&(peer, of)));
        let until_ms = rests.map(|rest| rest.until_ms).max().unwrap_or(0);
        self.crowded |= have.is_crowded(&base);
        let period_ms = if self.crowded { PERIOD_CROWDED_MS } else { PERIOD_MS };
        let regular = (now_ms / (period_ms * 3 / 4) + 1) * self.setting.bases;
        rule(self.last.is_none_or(|last| last < round), "rounds have new numbers")?;
        rule(self.met.get(&peer).is_some_and(|bases| bases.contains(&base)), "only who follows a base is asked")?;
        rule(self.rounds.values().all(|running| running.peer != peer), "one round with a peer at a time")?;
        rule(!self.rounds.values().any(young), "a second round of a base waits for the first")?;
        rule(self.rounds.len() < ROUNDS, "too many rounds")?;
        rule(
            now_ms >= until_ms,
            "a peer that taught nothing about a base, or does not answer, is left alone for a while",
        )?;
        rule(self.started < self.caused + regular, "no round without a cause")?;
        self.started += 1;
        self.asked_ms.insert((peer, base), now_ms);
        let (named, asked, stood_behind) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let asked_ms = Some(now_ms);
        self.rounds.insert(round, Running { peer, base, started_ms: now_ms, asked_ms, named, asked, stood_behind });
        self.last = Some(round);
        Ok(())
    }

    fn check_page(&mut self, id: RoundId, peer: PeerId, wanted: &Wanted, now_ms: u64, have: &Catalogue) -> Rule {
        let running = self.rounds.get_mut(&id).ok_or("records are asked for in a round")?;
        rule(running.asked_ms.is_none(), "one question of a round at a time")?;
        rule(running.peer == peer && running.base == wanted.base, "the round's peer is asked about the round's base")?;
        rule(wanted.is_bounded(), "a page is bounded and sorted")?;
        for id in &wanted.ids {
            rule(running.named.contains(id), "only what the peer named is asked for")?;
            rule(running.asked.insert(*id), "nothing is asked for twice in a round")?;
            rule(!have.contains(&wanted.base, id), "what is here is not asked for")?;
        }
        running.asked_ms = Some(now_ms);
        Ok(())
    }

    fn check_learned(&self, record: &Record) -> Rule {
        let (id, base) = (announce::id(record), record.body().base);
        let brought = |running: &Running| running.asked.contains(&id) || running.stood_behind.contains(&id);
        let asked = self.rounds.values().any(|running| running.base == base && brought(running));
        rule(asked, "only what was asked for is learned")
    }

    fn rest(&mut self, peer: PeerId, base: BaseId, outcome: RoundOutcome, now_ms: u64) {
        let mut rest_of = |of: Option<BaseId>, fruitless: u32, least_ms: u64| {
            let rest = self.rests.entry((peer, of)).or_default();
            rest.fruitless += fruitless;
            let delay_ms = BACKOFF_MAX_MS.min(BACKOFF_MS << rest.fruitless.min(16));
            rest.until_ms = now_ms + delay_ms.max(least_ms);
        };
        match outcome {
            RoundOutcome::Unanswered => rest_of(None, 1, 0),
            RoundOutcome::Wrong => rest_of(None, 8, BACKOFF_MAX_MS),
            RoundOutcome::Nothing => rest_of(Some(base), 1, 0),
            RoundOutcome::Equal | RoundOutcome::Learned(_) => drop(self.rests.remove(&(peer, Some(base)))),
        }
        if !matches!(outcome, RoundOutcome::Unanswered | RoundOutcome::Wrong) {
            self.rests.remove(&(peer, None));
        }
    }
}
