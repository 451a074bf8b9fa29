//! Nodes that ask each other for things that some of them have: one asks, honest and other ones answer.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use libp2p::PeerId;
use potluck_protocol::ask::{ANSWER_MS, AT_ONCE, Action, Answer, Ask, Candidate, Event, HEDGE_MS, Memory, OPEN_MAX};
use potluck_protocol::splitmix::{SplitMix64, mix};

use super::swarm::peer_id;
use super::{Actor, Fault, Input, Line, Out, World};

/// Bytes of a question or an answer: only their number matters here.
const SMALL: u64 = 64;

/// A line that is no obstacle.
const LINE: Line = Line { up: 1 << 30, down: 1 << 30 };

/// How a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Hands out what it has.
    Honest,
    /// Takes the question and never answers.
    Silent,
    /// Hands out something else.
    Liar,
    /// Announces everything, and has nothing.
    Empty,
    /// Answers so late that nobody waits for it any more.
    Slow,
}

/// What nodes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    Question { item: usize },
    Answer { item: usize, right: Option<bool> },
}

/// A world before it runs: node 0 asks for the items one after the other.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    manners: Vec<Manner>,
    /// The nodes that have each item; nobody else does.
    pub has: Vec<BTreeSet<usize>>,
    /// Honest nodes announce what they have.
    announced: bool,
    links: Vec<(usize, u64)>,
    /// Connections that break, and when.
    cuts: Vec<(usize, u64, u64)>,
}

/// What came of a run in which everything was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace: blake3::Hash,
    /// How long each item took.
    pub took_ms: Vec<u64>,
    /// Questions to peers that have not what they are asked for.
    pub in_vain: u64,
}

impl Plan {
    /// So many honest peers, of which up to three have each item, and so many others. By the seed some are slow or far
    /// away, and connections of those who have nothing break.
    pub fn by_seed(seed: u64, honest: usize, others: usize, announced: bool) -> Self {
        let mut rng = SplitMix64::new(mix(seed));
        let bad = [Manner::Silent, Manner::Liar, Manner::Empty, Manner::Slow];
        let mut manners = vec![Manner::Honest; honest];
        manners.extend((0..others).map(|_| bad[rng.below(4) as usize]));
        let holders = |rng: &mut SplitMix64| {
            let count = rng.between(1, 3) as usize;
            rng.sample((1..=honest).collect(), count).into_iter().collect()
        };
        let has: Vec<BTreeSet<usize>> = (0..6).map(|_| holders(&mut rng)).collect();
        let links = (1..=manners.len()).map(|node| (node, rng.between(1, 150))).collect();
        let holds = |node: &usize| has.iter().any(|holders| holders.contains(node));
        let loose: Vec<usize> = (1..=manners.len()).filter(|node| !holds(node)).collect();
        let cuts = rng.sample(loose, 5).into_iter().map(|node| {
            let from = rng.below(20_000);
            (node, from, from + rng.between(1, 5_000))
        });
        let cuts = cuts.collect();
        Self { seed, manners, has, announced, links, cuts }
    }

    /// By when an item must be found: everybody is asked by then.
    pub fn bound_ms(&self) -> u64 {
        // Who met us while all places were taken waits for one more turn; then the way there and back.
        (self.manners.len().div_ceil(AT_ONCE) as u64 + 1) * HEDGE_MS + 400
    }

    /// Runs until everything is found.
    pub fn run(&self) -> Result<Outcome, Fault> {
        let shared = Rc::new(self.clone());
        let mut world = World::default();
        world.add(Node::Asker(Box::new(Asker::new(shared.clone()))), LINE);
        for node in 1..=self.manners.len() {
            world.add(Node::Peer(Peer { node, plan: shared.clone(), owed: BTreeMap::new() }), LINE);
        }
        self.links.iter().for_each(|(node, delay_ms)| world.link(0, *node, *delay_ms, 0));
        self.cuts.iter().for_each(|(node, from, to)| world.cut(0, *node, *from, *to));
        world.run(1_000_000)?;
        let trace = world.trace();
        let asker = world.actors().find_map(|node| if let Node::Asker(asker) = node { Some(asker) } else { None });
        let (took_ms, in_vain) = asker.map(|asker| (asker.took_ms.clone(), asker.in_vain)).unwrap_or_default();
        Ok(Outcome { trace, took_ms, in_vain })
    }

