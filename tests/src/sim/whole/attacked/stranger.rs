//! What a stranger does beside answering badly.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::pool::{self, GROUND_EACH, HONEST, JUNK_EACH, PHANTOMS_EACH, Pool, RESIGNED_EACH};
use crate::sim::whole::Message;
use crate::sim::{Either, Input, Out, catalogue};
use potluck_protocol::announce::Announcement;
use potluck_protocol::bulk::Request;
use potluck_protocol::catalogue::{Compare, RoundId};
use potluck_protocol::codec;
use potluck_protocol::id::{Digest, ManifestId};
use potluck_protocol::limits::{CATALOGUE_BUCKETS, CATALOGUE_RECORD_MAX};
use potluck_protocol::signed::Authentic;
use potluck_protocol::splitmix::{SplitMix64, mix};

/// One kind of misuse, by the finding of the review that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// F4: says records of keys that were made until their lots are good in this epoch.
    Ground,
    /// F3, F5 and F1: announces what does not exist, and is as large as anything can be.
    Phantoms,
    /// F2: announces what honest nodes publish, and does not have it.
    Claims,
    /// F6: proofs that prove nothing.
    JunkProofs,
    /// F20: signs the same again under higher numbers.
    Resigned,
    /// F8: envelopes that others have signed too, by the thousand.
    Cosigned,
    /// F8: records with a wrong signature.
    Forged,
    /// F8: messages that no announcement is as long as.
    TooLong,
    /// F14: kinds and requests of a later version.
    Later,
    /// F17: small questions, faster than anybody needs answers.
    Questions,
}

impl Act {
    pub const ALL: [Self; 10] = [
        Self::Ground,
        Self::Phantoms,
        Self::Claims,
        Self::JunkProofs,
        Self::Resigned,
        Self::Cosigned,
        Self::Forged,
        Self::TooLong,
        Self::Later,
        Self::Questions,
    ];

    /// Whether it is a misdeed that a node counts.
    pub fn is_provable(self) -> bool {
        matches!(self, Self::Cosigned | Self::Forged | Self::TooLong)
    }
}

/// Between two turns of one stranger.
const TURN_MS: (u64, u64) = (60_000, 180_000);
/// More than a forwarder may send at once, and more than a peer may ask at once.
const COSIGNED: u64 = 4_200;
const QUESTIONS: u64 = 2_300;
const COMPARISONS: u64 = 300;
/// Far more than it takes to be banned.
const FORGED: u64 = 200;
/// Numbers of questions begin beyond those of any machine's rounds.
const ROUNDS: u64 = 1 << 40;

type Record = Authentic<Announcement>;

/// One stranger: its number among them, what it does, and to whom.
#[derive(Debug)]
pub struct Stranger {
    number: usize,
    acts: Vec<Act>,
    targets: Vec<usize>,
    /// When each of the honest manifests is published.
    published_ms: Rc<Vec<u64>>,
    /// When the epoch ends.
    turn_of_epoch_ms: u64,
    linked: BTreeSet<usize>,
    /// It makes up somebody else as whoever made what it says.
    hides: bool,
    rng: SplitMix64,
    next_ms: u64,
    turns: u64,
    /// Acts that it has performed at least once.
    begun: BTreeSet<Act>,
    questions: u64,
    /// Records that its own catalogue is to have.
    said: Vec<Record>,
}

impl Stranger {
    pub fn new(
        (seed, number): (u64, usize),
        acts: Vec<Act>,
        targets: Vec<usize>,
        published_ms: Rc<Vec<u64>>,
        turn_of_epoch_ms: u64,
    ) -> Self {
        let mut rng = SplitMix64::new(mix(seed ^ mix(1_000 + number as u64)));
        let (next_ms, hides) = (rng.below(TURN_MS.1), rng.chance(50));
        let (linked, said) = (BTreeSet::new(), Vec::new());
        Self {
            number,
            acts,
            targets,
            published_ms,
            turn_of_epoch_ms,
            linked,
            hides,
            rng,
            next_ms,
            turns: 0,
            begun: BTreeSet::new(),
            questions: 0,
            said,
        }
    }

    pub fn handle(&mut self, input: &Input<Message>, now_ms: u64, out: &mut Out<Message>) {
        match input {
            Input::Linked { node } => drop(self.linked.insert(*node)),
            Input::Lost { node } => drop(self.linked.remove(node)),
            _ if now_ms >= self.next_ms => self.turn(now_ms, out),
            _ => {}
        }
    }

    pub fn wake_at_ms(&self) -> Option<u64> {
        Some(self.next_ms)
    }

