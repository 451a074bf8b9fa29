//! One round with one peer: what differs, what it stands behind where not all of that may come, then the records that we
//! lack, page by page.

use std::collections::BTreeSet;

use libp2p_identity::PeerId;

use super::admission::Admission;
use super::base_records::Record;
use super::messages::{Compare, Differing, Wanted};
use super::records::{Catalogue, Page};
use super::timing::{ANSWER_MS, ROUND_MS};
use super::voucher::Neighbourhood;
use crate::announce::{Announcement, AnnouncementError};
use crate::id::{AnnouncementId, BaseId};
use crate::limits::CATALOGUE_WANTED_MAX;
use crate::signed::Authentic;
use crate::splitmix::SplitMix64;

/// Names one round; never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId(pub u64);

/// What happened.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "peer, round and the like mean the same in every variant, whose line says the rest")]
pub enum Event {
    /// A connected peer follows a base that we follow; where it is.
    Met { peer: PeerId, base: BaseId, near: Neighbourhood },
    /// A peer is gone.
    Gone { peer: PeerId },
    /// A peer compared its catalogue with ours, and they differ: it may have what we lack.
    Asked { peer: PeerId, base: BaseId },
    /// Something about a base was heard and not taken, because too much came at once.
    Missed { base: BaseId },
    /// A peer passed on something of a base for which there was no room among what is heard: it may stand behind it.
    Crowded { peer: PeerId, base: BaseId },
    /// The answer to [`Question::Compare`].
    Differs { round: RoundId, differing: Differing },
    /// The answer to [`Question::StoodBehind`].
    StoodBehind { round: RoundId, page: Page },
    /// The answer to [`Question::Records`].
    Records { round: RoundId, page: Page },
    /// The peer did not answer, or would not.
    Unanswered { round: RoundId },
    /// The answer makes no sense.
    Wrong { round: RoundId, blame: Violation },
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "peer, round and the like mean the same in every variant, whose line says the rest")]
pub enum Action {
    /// Ask the peer. A round has one question under way at a time.
    Ask { round: RoundId, peer: PeerId, question: Question },
    /// This is in the catalogue now, and was not before.
    Learned(Record),
    /// The peer broke the rules.
    Blame { peer: PeerId, blame: Violation },
    /// The round is over; an answer that still comes is of no use.
    Ended { round: RoundId, peer: PeerId, base: BaseId, outcome: RoundOutcome },
}

/// What a peer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Where its records of a base differ from ours.
    Compare(Compare),
    /// Which records of a base it stands behind.
    StoodBehind(BaseId),
    /// Some of its records, by id.
    Records(Wanted),
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundOutcome {
    /// Both have the same.
    Equal,
    /// So many records are new here.
    Learned(usize),
    /// They differ, and there is nothing to learn from this peer.
    Nothing,
    /// It did not say what it has, in time or at all.
    Unanswered,
    /// It broke the rules.
    Wrong,
}

/// What a peer did that no honest one does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It did not check what it passed on.
    #[error("it passed on a wrong announcement: {0}")]
    Announcement(#[from] AnnouncementError),
    /// A record that was not among those asked for.
    #[error("it sent record {} that was not asked for", .0.short())]
    NotAsked(AnnouncementId),
    /// An answer that makes no sense; the text says why.
    #[error("{0}")]
    Protocol(String),
}

#[derive(Clone, Debug)]
pub(super) struct Round {
    /// With whom.
    pub peer: PeerId,
    /// Where it is.
    pub near: Neighbourhood,
    /// About which base.
    pub base: BaseId,
    /// When it began.
    pub started_ms: u64,
    /// When the question under way counts as unanswered.
    pub answer_by_ms: u64,
    /// Records that are new here by this round.
    pub learned: usize,
    /// Records that came and were not taken.
    pub declined: usize,
    /// It has records of kinds that only a later version knows.
    pub later: bool,
    stage: Stage,
    /// Nothing differed.
    equal: bool,
    /// Still to be asked for, the last one first.
    wanted: Vec<AnnouncementId>,
    /// On their way.
    asked: BTreeSet<AnnouncementId>,
}

/// Which answer a round waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Comparing,
    AskingWhatItStandsBehind,
    Fetching,
}

/// What a round does after an answer.
pub(super) enum Step {
    Ask(Question),
    End(RoundOutcome),
    Wrong(Violation),
}

/// It answered something that was not asked.
pub(super) fn another_question() -> Step {
    Step::Wrong(Violation::Protocol("it answered another question than the one asked".to_owned()))
}

