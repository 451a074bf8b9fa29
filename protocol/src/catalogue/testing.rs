//! Announcements, and a small world of catalogues, for the tests of this folder.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use libp2p_identity::ed25519::{Keypair, SecretKey};

use super::random::Random;
use super::{Action, Blame, Bounds, Catalogue, Event, Outcome, Reconcile, RoundId, verified};
use crate::announce::{self, Announcement, KindTag};
use crate::bulk::{Reply, Request};
use crate::codec;
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::signed::{Authentic, PublicKey, Signed};
use crate::text::Name;

/// What a test says of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    pub publisher: u8,
    pub base: u8,
    pub manifest: u16,
    pub sequence: u64,
    /// Makes another announcement of the same key and number: equivocation.
    pub variant: u8,
}

pub fn base(n: u8) -> BaseId {
    BaseId(Digest::of(&[b'b', n]))
}

pub fn keypair(seed: u8) -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([seed; 32]).expect("32 bytes"))
}

pub fn announcement(said: Said) -> Authentic<Announcement> {
    let keypair = keypair(said.publisher);
    let body = Announcement {
        manifest: ManifestId(Digest::of(&said.manifest.to_le_bytes())),
        manifest_len: 100,
        kind: KindTag::Adapter,
        name: Name::new("n").expect("a name"),
        base: base(said.base),
        total_bytes: said.variant.into(),
        publisher: PublicKey::of(&keypair),
        sequence: said.sequence,
    };
    let signed = Signed::sign(&body, &keypair).expect("it encodes").expect("its own key");
    signed.verify().expect("our own signature")
}

/// So many announcements of one publisher for base 0, each of its own manifest.
pub fn many(publisher: u8, count: u16) -> Vec<Authentic<Announcement>> {
    let said = |manifest| Said { publisher, base: 0, manifest, sequence: manifest.into(), variant: 0 };
    (0..count).map(|manifest| announcement(said(manifest))).collect()
}

pub fn ids(catalogue: &Catalogue) -> BTreeSet<AnnouncementId> {
    catalogue.records().map(|record| announce::id(record)).collect()
}

pub fn catalogue<'a>(bounds: Bounds, all: impl IntoIterator<Item = &'a Authentic<Announcement>>) -> Catalogue {
    let mut catalogue = Catalogue::new(bounds);
    all.into_iter().for_each(|one| drop(catalogue.insert(one.clone())));
    catalogue
}

/// How a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Never answers.
    Silent,
    /// Sends a record with a wrong signature.
    Forger,
    /// Sends records that were not asked for.
    Pusher,
    /// Names thousands of records, and has none.
    Boaster,
    /// Sends one record in answer to each question, as late as it may.
    Dribbler,
}

pub struct Node {
    pub peer: PeerId,
    pub catalogue: Catalogue,
    pub sync: Reconcile,
    pub manner: Manner,
    pub outcomes: Vec<(PeerId, Outcome)>,
    pub blamed: BTreeSet<PeerId>,
}

enum What {
    Question { from: usize, to: usize, round: RoundId, bytes: Vec<u8> },
    Answer { from: usize, to: usize, round: RoundId, base: BaseId, reply: Reply },
    Tick { node: usize },
}

/// Nodes, and what is under way between them. Its seed decides everything.
pub struct World {
    pub nodes: Vec<Node>,
    pub now_ms: u64,
    /// Of 1,000 messages so many are lost.
    pub loss: u64,
    /// Bytes of all questions and answers.
    pub bytes: usize,
    pub messages: usize,
    queue: BTreeMap<(u64, u64), What>,
    connected: BTreeSet<(usize, usize)>,
    order: u64,
    random: Random,
}

impl World {
    pub fn new(seed: u64, manners: &[Manner]) -> Self {
        let node = |(index, manner): (usize, &Manner)| {
            let hash = [&[0x12, 0x20][..], &Digest::of(&(index as u64).to_le_bytes()).0].concat();
            Node {
                peer: PeerId::from_bytes(&hash).expect("a SHA-256 multihash"),
                catalogue: Catalogue::default(),
                sync: Reconcile::new(seed ^ (index as u64) << 32),
                manner: *manner,
                outcomes: Vec::new(),
                blamed: BTreeSet::new(),
            }
        };
        Self {
            nodes: manners.iter().enumerate().map(node).collect(),
            now_ms: 0,
            loss: 0,
            bytes: 0,
            messages: 0,
            queue: BTreeMap::new(),
            connected: BTreeSet::new(),
            order: 0,
            random: Random::new(seed),
        }
    }

    pub fn give(&mut self, node: usize, all: &[Authentic<Announcement>]) {
        all.iter().for_each(|one| drop(self.nodes[node].catalogue.insert(one.clone())));
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        for (one, other) in [(a, b), (b, a)] {
            self.connected.insert((one, other));
            let peer = self.nodes[other].peer;
            self.handle(one, Event::Met { peer, base: base(0) });
        }
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        for (one, other) in [(a, b), (b, a)] {
            self.connected.remove(&(one, other));
            let peer = self.nodes[other].peer;
            self.handle(one, Event::Gone { peer });
        }
    }