    /// Anybody can announce anything.
    fn is_likely(&self, node: usize, item: usize) -> bool {
        match self.manners[node - 1] {
            Manner::Honest => self.announced && self.has[item].contains(&node),
            Manner::Empty | Manner::Liar => true,
            Manner::Silent | Manner::Slow => node.is_multiple_of(2),
        }
    }

    /// The bad ones have few networks.
    fn neighbourhood(&self, node: usize) -> u64 {
        if self.manners[node - 1] == Manner::Honest { node as u64 % 10 } else { 100 + node as u64 % 3 }
    }
}

/// A node of such a world.
pub enum Node {
    Asker(Box<Asker>),
    Peer(Peer),
}

/// Asks, and keeps a second account of whom.
pub struct Asker {
    plan: Rc<Plan>,
    item: usize,
    begun_ms: u64,
    ask: Ask,
    memory: Memory,
    numbers: BTreeMap<PeerId, usize>,
    here: BTreeSet<usize>,
    /// Since when each open question of this item is.
    open: BTreeMap<usize, u64>,
    wrong: BTreeSet<usize>,
    took_ms: Vec<u64>,
    in_vain: u64,
}

/// Answers.
pub struct Peer {
    node: usize,
    plan: Rc<Plan>,
    /// Answers that are kept back, by their time and item.
    owed: BTreeMap<(u64, usize), Message>,
}

impl Asker {
    fn new(plan: Rc<Plan>) -> Self {
        let ask = Ask::new(mix(plan.seed), 1);
        let numbers = (1..=plan.manners.len()).map(|node| (peer_id(node), node)).collect();
        Self {
            plan,
            item: 0,
            begun_ms: 0,
            ask,
            memory: Memory::default(),
            numbers,
            here: BTreeSet::new(),
            open: BTreeMap::new(),
            wrong: BTreeSet::new(),
            took_ms: Vec::new(),
            in_vain: 0,
        }
    }

    /// Everybody who is connected, but those who broke a rule: a node keeps away from them.
    fn met(&self) -> Event {
        let candidate = |node: &usize| {
            let (peer, neighbourhood) = (peer_id(*node), self.plan.neighbourhood(*node));
            Candidate { peer, neighbourhood, likely: self.plan.is_likely(*node, self.item) }
        };
        Event::Met { peers: self.here.difference(&self.wrong).map(candidate).collect() }
    }

    fn feed(&mut self, event: Event, now_ms: u64, out: &mut Out<Message>) {
        for action in self.ask.handle(event, now_ms, &mut self.memory) {
            if let Err(rule) = self.perform(action, now_ms, out) {
                out.fail(format!("{rule}: {action:?}"));
            }
        }
    }

