//! A node: announces, passes gossip on, answers questions, and asks what its machine wants to know.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::gate::{Costs, Gate};
use super::setting::{Defence, Setting};
use super::{Ledger, Manner, Message};
use crate::sim::{Actor, Input, Out};
use potluck_node::net::Misdeed;
use potluck_node::net::announcements::{Reason, Verdict};
use potluck_node::net::forwarders::Origin;
use potluck_node::net::limits::ANNOUNCERS;
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::catalogue::{
    Action, Catalogue, Event, Inserted, Question, Reconcile, Record, RoundId, RoundOutcome, Violation,
};
use potluck_protocol::codec::{self, Heard};
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, ManifestId};
use potluck_protocol::limits::ANNOUNCEMENTS_MAX;
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::splitmix::{SplitMix64, mix};

/// Contents of gossip are remembered for so long, and when this many are, the old ones are looked for.
const REMEMBERED_MS: u64 = 120_000;
const REMEMBERED: usize = 4_096;

/// What is answered to whoever asks too often.
const BUSY: Reply = Reply::Refused(Refusal::Busy { retry_ms: 250 });

/// What a node has cost and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Questions and answers that it sent, and their bytes.
    pub messages: u64,
    pub bytes: u64,
    /// The same of gossip.
    pub gossip_messages: u64,
    pub gossip_bytes: u64,
    /// Records that are or were new to it, by gossip and by comparing.
    pub heard: u64,
    pub learned: u64,
    /// When its catalogue changed last.
    pub changed_ms: u64,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    setting: Rc<Setting>,
    number: usize,
    bases: Vec<BaseId>,
    gate: Gate,
    sync: Reconcile,
    ledger: Ledger,
    /// What each neighbour follows, once it has said so.
    neighbours: BTreeMap<usize, Vec<BaseId>>,
    rng: SplitMix64,
    /// Its own announcements, and when it makes them; the next one last.
    diary: Vec<(u64, Authentic<Announcement>)>,
    /// Answers that it keeps back.
    later: BTreeMap<(u64, u64), (usize, Message)>,
    /// Gossip that it has looked at, and when.
    seen: BTreeMap<Digest, u64>,
    /// Manifests whose announcements are new since they were last taken, and by whom.
    news: Vec<(ManifestId, PublicKey)>,
    done: bool,
    pub figures: Figures,
    pub outcomes: Vec<(usize, RoundOutcome)>,
    pub blamed: BTreeSet<usize>,
}

impl Node {
    /// Follows these bases and knows nothing.
    pub fn new(setting: Rc<Setting>, number: usize, bases: Vec<BaseId>, seed: u64) -> Self {
        let seed = mix(seed ^ mix(number as u64));
        Self {
            number,
            bases,
            gate: Gate::new(&setting, number),
            sync: Reconcile::new(seed),
            ledger: Ledger::new(setting.clone()),
            neighbours: BTreeMap::new(),
            rng: SplitMix64::new(mix(seed)),
            diary: Vec::new(),
            later: BTreeMap::new(),
            seen: BTreeMap::new(),
            news: Vec::new(),
            done: setting.until_ms == 0,
            figures: Figures::default(),
            outcomes: Vec::new(),
            blamed: BTreeSet::new(),
            setting,
        }
    }

