//! A swarm that its seed decides.

use super::plan::{Plan, Pulling};
use super::provider::Conduct;
use crate::sim::Line;
use potluck_protocol::splitmix::{SplitMix64, mix};

impl Plan {
    /// A swarm: several nodes pull several manifests from each other, some are slow, lie, stall, drip, refuse,
    /// vanish, come late, go away for a while or have a part; connections break, and the swarm falls into two or
    /// three parts. Each manifest has one honest provider that stays, known to all that want it.
    pub fn swarm(seed: u64, nodes: usize) -> Self {
        let mut rng = SplitMix64::new(mix(seed));
        let mut plan = Self::of_one_file(seed, Vec::new());
        plan.lens = (0..rng.between(60, 120)).map(|_| rng.between(1, 512 << 10) as u32).collect();
        let manifests = rng.between(3, 5) as usize;
        let all = plan.lens.len() as u64;
        // Runs that overlap: manifests share shards, as adapters share tensors.
        let manifest = |rng: &mut SplitMix64| -> Vec<u32> {
            let (first, count) = (rng.below(all - 8), rng.between(8, 32));
            (first..(first + count).min(all)).map(|shard| shard as u32).collect()
        };
        plan.manifests = (0..manifests).map(|_| manifest(&mut rng)).collect();
        (0..nodes).for_each(|node| plan.add_by_seed(node, &mut rng));
        plan.link_by_seed(&mut rng);
        plan.trouble(&mut rng);
        plan
    }

    fn add_by_seed(&mut self, node: usize, rng: &mut SplitMix64) {
        let count = self.manifests.len();
        if node < count {
            let line = Line { up: rng.between(512 << 10, 4 << 20), down: 4 << 20 };
            self.add(Conduct::Honest, line, self.manifests[node].clone(), Vec::new());
            return;
        }
        let conduct = match rng.below(12) {
            0 => Conduct::Liar(rng.below(20) as u32),
            1 => Conduct::Silent(rng.below(20) as u32),
            2 => Conduct::Dripping,
            3 => Conduct::Empty,
            4 => Conduct::Busy(rng.between(20, 90)),
            _ => Conduct::Honest,
        };
        let line = Line { up: (32 << 10) << rng.below(8), down: (256 << 10) << rng.below(6) };
        let part = rng.chance(20).then(|| rng.below(count as u64) as usize);
        let has = part.map(|manifest| self.manifests[manifest].iter().copied().filter(|_| rng.chance(50)).collect());
        let pulls = (0..count as u32).filter(|_| rng.chance(45)).collect::<Vec<_>>();
        let pulls = pulls.into_iter().map(|manifest| Pulling { manifest, start_ms: rng.below(5_000) }).collect();
        let node = self.add(conduct, line, has.unwrap_or_default(), pulls);
        if rng.chance(15) {
            self.nodes[node].joins_ms = rng.below(60_000);
        }
    }

    fn link_by_seed(&mut self, rng: &mut SplitMix64) {
        let stay = self.manifests.len();
        // Those that stay know each other, and everybody one of them: whatever vanishes, the rest holds together.
        (1..stay).for_each(|node| self.links.push((node - 1, node, rng.between(1, 150))));
        for node in stay..self.nodes.len() {
            let sources: Vec<usize> = self.nodes[node].pulls.iter().map(|pull| pull.manifest as usize).collect();
            let others: Vec<usize> = (0..4).map(|_| rng.below(self.nodes.len() as u64) as usize).collect();
            for other in sources.into_iter().chain([node % stay]).chain(others) {
                self.links.push((node, other, rng.between(1, 150)));
            }
        }
    }

    fn trouble(&mut self, rng: &mut SplitMix64) {
        for _ in 0..rng.below(16) {
            let (a, b, _) = self.links[rng.below(self.links.len() as u64) as usize];
            let from = rng.below(30_000);
            self.cut(a, b, from, from + rng.between(1, 15_000));
        }
        let (stay, count) = (self.manifests.len() as u64, self.nodes.len() as u64);
        for _ in 0..rng.below(4) {
            let node = rng.between(stay, count - 1);
            self.kills.push((node as usize, rng.below(30_000)));
        }
        for _ in 0..rng.below(4) {
            let (away, from) = (rng.below(count) as usize, rng.below(30_000));
            self.cut_where(from, from + rng.between(1_000, 30_000), |node| usize::from(node == away));
        }
        if rng.chance(50) {
            let (sides, salt, from) = (rng.between(2, 3), rng.next_u64(), rng.below(20_000));
            self.cut_where(from, from + rng.between(1_000, 60_000), |node| (mix(salt ^ node as u64) % sides) as usize);
        }
    }

    /// Cuts all connections between nodes of different sides for a while.
    fn cut_where(&mut self, from_ms: u64, to_ms: u64, side: impl Fn(usize) -> usize) {
        for (a, b, _) in self.links.clone() {
            if side(a) != side(b) {
                self.cut(a, b, from_ms, to_ms);
            }
        }
    }
}