    pub fn handle(&mut self, index: usize, event: Event) {
        let node = &mut self.nodes[index];
        let actions = node.sync.handle(event, self.now_ms, &mut node.catalogue);
        for action in actions {
            self.perform(index, action);
        }
        if let Some(at_ms) = self.nodes[index].sync.wake_at_ms(self.now_ms) {
            assert!(at_ms > self.now_ms);
            self.put(at_ms, What::Tick { node: index });
        }
    }

    fn perform(&mut self, index: usize, action: Action) {
        match action {
            Action::Ask { round, peer, question } => {
                let to = self.nodes.iter().position(|node| node.peer == peer).expect("a node of this world");
                let bytes = codec::encode(&Request::from(question)).expect("within its bounds");
                self.send(What::Question { from: index, to, round, bytes });
            }
            Action::Learned(record) => {
                assert!(self.nodes[index].catalogue.is_stale(&record), "what was learned is there");
            }
            Action::Blame { peer, .. } => drop(self.nodes[index].blamed.insert(peer)),
            Action::Ended { peer, outcome, .. } => self.nodes[index].outcomes.push((peer, outcome)),
        }
    }

    fn send(&mut self, what: What) {
        self.messages += 1;
        if self.random.below(1000) >= self.loss {
            let at_ms = self.now_ms + 1 + self.random.below(100);
            self.put(at_ms, what);
        }
    }

    fn put(&mut self, at_ms: u64, what: What) {
        self.order += 1;
        self.queue.insert((at_ms, self.order), what);
    }

    /// Everything that happens until a time.
    pub fn run_until(&mut self, until_ms: u64) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until_ms) {
            let ((at_ms, _), what) = entry.remove_entry();
            self.now_ms = at_ms;
            match what {
                What::Tick { node } => self.handle(node, Event::Tick),
                What::Question { from, to, round, bytes } => self.asked(from, to, round, &bytes),
                What::Answer { from, to, round, base, reply } => self.answered(from, to, round, base, &reply),
            }
        }
        self.now_ms = until_ms;
    }

    fn asked(&mut self, from: usize, to: usize, round: RoundId, bytes: &[u8]) {
        if !self.connected.contains(&(from, to)) {
            return;
        }
        self.bytes += bytes.len();
        let request = codec::decode::<Request>(bytes).expect("an honest question");
        let (base, reply) = self.reply(to, self.nodes[from].peer, &request);
        let Some(reply) = reply else { return };
        let answer = What::Answer { from: to, to: from, round, base, reply };
        match self.nodes[to].manner {
            Manner::Dribbler => self.put(self.now_ms + super::timing::ANSWER_MS - 1, answer),
            _ => self.send(answer),
        }
    }

    fn reply(&mut self, to: usize, asker: PeerId, request: &Request) -> (BaseId, Option<Reply>) {
        let node = &mut self.nodes[to];
        let stray = || announcement(Said { publisher: 9, base: 0, manifest: 999, sequence: 1, variant: 0 });
        match request {
            Request::Compare(compare) => {
                let differing = node.catalogue.compare(compare);
                let boast = (0..4000u32).map(|n| AnnouncementId(Digest::of(&n.to_le_bytes())));
                let reply = match node.manner {
                    Manner::Silent => None,
                    Manner::Boaster => Some(super::tests::differing(boast)),
                    _ => Some(differing.clone()),
                };
                if node.manner == Manner::Honest && !differing.0.is_empty() {
                    self.handle(to, Event::Asked { peer: asker, base: compare.base });
                }
                (compare.base, reply.map(Reply::Differing))
            }
            Request::Records(wanted) => {
                let mut records = node.catalogue.answer(wanted);
                match node.manner {
                    Manner::Forger => records.iter_mut().for_each(|bytes| *bytes.last_mut().expect("long") ^= 1),
                    Manner::Pusher => records.push(stray().signed().encode().expect("it encodes")),
                    Manner::Dribbler => records.truncate(1),
                    Manner::Honest | Manner::Silent | Manner::Boaster => {}
                }
                (wanted.base, Some(Reply::Records(records)))
            }
            _ => panic!("a catalogue asks nothing else"),
        }
    }

    fn answered(&mut self, from: usize, to: usize, round: RoundId, base: BaseId, reply: &Reply) {
        if !self.connected.contains(&(from, to)) {
            return;
        }
        let bytes = codec::encode(reply).expect("within its bounds").len();
        assert!(bytes <= 256 << 10, "{bytes} bytes");
        self.bytes += bytes;
        let event = match reply {
            Reply::Differing(differing) => Event::Differs { round, differing: differing.clone() },
            Reply::Records(records) => match verified(base, records) {
                Ok(records) => Event::Records { round, records },
                Err(fault) => Event::Wrong { round, blame: Blame::Announcement(fault) },
            },
            _ => panic!("a catalogue answers nothing else"),
        };
        self.handle(to, event);
    }
}
