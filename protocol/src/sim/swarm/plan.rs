//! A world by plan or by seed, and what came of it.

use std::rc::Rc;

use super::{Conduct, Library, Node};
use crate::dice::{Dice, mix};
use crate::sim::{Actor, Fault, Line, World};

/// A run may take so long, in simulated time.
const LIMIT_MS: u64 = 4 * 3_600_000;

/// One node of a plan.
#[derive(Clone, Debug)]
pub struct Planned {
    conduct: Conduct,
    line: Line,
    has: Vec<u32>,
    pulls: Vec<Pulling>,
}

/// A node pulls a manifest from that time on.
#[derive(Clone, Copy, Debug)]
pub struct Pulling {
    pub manifest: u32,
    pub start_ms: u64,
}

/// A world before it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    lens: Vec<u32>,
    manifests: Vec<Vec<u32>>,
    nodes: Vec<Planned>,
    /// Two nodes, and the delay between them.
    links: Vec<(usize, usize, u64)>,
    /// Two nodes, when they lose each other, when they meet again.
    cuts: Vec<(usize, usize, u64, u64)>,
    kills: Vec<(usize, u64)>,
}

/// What came of a run in which every pull of a living node ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace: u64,
    pub events: u64,
    pub pulls: u64,
    /// When the last pull ended.
    pub took_ms: u64,
    /// Bytes of shards that were wanted, of all that came, and of whole shards that came twice.
    pub wanted_bytes: u64,
    pub came_bytes: u64,
    pub duplicate_bytes: u64,
}

impl Plan {
    /// One manifest of shards with these lengths, and nobody yet.
    pub fn of_one_file(seed: u64, lens: Vec<u32>) -> Self {
        let manifests = vec![(0..lens.len() as u32).collect()];
        Self { seed, lens, manifests, nodes: Vec::new(), links: Vec::new(), cuts: Vec::new(), kills: Vec::new() }
    }

    pub fn add(&mut self, conduct: Conduct, line: Line, has: Vec<u32>, pulls: Vec<Pulling>) -> usize {
        self.nodes.push(Planned { conduct, line, has, pulls });
        self.nodes.len() - 1
    }

    /// A provider of the whole manifest 0, linked to a node.
    pub fn add_seeder(&mut self, conduct: Conduct, up: u64, to: usize, delay_ms: u64) -> usize {
        self.add_part(conduct, up, to, delay_ms, self.manifests[0].clone())
    }

    /// The same with these shards only.
    pub fn add_part(&mut self, conduct: Conduct, up: u64, to: usize, delay_ms: u64, has: Vec<u32>) -> usize {
        let node = self.add(conduct, Line { up, down: up }, has, Vec::new());
        self.links.push((node, to, delay_ms));
        node
    }

    pub fn cut(&mut self, a: usize, b: usize, from_ms: u64, to_ms: u64) {
        self.cuts.push((a, b, from_ms, to_ms));
    }

    /// A swarm: several nodes pull several manifests from each other, some are slow, lie, stall, drip, refuse, vanish or
    /// have a part; connections break. Each manifest has one honest provider that stays, known to all that want it.
    pub fn swarm(seed: u64, nodes: usize) -> Self {
        let mut dice = Dice::new(mix(seed));
        let mut plan = Self::of_one_file(seed, Vec::new());
        plan.lens = (0..dice.between(60, 120)).map(|_| dice.between(1, 512 << 10) as u32).collect();
        let manifests = dice.between(3, 5) as usize;
        let all = plan.lens.len() as u64;
        // Runs that overlap: manifests share shards, as adapters share tensors.
        let manifest = |dice: &mut Dice| -> Vec<u32> {
            let (first, count) = (dice.below(all - 8), dice.between(8, 32));
            (first..(first + count).min(all)).map(|shard| shard as u32).collect()
        };
        plan.manifests = (0..manifests).map(|_| manifest(&mut dice)).collect();
        (0..nodes).for_each(|node| plan.add_by_seed(node, &mut dice));
        plan.link_by_seed(&mut dice);
        plan.trouble(&mut dice);
        plan
    }