    /// Has these from the beginning.
    pub fn give<'a>(&mut self, records: impl IntoIterator<Item = &'a Authentic<Announcement>>) {
        records.into_iter().for_each(|record| drop(self.gate.insert(record.clone())));
    }

    /// Announces something at a time.
    pub fn announce(&mut self, at_ms: u64, announcement: Authentic<Announcement>) {
        self.diary.push((at_ms, announcement));
        self.diary.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
    }

    pub fn bases(&self) -> &[BaseId] {
        &self.bases
    }

    /// Looks at its catalogue.
    pub fn with<T>(&self, look: impl FnOnce(&Catalogue) -> T) -> T {
        self.gate.known().with(|catalogue| look(catalogue))
    }

    /// Some of those who announced a manifest, by their keys.
    pub fn announcers(&mut self, manifest: &ManifestId) -> Vec<PublicKey> {
        self.gate.known().with(|catalogue| catalogue.publishers(manifest, ANNOUNCERS, &mut self.rng))
    }

    /// The ids of its records of a base.
    pub fn ids(&self, base: &BaseId) -> BTreeSet<AnnouncementId> {
        self.with(|catalogue| catalogue.of_base(base).map(|record| announce::id(record)).collect())
    }

    /// The ids of all its records.
    pub fn all_ids(&self) -> BTreeSet<AnnouncementId> {
        self.with(|catalogue| catalogue.records().map(|record| announce::id(record)).collect())
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.with(Catalogue::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What others have cost it.
    pub fn costs(&self) -> Costs {
        self.gate.costs
    }

    /// Whether that is within what it may cost.
    pub fn check_costs(&self, now_ms: u64) -> Result<(), String> {
        self.gate.costs.check(now_ms)
    }

    /// It has a manifest, which was checked.
    pub fn trust(&mut self, manifest: ManifestId, publisher: PublicKey) {
        self.gate.trust(&self.setting, manifest, publisher);
    }

    /// Whether it answers one more small question of a node now.
    pub fn may_ask(&mut self, from: usize, now_ms: u64) -> bool {
        self.gate.may_ask(&self.setting, from, false, now_ms)
    }

    /// A node did something that no honest one does: who does it again and again is banned, and hung up on.
    pub fn report<M>(&mut self, node: usize, misdeed: Misdeed, now_ms: u64, out: &mut Out<M>) {
        let honest = [self.number, node].map(|one| self.setting.manner(one).is_honest());
        if honest == [true, true] {
            return out.fail(format!("honest node {node} is blamed for {misdeed:?}"));
        }
        if honest[0] && self.setting.harmless.contains(&node) {
            return out.fail(format!("node {node} is blamed for {misdeed:?}, and did nothing that is a misdeed"));
        }
        if self.gate.report(&self.setting, node, misdeed, now_ms) {
            out.hang_up(node);
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Manifests that were announced since this was asked last.
    pub fn take_news(&mut self) -> Vec<(ManifestId, PublicKey)> {
        std::mem::take(&mut self.news)
    }

    fn send(&mut self, to: usize, message: Message, out: &mut Out<Message>) {
        let bytes = message.len();
        let (messages, all) = match message {
            Message::Follows(_) => return out.send(to, message, bytes),
            Message::Gossip { .. } => (&mut self.figures.gossip_messages, &mut self.figures.gossip_bytes),
            Message::Question { .. } | Message::Answer { .. } => (&mut self.figures.messages, &mut self.figures.bytes),
        };
        (*messages, *all) = (*messages + 1, *all + bytes);
        if self.rng.below(1_000) >= self.setting.loss {
            out.send(to, message, bytes);
        }
    }

    fn feed(&mut self, event: Event, now_ms: u64, out: &mut Out<Message>) {
        let Self { ledger, sync, gate, .. } = self;
        let actions = match gate.known().with(|catalogue| ledger.step(sync, event, now_ms, catalogue)) {
            Ok(actions) => actions,
            Err(rule) => return out.fail(rule),
        };
        for action in actions {
            match action {
                Action::Ask { round, peer, question } => self.ask(round, self.setting.node(&peer), question, out),
                Action::Learned(record) => {
                    self.figures.learned += 1;
                    self.note(&record, now_ms);
                }
                Action::Blame { peer, .. } => {
                    let node = self.setting.node(&peer);
                    self.blamed.insert(node);
                    self.report(node, Misdeed::Protocol, now_ms, out);
                }
                Action::Ended { peer, outcome, .. } => self.outcomes.push((self.setting.node(&peer), outcome)),
            }
        }
    }

    fn ask(&mut self, round: RoundId, to: usize, question: Question, out: &mut Out<Message>) {
        match codec::encode(&Request::from(question)) {
            Ok(bytes) => self.send(to, Message::Question { round, bytes }, out),
            Err(error) => out.fail(error.to_string()),
        }
    }

    fn note(&mut self, record: &Record, now_ms: u64) {
        self.figures.changed_ms = now_ms;
        self.news.push((record.body().manifest, record.body().publisher));
        self.gate.note_kept(record);
    }

    /// Whether this content of gossip is new, or was forgotten.
    fn is_unseen(&mut self, bytes: &[u8], now_ms: u64) -> bool {
        let is_remembered = |at_ms: &u64| now_ms < *at_ms + REMEMBERED_MS;
        if self.seen.len() >= REMEMBERED {
            self.seen.retain(|_, at_ms| is_remembered(at_ms));
        }
        let content = Digest::of(bytes);
        if self.seen.get(&content).is_some_and(is_remembered) {
            return false;
        }
        self.seen.insert(content, now_ms);
        true
    }

    fn publish(&mut self, announcement: Authentic<Announcement>, now_ms: u64, out: &mut Out<Message>) {
        let (base, Ok(bytes)) = (announcement.body().base, announcement.signed().encode()) else { return };
        if let Inserted::New { record, .. } = self.gate.insert(announcement) {
            self.note(&record, now_ms);
            self.is_unseen(&bytes, now_ms);
            self.pass_on(base, &bytes, None, out);
        }
    }

    fn pass_on(&mut self, base: BaseId, bytes: &[u8], but: Option<usize>, out: &mut Out<Message>) {
        let follow = self.neighbours.iter().filter(|(node, bases)| bases.contains(&base) && Some(**node) != but);
        for node in follow.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.send(node, Message::Gossip { base, bytes: bytes.to_vec(), own: but.is_none() }, out);
        }
    }

    fn gossip(
        &mut self,
        (from, origin): (usize, Origin),
        base: BaseId,
        bytes: &[u8],
        now_ms: u64,
        out: &mut Out<Message>,
    ) {
        if !self.is_unseen(bytes, now_ms) {
            return;
        }
        let (verdict, misdeed) = self.gate.judge(&self.setting, (from, origin), base, bytes, now_ms);
        if let Some(misdeed) = misdeed {
            self.report(from, misdeed, now_ms, out);
        }
        match verdict {
            Verdict::Accept(record) => {
                self.figures.heard += 1;
                self.note(&record, now_ms);
                if self.setting.manner(self.number).is_honest() {
                    self.pass_on(base, bytes, Some(from), out);
                }
            }
            Verdict::Ignore(Reason::TooMany) if self.gate.tell_missed(now_ms) => {
                self.feed(Event::Missed { base }, now_ms, out);
            }
            Verdict::Ignore(Reason::NoRoom) => {
                self.feed(Event::Crowded { peer: self.setting.peer(from), base }, now_ms, out);
            }
            Verdict::Ignore(_) | Verdict::Reject(_) => {}
        }
    }

    fn answer_question(&mut self, from: usize, round: RoundId, bytes: &[u8], now_ms: u64, out: &mut Out<Message>) {
        let manner = self.setting.manner(self.number);
        let request = match codec::decode_growing::<Request>(bytes) {
            Ok(Heard::Known(request)) => request,
            // A later version asks for what this one cannot have.
            Ok(Heard::Later(_)) => return self.reply(from, round, Reply::Refused(Refusal::NotFound), out),
            Err(_) => return self.report(from, Misdeed::Protocol, now_ms, out),
        };
        let compares = matches!(request, Request::Compare(_) | Request::Records(_));
        if !self.gate.may_ask(&self.setting, from, compares, now_ms) {
            return self.reply(from, round, BUSY, out);
        }
        let right = match request {
            Request::Compare(compare) => {
                let differing = self.gate.known().with(|catalogue| catalogue.compare(&compare));
                if manner.is_honest() && !differing.0.is_empty() {
                    let peer = self.setting.peer(from);
                    self.feed(Event::Asked { peer, base: compare.base }, now_ms, out);
                }
                Reply::Differing(differing)
            }
            Request::Announcements(base) => Reply::Announcements(self.stands_behind(base)),
            Request::Records(wanted) => Reply::Records(self.with(|catalogue| catalogue.answer(&wanted))),
            _ => Reply::Refused(Refusal::NotFound),
        };
        let Some(reply) = manner.reply(right) else { return };
        match codec::encode(&reply) {
            Ok(bytes) if manner.delay_ms() > 0 => {
                let at = (now_ms + manner.delay_ms(), self.rng.next_u64());
                self.later.insert(at, (from, Message::Answer { round, bytes }));
            }
            Ok(bytes) => self.send(from, Message::Answer { round, bytes }, out),
            Err(error) => out.fail(error.to_string()),
        }
    }

    fn reply(&mut self, to: usize, round: RoundId, reply: Reply, out: &mut Out<Message>) {
        match codec::encode(&reply) {
            Ok(bytes) => self.send(to, Message::Answer { round, bytes }, out),
            Err(error) => out.fail(error.to_string()),
        }
    }

    fn stands_behind(&mut self, base: BaseId) -> Vec<Vec<u8>> {
        let records: Vec<Record> = match self.setting.manner(self.number) {
            Manner::Crowd => self.with(|catalogue| catalogue.of_base(&base).take(ANNOUNCEMENTS_MAX).cloned().collect()),
            _ if self.setting.lacks(Defence::Shelf) => Vec::new(),
            _ => self.gate.known().with(|catalogue| catalogue.stood_behind(base)),
        };
        records.iter().filter_map(|record| record.signed().encode().ok()).collect()
    }

    fn take_answer(&mut self, round: RoundId, bytes: &[u8], now_ms: u64, out: &mut Out<Message>) {
        let Some(base) = self.ledger.base(&round) else { return };
        let event = match codec::decode::<Reply>(bytes) {
            Ok(Reply::Differing(differing)) => Event::Differs { round, differing },
            Ok(Reply::Announcements(records)) => match self.gate.verify_records(base, &records) {
                Ok(page) => Event::StoodBehind { round, page },
                Err(fault) => Event::Wrong { round, blame: Violation::Announcement(fault) },
            },
            Ok(Reply::Records(records)) => match self.gate.verify_records(base, &records) {
                Ok(page) => Event::Records { round, page },
                Err(fault) => Event::Wrong { round, blame: Violation::Announcement(fault) },
            },
            Ok(Reply::Refused(_)) => Event::Unanswered { round },
            other => Event::Wrong { round, blame: Violation::Protocol(format!("{other:?}")) },
        };
        self.feed(event, now_ms, out);
    }

    fn wake(&mut self, now_ms: u64, out: &mut Out<Message>) {
        while let Some((_, announcement)) = self.diary.pop_if(|(at_ms, _)| *at_ms <= now_ms) {
            self.publish(announcement, now_ms, out);
        }
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let (to, message) = entry.remove();
            self.send(to, message, out);
        }
        self.feed(Event::Tick, now_ms, out);
    }
}

impl Actor for Node {
    type Message = Message;

    fn handle(&mut self, input: Input<Message>, now_ms: u64, out: &mut Out<Message>) {
        self.done = now_ms >= self.setting.until_ms;
        self.gate.tick(&self.setting, now_ms);
        self.take(input, now_ms, out);
        let records = self.len();
        self.gate.costs.records = self.gate.costs.records.max(records as u64);
        if records > self.setting.records_max() {
            out.fail(format!("there are {records} records"));
        }
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let end = (!self.done).then_some(self.setting.until_ms);
        let diary = self.diary.last().map(|(at_ms, _)| *at_ms);
        let later = self.later.first_key_value().map(|((at_ms, _), _)| *at_ms);
        [end, diary, later, self.sync.wake_at_ms(now_ms)].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn admits(&self, node: usize, now_ms: u64) -> bool {
        self.gate.admits(&self.setting, node, now_ms)
    }
}

impl Node {
    fn take(&mut self, input: Input<Message>, now_ms: u64, out: &mut Out<Message>) {
        match input {
            Input::Linked { node } => {
                self.neighbours.insert(node, Vec::new());
                self.send(node, Message::Follows(self.bases.clone()), out);
            }
            Input::Lost { node } => {
                self.neighbours.remove(&node);
                self.later.retain(|_, (to, _)| *to != node);
                self.feed(Event::Gone { peer: self.setting.peer(node) }, now_ms, out);
            }
            Input::Message { from, message: Message::Follows(bases) } => {
                let peer = self.setting.peer(from);
                for base in self.bases.clone().into_iter().filter(|base| bases.contains(base)) {
                    let near = self.setting.neighbourhood(from);
                    self.feed(Event::Met { peer, base, near }, now_ms, out);
                }
                self.neighbours.insert(from, bases);
            }
            Input::Message { from, message: Message::Gossip { base, bytes, own } } => {
                let origin = if own { Origin::Own } else { Origin::Relayed };
                self.gossip((from, origin), base, &bytes, now_ms, out);
            }
            Input::Message { from, message: Message::Question { round, bytes } } => {
                self.answer_question(from, round, &bytes, now_ms, out);
            }
            Input::Message { message: Message::Answer { round, bytes }, .. } => {
                self.take_answer(round, &bytes, now_ms, out);
            }
            Input::Sent { .. } => {}
            Input::Wake => self.wake(now_ms, out),
        }
    }
}
