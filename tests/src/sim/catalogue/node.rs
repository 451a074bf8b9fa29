//! A node: announces, passes gossip on, answers questions, and asks what its machine wants to know.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Ledger, Manner, Message, Setting};
use crate::sim::{Actor, Input, Out};
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::catalogue::timing::PER_PUBLISHER;
use potluck_protocol::catalogue::{
    Action, Catalogue, Event, Inserted, Neighbour, Neighbourhood, Question, Reconcile, Record, RoundId, RoundOutcome,
    Violation, Voucher, verify_records,
};
use potluck_protocol::codec;
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, ManifestId};
use potluck_protocol::limits::ANNOUNCEMENTS_MAX;
use potluck_protocol::rate_limit::RateLimiter;
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::splitmix::{SplitMix64, mix};

/// Between two notes that something was missed.
const MISSED_PAUSE_MS: u64 = 1_000;

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

/// Each node is far from all others: what one neighbourhood may do is counted for each.
fn near(node: usize) -> Neighbourhood {
    Neighbourhood(node as u64)
}

/// One node.
#[derive(Debug)]
pub struct Node {
    setting: Rc<Setting>,
    number: usize,
    bases: Vec<BaseId>,
    catalogue: Catalogue,
    sync: Reconcile,
    ledger: Ledger,
    /// What each neighbour follows, once it has said so.
    neighbours: BTreeMap<usize, Vec<BaseId>>,
    rng: SplitMix64,
    /// Its own announcements, and when it makes them; the next one last.
    diary: Vec<(u64, Authentic<Announcement>)>,
    /// Answers that it keeps back.
    later: BTreeMap<(u64, u64), (usize, Message)>,
    /// Gossip that it has looked at.
    seen: BTreeSet<Digest>,
    rate_limiter: RateLimiter<PublicKey>,
    tell_missed_ms: u64,
    /// Manifests whose announcements are new since they were last taken.
    news: Vec<ManifestId>,
    done: bool,
    pub figures: Figures,
    pub outcomes: Vec<(usize, RoundOutcome)>,
    pub blamed: BTreeSet<usize>,
}