    fn add_by_seed(&mut self, node: usize, dice: &mut Dice) {
        let count = self.manifests.len();
        if node < count {
            let line = Line { up: dice.between(512 << 10, 4 << 20), down: 4 << 20 };
            self.add(Conduct::Honest, line, self.manifests[node].clone(), Vec::new());
            return;
        }
        let conduct = match dice.below(12) {
            0 => Conduct::Liar(dice.below(20) as u32),
            1 => Conduct::Silent(dice.below(20) as u32),
            2 => Conduct::Dripping,
            3 => Conduct::Empty,
            4 => Conduct::Busy(dice.between(20, 90)),
            _ => Conduct::Honest,
        };
        let line = Line { up: (32 << 10) << dice.below(8), down: (256 << 10) << dice.below(6) };
        let part = dice.percent(20).then(|| dice.below(count as u64) as usize);
        let has = part.map(|manifest| self.manifests[manifest].iter().copied().filter(|_| dice.percent(50)).collect());
        let pulls = (0..count as u32).filter(|_| dice.percent(45)).collect::<Vec<_>>();
        let pulls = pulls.into_iter().map(|manifest| Pulling { manifest, start_ms: dice.below(5_000) }).collect();
        self.add(conduct, line, has.unwrap_or_default(), pulls);
    }

    fn link_by_seed(&mut self, dice: &mut Dice) {
        for node in self.manifests.len()..self.nodes.len() {
            let sources: Vec<usize> = self.nodes[node].pulls.iter().map(|pull| pull.manifest as usize).collect();
            let others: Vec<usize> = (0..4).map(|_| dice.below(self.nodes.len() as u64) as usize).collect();
            for other in sources.into_iter().chain(others) {
                self.links.push((node, other, dice.between(1, 150)));
            }
        }
    }

    fn trouble(&mut self, dice: &mut Dice) {
        for _ in 0..dice.below(16) {
            let (a, b, _) = self.links[dice.below(self.links.len() as u64) as usize];
            let from = dice.below(30_000);
            self.cut(a, b, from, from + dice.between(1, 15_000));
        }
        for _ in 0..dice.below(4) {
            let node = dice.between(self.manifests.len() as u64, self.nodes.len() as u64 - 1);
            self.kills.push((node as usize, dice.below(30_000)));
        }
    }

    /// The world, ready to run.
    pub fn world(&self) -> World<Node> {
        self.world_with(|_, node| node)
    }

    /// The same with more in each node than the swarm's part.
    pub fn world_with<A: Actor>(&self, mut wrap: impl FnMut(usize, Node) -> A) -> World<A> {
        let library = Rc::new(Library::new(&self.lens, self.manifests.clone(), self.nodes.len()));
        let mut dice = Dice::new(self.seed);
        let mut world = World::default();
        for (n, planned) in self.nodes.iter().enumerate() {
            let mut node = Node::new(library.clone(), planned.conduct, dice.roll());
            node.give(planned.has.iter().copied());
            for pull in &planned.pulls {
                node.pull(pull.manifest, pull.start_ms, dice.roll());
            }
            world.add(wrap(n, node), planned.line);
        }
        self.links.iter().for_each(|(a, b, delay_ms)| world.link(*a, *b, *delay_ms));
        self.cuts.iter().for_each(|(a, b, from, to)| world.cut(*a, *b, *from, *to));
        self.kills.iter().for_each(|(node, at)| world.kill(*node, *at));
        world
    }

    /// Runs to the end: every pull of every node that lives.
    pub fn run(&self) -> Result<Outcome, Fault> {
        let mut world = self.world();
        world.run(LIMIT_MS)?;
        let living: Vec<&Node> =
            world.actors().enumerate().filter(|(n, _)| world.is_alive(*n)).map(|(_, node)| node).collect();
        let pulls: Vec<_> = living.iter().flat_map(|node| node.pulls()).collect();
        let sum = |of: fn(&super::puller::Puller) -> u64| pulls.iter().map(|pull| of(pull)).sum::<u64>();
        for (n, node) in living.iter().enumerate() {
            if let Some(pull) = node.pulls().iter().find(|pull| !node.has_all(pull.manifest)) {
                let rule = format!("manifest {} is said to be here and is not", pull.manifest);
                return Err(Fault::Rule { at_ms: world.now_ms(), node: n, rule });
            }
        }
        Ok(Outcome {
            trace: world.trace(),
            events: world.events(),
            pulls: pulls.len() as u64,
            took_ms: pulls.iter().filter_map(|pull| pull.finished_ms).max().unwrap_or(0),
            wanted_bytes: sum(|pull| pull.kept_bytes),
            came_bytes: sum(|pull| pull.came_bytes),
            duplicate_bytes: sum(super::puller::Puller::wasted_bytes),
        })
    }
}