    /// What it has said since this was last asked.
    pub fn take_said(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.said)
    }

    fn turn(&mut self, now_ms: u64, out: &mut Out<Message>) {
        self.next_ms = now_ms + self.rng.between(TURN_MS.0, TURN_MS.1);
        // Whoever was banned comes again.
        self.targets.iter().filter(|node| !self.linked.contains(node)).for_each(|node| out.dial(*node));
        let Some(act) = self.acts.get(self.turns as usize % self.acts.len()).copied() else { return };
        let honest: Vec<usize> = self.linked.iter().copied().filter(|node| *node < HONEST).collect();
        let one = honest.get(self.rng.below(honest.len() as u64) as usize).copied();
        if let Some(one) = one {
            self.turns += 1;
            let first = self.begun.insert(act);
            self.perform(act, first, one, now_ms, out);
            if self.turns.is_multiple_of(3) {
                self.compare(one, out);
            }
        }
    }

    /// Whether it has done anything yet, whatever became of it.
    pub fn has_acted(&self) -> bool {
        self.turns > 0
    }

    fn perform(&mut self, act: Act, first: bool, one: usize, now_ms: u64, out: &mut Out<Message>) {
        let (pool, number) = (Pool::get(), self.number);
        match act {
            Act::Ground => {
                let epoch = usize::from(now_ms >= self.turn_of_epoch_ms);
                self.say_some(&pool.ground[epoch][number * GROUND_EACH..][..GROUND_EACH], 4, out);
            }
            Act::Phantoms => self.say_some(&pool.phantoms[number * PHANTOMS_EACH..][..PHANTOMS_EACH], 2, out),
            Act::JunkProofs => self.say_some(&pool.junk[number * JUNK_EACH..][..JUNK_EACH], 2, out),
            Act::Claims => {
                let published = self.published_ms.clone();
                let known = (0..published.len()).filter(|n| published[*n] < now_ms);
                let known: Vec<Record> = known.map(|n| pool.claims[number][n].clone()).collect();
                self.say_some(&known, 3, out);
            }
            Act::Resigned => {
                let times = self.turns as usize / self.acts.len();
                for key in &pool.resigned[number * RESIGNED_EACH..][..RESIGNED_EACH] {
                    self.say(&key[times.min(key.len() - 1)], out);
                }
            }
            Act::Cosigned | Act::Forged => {
                let record = &pool.unsaid[number];
                let of = if act == Act::Cosigned { pool::cosigned } else { pool::forged };
                let count = match act {
                    Act::Forged => FORGED,
                    _ if first => COSIGNED,
                    _ => 6,
                };
                for n in 0..count {
                    self.gossip(one, of(record, self.turns << 20 | n), out);
                }
            }
            Act::TooLong => self.gossip(one, vec![self.turns as u8; CATALOGUE_RECORD_MAX + 1], out),
            Act::Later => {
                let record = &pool.later[self.rng.below(pool.later.len() as u64) as usize];
                self.gossip(one, record.clone(), out);
                let tag = 60 + self.rng.below(40) as u32;
                self.question(one, [&tag.to_le_bytes()[..], &[7; 32]].concat(), out);
            }
            Act::Questions => {
                for _ in 0..if first { QUESTIONS } else { 20 } {
                    let id = ManifestId(Digest::of(b"anything"));
                    self.ask(one, &Request::Providers(id), out);
                }
                for _ in 0..if first { COMPARISONS } else { 4 } {
                    self.compare(one, out);
                }
            }
        }
    }

    /// Some of its records, to everybody or to those alone who compare.
    fn say_some(&mut self, records: &[Record], count: usize, out: &mut Out<Message>) {
        for record in self.rng.sample(records.iter().collect(), count) {
            self.say(record, out);
        }
    }

    fn gossip(&self, node: usize, bytes: Vec<u8>, out: &mut Out<Message>) {
        send(node, catalogue::Message::Gossip { base: pool::base(), bytes, own: !self.hides }, out);
    }

    fn say(&mut self, record: &Record, out: &mut Out<Message>) {
        if self.rng.chance(50) {
            for node in &self.linked {
                self.gossip(*node, pool::bytes(record), out);
            }
        }
        self.said.push(record.clone());
    }

    /// Whoever answers sees that something differs, and asks in turn.
    fn compare(&mut self, node: usize, out: &mut Out<Message>) {
        let bucket = |n: usize| Digest::of(&[n as u8, self.number as u8]);
        let buckets = (0..CATALOGUE_BUCKETS).map(bucket).collect();
        self.ask(node, &Request::Compare(Compare { base: pool::base(), buckets }), out);
    }

    fn ask(&mut self, node: usize, request: &Request, out: &mut Out<Message>) {
        self.question(node, codec::encode(request).expect("it is within its bounds"), out);
    }

    fn question(&mut self, node: usize, bytes: Vec<u8>, out: &mut Out<Message>) {
        self.questions += 1;
        send(node, catalogue::Message::Question { round: RoundId(ROUNDS + self.questions), bytes }, out);
    }
}

fn send(node: usize, message: catalogue::Message, out: &mut Out<Message>) {
    let bytes = message.len();
    out.send(node, Either::Second(message), bytes);
}