impl Node {
    /// Follows these bases and knows nothing.
    pub fn new(setting: Rc<Setting>, number: usize, bases: Vec<BaseId>, seed: u64) -> Self {
        let seed = mix(seed ^ mix(number as u64));
        let mut catalogue = Catalogue::new(setting.bounds);
        if let Some(own) = setting.key(number) {
            catalogue.set_own(own);
        }
        Self {
            number,
            bases,
            catalogue,
            sync: Reconcile::new(seed),
            ledger: Ledger::new(setting.clone()),
            neighbours: BTreeMap::new(),
            rng: SplitMix64::new(mix(seed)),
            diary: Vec::new(),
            later: BTreeMap::new(),
            seen: BTreeSet::new(),
            rate_limiter: RateLimiter::new(PER_PUBLISHER, 64),
            tell_missed_ms: 0,
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
        records.into_iter().for_each(|record| drop(self.catalogue.insert(record.clone())));
    }

    /// Announces something at a time.
    pub fn announce(&mut self, at_ms: u64, announcement: Authentic<Announcement>) {
        self.diary.push((at_ms, announcement));
        self.diary.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
    }

    pub fn bases(&self) -> &[BaseId] {
        &self.bases
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The ids of its records of a base.
    pub fn ids(&self, base: &BaseId) -> BTreeSet<AnnouncementId> {
        self.catalogue.of_base(base).map(|record| announce::id(record)).collect()
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Manifests that were announced since this was asked last.
    pub fn take_news(&mut self) -> Vec<ManifestId> {
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
        let actions = match self.ledger.step(&mut self.sync, event, now_ms, &mut self.catalogue) {
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
                    self.blamed.insert(self.setting.node(&peer));
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
        self.news.push(record.body().manifest);
    }

    fn publish(&mut self, announcement: Authentic<Announcement>, now_ms: u64, out: &mut Out<Message>) {
        let (base, Ok(bytes)) = (announcement.body().base, announcement.signed().encode()) else { return };
        if let Inserted::New { record, .. } = self.catalogue.insert(announcement) {
            self.note(&record, now_ms);
            self.seen.insert(Digest::of(&bytes));
            self.pass_on(base, &bytes, None, out);
        }
    }

    fn pass_on(&mut self, base: BaseId, bytes: &[u8], but: Option<usize>, out: &mut Out<Message>) {
        let follow = self.neighbours.iter().filter(|(node, bases)| bases.contains(&base) && Some(**node) != but);
        for node in follow.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.send(node, Message::Gossip { base, bytes: bytes.to_vec() }, out);
        }
    }

    fn gossip(&mut self, from: usize, base: BaseId, bytes: &[u8], now_ms: u64, out: &mut Out<Message>) {
        if !self.seen.insert(Digest::of(bytes)) {
            return;
        }
        let Ok(announcement) = announce::verify(base, bytes) else { return };
        if self.catalogue.is_stale(&announcement) {
            return;
        }
        if !self.rate_limiter.take(announcement.body().publisher, now_ms) {
            if now_ms >= self.tell_missed_ms {
                self.tell_missed_ms = now_ms + MISSED_PAUSE_MS;
                self.feed(Event::Missed { base }, now_ms, out);
            }
            return;
        }
        let peer = self.setting.peer(from);
        let from_whom = Neighbour { peer, near: near(from) };
        let voucher = Voucher::of_publisher(from_whom, &announcement.body().publisher);
        match self.catalogue.insert_vouched(announcement, voucher) {
            Inserted::New { record, .. } => {
                self.figures.heard += 1;
                self.note(&record, now_ms);
                if self.setting.manner(self.number).is_honest() {
                    self.pass_on(base, bytes, Some(from), out);
                }
            }
            Inserted::NoRoom => self.feed(Event::Crowded { peer, base }, now_ms, out),
            Inserted::Stale | Inserted::TooLong => {}
        }
    }

    fn answer_question(&mut self, from: usize, round: RoundId, bytes: &[u8], now_ms: u64, out: &mut Out<Message>) {
        let manner = self.setting.manner(self.number);
        let right = match codec::decode::<Request>(bytes) {
            Ok(Request::Compare(compare)) => {
                let differing = self.catalogue.compare(&compare);
                if manner.is_honest() && !differing.0.is_empty() {
                    let peer = self.setting.peer(from);
                    self.feed(Event::Asked { peer, base: compare.base }, now_ms, out);
                }
                Reply::Differing(differing)
            }
            Ok(Request::Announcements(base)) => Reply::Announcements(self.stands_behind(base)),
            Ok(Request::Records(wanted)) => Reply::Records(self.catalogue.answer(&wanted)),
            other => return out.fail(format!("a catalogue does not ask {other:?}")),
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

    fn stands_behind(&mut self, base: BaseId) -> Vec<Vec<u8>> {
        let records: Vec<_> = match self.setting.manner(self.number) {
            Manner::Crowd => self.catalogue.of_base(&base).take(ANNOUNCEMENTS_MAX).cloned().collect(),
            _ => self.catalogue.stood_behind(base),
        };
        records.iter().filter_map(|record| record.signed().encode().ok()).collect()
    }

    fn take_answer(&mut self, round: RoundId, bytes: &[u8], now_ms: u64, out: &mut Out<Message>) {
        let Some(base) = self.ledger.base(&round) else { return };
        let event = match codec::decode::<Reply>(bytes) {
            Ok(Reply::Differing(differing)) => Event::Differs { round, differing },
            Ok(Reply::Announcements(records)) => {
                match verify_records(base, &records, |id| self.catalogue.get(&base, id).cloned()) {
                    Ok(page) => Event::StoodBehind { round, page },
                    Err(fault) => Event::Wrong { round, blame: Violation::Announcement(fault) },
                }
            }
            Ok(Reply::Records(records)) => {
                match verify_records(base, &records, |id| self.catalogue.get(&base, id).cloned()) {
                    Ok(page) => Event::Records { round, page },
                    Err(fault) => Event::Wrong { round, blame: Violation::Announcement(fault) },
                }
            }
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
                    self.feed(Event::Met { peer, base, near: near(from) }, now_ms, out);
                }
                self.neighbours.insert(from, bases);
            }
            Input::Message { from, message: Message::Gossip { base, bytes } } => {
                self.gossip(from, base, &bytes, now_ms, out);
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

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let end = (!self.done).then_some(self.setting.until_ms);
        let diary = self.diary.last().map(|(at_ms, _)| *at_ms);
        let later = self.later.first_key_value().map(|((at_ms, _), _)| *at_ms);
        [end, diary, later, self.sync.wake_at_ms(now_ms)].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
