//! A world by plan, and what came of it.

use std::rc::Rc;

use super::puller::Puller;
use super::{Conduct, Library, Node};
use crate::sim::{Actor, Fault, Line, World};
use potluck_protocol::splitmix::SplitMix64;

/// A run may take so long, in simulated time.
pub const LIMIT_MS: u64 = 4 * 3_600_000;

/// One node of a plan.
#[derive(Clone, Debug)]
pub struct Planned {
    pub conduct: Conduct,
    line: Line,
    has: Vec<u32>,
    pub(super) pulls: Vec<Pulling>,
    /// It is not there before.
    pub(super) joins_ms: u64,
    /// Where it is; elsewhere than all others if nothing is said.
    near: Option<u64>,
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
    pub(super) seed: u64,
    pub(super) lens: Vec<u32>,
    pub(super) manifests: Vec<Vec<u32>>,
    pub(super) nodes: Vec<Planned>,
    /// Two nodes, and the delay between them.
    pub(super) links: Vec<(usize, usize, u64)>,
    /// Two nodes, when they lose each other, when they meet again.
    pub(super) cuts: Vec<(usize, usize, u64, u64)>,
    pub(super) kills: Vec<(usize, u64)>,
}

/// What came of a run in which every pull of a living node ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace: blake3::Hash,
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

    /// Manifests of shards with these lengths, which no two of them share, and nobody yet.
    pub fn of_files(seed: u64, files: &[Vec<u32>]) -> Self {
        let mut plan = Self::of_one_file(seed, files.concat());
        let mut first = 0;
        plan.manifests = files
            .iter()
            .map(|lens| {
                let shards = first..first + lens.len() as u32;
                first = shards.end;
                shards.collect()
            })
            .collect();
        plan
    }

    /// A node that has some of the manifests from the beginning.
    pub fn add_with(&mut self, conduct: Conduct, line: Line, manifests: &[usize], pulls: Vec<Pulling>) -> usize {
        let has = manifests.iter().flat_map(|manifest| self.manifests[*manifest].clone()).collect();
        self.add(conduct, line, has, pulls)
    }

    pub fn add(&mut self, conduct: Conduct, line: Line, has: Vec<u32>, pulls: Vec<Pulling>) -> usize {
        self.nodes.push(Planned { conduct, line, has, pulls, joins_ms: 0, near: None });
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

    /// The node is where others are.
    pub fn place(&mut self, node: usize, neighbourhood: u64) {
        self.nodes[node].near = Some(neighbourhood);
    }

    pub fn link(&mut self, a: usize, b: usize, delay_ms: u64) {
        self.links.push((a, b, delay_ms));
    }

    pub fn cut(&mut self, a: usize, b: usize, from_ms: u64, to_ms: u64) {
        self.cuts.push((a, b, from_ms, to_ms));
    }

    pub fn nodes(&self) -> &[Planned] {
        &self.nodes
    }

    pub fn manifests(&self) -> usize {
        self.manifests.len()
    }

    /// Is there to the end.
    pub fn lasts(&self, node: usize) -> bool {
        self.kills.iter().all(|(killed, _)| *killed != node)
    }

    /// When everybody has joined, everything that was cut is whole again, and nobody vanishes any more.
    pub fn calm_ms(&self) -> u64 {
        let joins = self.nodes.iter().map(|node| node.joins_ms);
        joins.chain(self.cuts.iter().map(|cut| cut.3)).chain(self.kills.iter().map(|kill| kill.1)).max().unwrap_or(0)
    }

    /// The world, ready to run. Every manifest is known to exist.
    pub fn world(&self) -> World<Node> {
        self.world_with(|_, mut node| {
            (0..self.manifests.len() as u32).for_each(|manifest| node.learn_of(manifest, 0));
            node
        })
    }

    /// The same with more in each node than the swarm's part. A node pulls what it has [`Node::learn_of`].
    pub fn world_with<A: Actor>(&self, mut wrap: impl FnMut(usize, Node) -> A) -> World<A> {
        let near = self.nodes.iter().enumerate().map(|(n, planned)| planned.near.unwrap_or(n as u64)).collect();
        let library = Rc::new(Library::new(&self.lens, self.manifests.clone(), near));
        let mut rng = SplitMix64::new(self.seed);
        let mut world = World::default();
        for (n, planned) in self.nodes.iter().enumerate() {
            let mut node = Node::new(library.clone(), planned.conduct, rng.next_u64());
            node.give(planned.has.iter().copied());
            for pull in &planned.pulls {
                node.pull(pull.manifest, pull.start_ms, rng.next_u64());
            }
            world.add(wrap(n, node), planned.line);
        }
        for (a, b, delay_ms) in &self.links {
            world.link(*a, *b, *delay_ms, self.nodes[*a].joins_ms.max(self.nodes[*b].joins_ms));
        }
        self.cuts.iter().for_each(|(a, b, from, to)| world.cut(*a, *b, *from, *to));
        self.kills.iter().for_each(|(node, at)| world.kill(*node, *at));
        world
    }

    /// Runs to the end: every pull of every node that lives.
    pub fn run(&self) -> Result<Outcome, Fault> {
        let mut world = self.world();
        world.run(LIMIT_MS)?;
        Outcome::of(&world, |node| node)
    }
}

impl Outcome {
    /// Of a world that has run.
    pub fn of<A: Actor>(world: &World<A>, part: impl Fn(&A) -> &Node) -> Result<Self, Fault> {
        let living = world.actors().enumerate().filter(|(n, _)| world.is_alive(*n));
        let living: Vec<(usize, &Node)> = living.map(|(n, actor)| (n, part(actor))).collect();
        let pulls: Vec<_> = living.iter().flat_map(|(_, node)| node.pulls()).collect();
        let sum = |of: fn(&Puller) -> u64| pulls.iter().map(|pull| of(pull)).sum::<u64>();
        for (n, node) in &living {
            if let Some(pull) = node.pulls().iter().find(|pull| !node.has_all(pull.manifest)) {
                let rule = format!("manifest {} is said to be here and is not", pull.manifest);
                return Err(Fault::Rule { at_ms: world.now_ms(), node: *n, rule });
            }
        }
        Ok(Self {
            trace: world.trace(),
            events: world.events(),
            pulls: pulls.len() as u64,
            took_ms: pulls.iter().filter_map(|pull| pull.finished_ms).max().unwrap_or(0),
            wanted_bytes: sum(|pull| pull.kept_bytes),
            came_bytes: sum(|pull| pull.came_bytes),
            duplicate_bytes: sum(Puller::wasted_bytes),
        })
    }
}