impl Round {
    /// A round whose first question, [`Question::Compare`], is asked now.
    pub fn new(peer: PeerId, near: Neighbourhood, base: BaseId, now_ms: u64) -> Self {
        Self {
            peer,
            near,
            base,
            started_ms: now_ms,
            answer_by_ms: now_ms + ANSWER_MS,
            learned: 0,
            declined: 0,
            later: false,
            stage: Stage::Comparing,
            equal: false,
            wanted: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// When it is over at the latest if nothing more comes.
    pub fn ends_at_ms(&self) -> u64 {
        self.answer_by_ms.min(self.started_ms + ROUND_MS)
    }

    /// Takes the answer to the first question. If more is lacking here than all that may come, or there is no room, what
    /// the peer stands behind comes first.
    pub fn take_differing(
        &mut self,
        differing: &Differing,
        catalogue: &Catalogue,
        admission: &Admission,
        rng: &mut SplitMix64,
        now_ms: u64,
    ) -> Step {
        if self.stage != Stage::Comparing || !differing.is_bounded() {
            return another_question();
        }
        self.equal = differing.0.is_empty();
        let mut lacking = catalogue.lacking(&self.base, differing);
        self.later = lacking.iter().any(|id| admission.is_later(id));
        // With what was declined, for that is lacking too: where it is more than may come, what the peer stands behind must not
        // wait for it.
        let new = lacking.iter().filter(|id| !admission.is_later(id)).count();
        lacking.retain(|id| !admission.is_declined(&self.near, id, now_ms));
        // Not all may come, and who signs something chooses its id: the order is ours.
        let count = lacking.len();
        self.wanted = rng.sample(lacking, count);
        // Where there is no room, what the peer stands behind may be among what neither has room for. A comparison that
        // must miss nothing always asks.
        if admission.is_limited() && !catalogue.is_crowded(&self.base) {
            if new == 0 {
                return Step::End(self.outcome());
            }
            if new as u64 <= admission.left(&self.near, now_ms) {
                return self.fetch(catalogue, now_ms);
            }
        }
        self.stage = Stage::AskingWhatItStandsBehind;
        self.answer_by_ms = now_ms + ANSWER_MS;
        Step::Ask(Question::StoodBehind(self.base))
    }

    /// Whether this is the moment for the records that the peer stands behind.
    pub fn awaits_stood_behind(&self) -> bool {
        self.stage == Stage::AskingWhatItStandsBehind
    }

    /// Asks for the first page of what is lacking still.
    pub fn fetch(&mut self, catalogue: &Catalogue, now_ms: u64) -> Step {
        self.stage = Stage::Fetching;
        self.next_page(catalogue, now_ms)
    }

    /// Takes the answer's records off those that were asked for. // I8
    pub fn accept(&mut self, record: &Authentic<Announcement>) -> Result<(), Violation> {
        let id = crate::announce::id(record);
        if self.asked.remove(&id) && record.body().base == self.base { Ok(()) } else { Err(Violation::NotAsked(id)) }
    }

    /// The same of one of a kind that only a later version knows.
    pub fn accept_later(&mut self, id: AnnouncementId) -> Result<(), Violation> {
        self.later = true;
        if self.asked.remove(&id) { Ok(()) } else { Err(Violation::NotAsked(id)) }
    }

    /// How it ends if nothing more is asked.
    pub fn outcome(&self) -> RoundOutcome {
        match (self.learned, self.equal) {
            (0, true) => RoundOutcome::Equal,
            (0, false) => RoundOutcome::Nothing,
            (learned, _) => RoundOutcome::Learned(learned),
        }
    }

    /// After a page of so many records.
    pub fn take_page(&mut self, records: usize, catalogue: &Catalogue, now_ms: u64) -> Step {
        if records == 0 {
            // It named them and has none of them: at best they have just gone.
            return Step::End(RoundOutcome::Unanswered);
        }
        self.next_page(catalogue, now_ms)
    }

    fn next_page(&mut self, catalogue: &Catalogue, now_ms: u64) -> Step {
        self.asked.clear();
        while self.asked.len() < CATALOGUE_WANTED_MAX
            && let Some(id) = self.wanted.pop()
        {
            // It may have come by gossip meanwhile.
            if !catalogue.contains(&self.base, &id) {
                self.asked.insert(id);
            }
        }
        if self.asked.is_empty() {
            return Step::End(self.outcome());
        }
        self.answer_by_ms = now_ms + ANSWER_MS;
        Step::Ask(Question::Records(Wanted { base: self.base, ids: self.asked.iter().copied().collect() }))
    }
}