    fn perform(&mut self, action: Action, now_ms: u64, out: &mut Out<Message>) -> Result<(), &'static str> {
        match action {
            Action::Ask { peer } => {
                let node = self.number(&peer).ok_or("only who is connected is asked")?;
                let young = self.open.values().filter(|since| now_ms < **since + HEDGE_MS).count();
                let rules = [
                    (!self.wrong.contains(&node), "who broke a rule is not asked again"),
                    (young < AT_ONCE, "too many are asked at once"),
                    (self.open.len() < OPEN_MAX, "too many questions are open"),
                    (self.open.insert(node, now_ms).is_none(), "one question to a peer at a time"),
                ];
                if let Some((_, rule)) = rules.into_iter().find(|(kept, _)| !kept) {
                    return Err(rule);
                }
                self.in_vain += u64::from(!self.plan.has[self.item].contains(&node));
                out.send(node, Message::Question { item: self.item }, SMALL);
                Ok(())
            }
            Action::GiveUp { peer } => {
                let node = self.number(&peer).ok_or("who is gone is not waited for")?;
                let since = self.open.remove(&node).ok_or("it was not asked")?;
                (now_ms >= since + ANSWER_MS).then_some(()).ok_or("everybody has their time")
            }
        }
    }

    fn number(&self, peer: &PeerId) -> Option<usize> {
        self.numbers.get(peer).copied().filter(|node| self.here.contains(node))
    }

    fn answered(&mut self, from: usize, item: usize, right: Option<bool>, now_ms: u64, out: &mut Out<Message>) {
        if item != self.item || self.is_done() {
            return;
        }
        self.open.remove(&from);
        let (peer, answer) = match right {
            Some(true) => return self.found(from, now_ms, out),
            Some(false) => (peer_id(from), Answer::Wrong),
            None => (peer_id(from), Answer::Lacks),
        };
        if answer == Answer::Wrong {
            self.wrong.insert(from);
        }
        self.feed(Event::Answered { peer, answer }, now_ms, out);
    }

    /// Goes on with the next item, and with what it remembers.
    fn found(&mut self, from: usize, now_ms: u64, out: &mut Out<Message>) {
        self.took_ms.push(now_ms - self.begun_ms);
        self.memory.delivered(&peer_id(from));
        self.ask.end(&mut self.memory);
        (self.item, self.begun_ms) = (self.item + 1, now_ms);
        (self.open, self.wrong) = (BTreeMap::new(), BTreeSet::new());
        if self.is_done() {
            return;
        }
        self.ask = Ask::new(mix(self.plan.seed ^ self.item as u64), 1);
        self.feed(self.met(), now_ms, out);
    }

    fn is_done(&self) -> bool {
        self.item == self.plan.has.len()
    }
}

impl Peer {
    fn asked(&mut self, item: usize, now_ms: u64, out: &mut Out<Message>) {
        let has = self.plan.has[item].contains(&self.node);
        let answer = |right| Message::Answer { item, right };
        match self.plan.manners[self.node - 1] {
            Manner::Honest => out.send(0, answer(has.then_some(true)), SMALL),
            Manner::Silent => {}
            Manner::Liar => out.send(0, answer(Some(false)), SMALL),
            Manner::Empty => out.send(0, answer(None), SMALL),
            Manner::Slow => drop(self.owed.insert((now_ms + ANSWER_MS + HEDGE_MS, item), answer(None))),
        }
    }
}

impl Actor for Node {
    type Message = Message;

    fn handle(&mut self, input: Input<Message>, now_ms: u64, out: &mut Out<Message>) {
        match (self, input) {
            (Self::Asker(asker), _) if asker.is_done() => {}
            (Self::Asker(asker), Input::Linked { node }) => {
                asker.here.insert(node);
                asker.feed(asker.met(), now_ms, out);
            }
            (Self::Asker(asker), Input::Lost { node }) => {
                asker.here.remove(&node);
                asker.open.remove(&node);
                asker.feed(Event::Gone { peer: peer_id(node) }, now_ms, out);
            }
            (Self::Asker(asker), Input::Message { from, message: Message::Answer { item, right } }) => {
                asker.answered(from, item, right, now_ms, out);
            }
            (Self::Asker(asker), Input::Wake) => asker.feed(Event::Tick, now_ms, out),
            (Self::Peer(peer), Input::Message { message: Message::Question { item }, .. }) => {
                peer.asked(item, now_ms, out);
            }
            (Self::Peer(peer), Input::Wake) => {
                while let Some(entry) = peer.owed.first_entry().filter(|entry| entry.key().0 <= now_ms) {
                    out.send(0, entry.remove(), SMALL);
                }
            }
            _ => {}
        }
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        match self {
            Self::Asker(asker) if asker.is_done() => None,
            Self::Asker(asker) => asker.ask.wake_at_ms(now_ms, &asker.memory),
            Self::Peer(peer) => peer.owed.keys().next().map(|(at_ms, _)| *at_ms),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Asker(asker) => asker.is_done(),
            Self::Peer(_) => true,
        }
    }
}
