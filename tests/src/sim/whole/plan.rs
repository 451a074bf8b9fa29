//! A world of whole nodes that its seed decides.

use std::rc::Rc;

use super::{Manifests, Node, Outcome};
use crate::sim::catalogue::{self, Manner, Offer, Setting};
use crate::sim::swarm::{self, LIMIT_MS};
use crate::sim::{Fault, World};
use potluck_protocol::catalogue::Bounds;
use potluck_protocol::catalogue::timing::PERIOD_MS;
use potluck_protocol::id::BaseId;
use potluck_protocol::splitmix::{SplitMix64, mix};

/// So small that records are given up, and so large that everybody's newest is kept: half of it is for adapters.
const BOUNDS: Bounds = Bounds { per_publisher: 8, per_base: 120, in_all: 1_000 };
/// What is announced beside the swarm's manifests is numbered from here.
const TALK: u16 = 1_000;
/// Announcements at once of the node that says too much.
const FLOOD: u16 = 30;
/// Periods of comparing between the end of all trouble and the end of the world.
const PERIODS: u64 = 12;

/// A world before it runs.
#[derive(Debug)]
pub struct Plan {
    pub(super) swarm: swarm::Plan,
    pub(super) setting: Setting,
    seed: u64,
    /// What each node follows.
    follows: Vec<Vec<BaseId>>,
    /// Who says what, when.
    pub(super) offers: Vec<(usize, u64, Offer)>,
}

impl Plan {
    /// The swarm of that seed. Who wants a manifest hears of it by gossip, which loses one message in five, or by
    /// comparing catalogues. Some announce something beside it, anew or twice with one number, and one of them far too
    /// much. Who does not serve honestly does not answer honestly either.
    pub fn by_seed(seed: u64, nodes: usize) -> Self {
        let swarm = swarm::Plan::swarm(seed, nodes);
        let mut rng = SplitMix64::new(mix(!seed));
        let manner = |planned: &swarm::Planned, rng: &mut SplitMix64| match planned.conduct.is_honest() {
            true => Manner::Honest,
            false => Manner::BAD[rng.below(Manner::BAD.len() as u64) as usize],
        };
        let manners = swarm.nodes().iter().map(|planned| manner(planned, &mut rng)).collect();
        let stay = swarm.manifests();
        // Those that stay follow both bases, so that both hold together.
        let bases = |node: usize, rng: &mut SplitMix64| if node < stay || rng.chance(50) { 2 } else { 1 };
        let follows: Vec<Vec<BaseId>> =
            (0..nodes).map(|node| (0..bases(node, &mut rng)).map(Offer::base).collect()).collect();
        let mut setting = Setting::new(manners);
        (setting.loss, setting.bounds) = (200, BOUNDS);
        let mut plan = Self { swarm, setting, seed, follows, offers: Vec::new() };
        plan.announce_manifests(&mut rng);
        plan.announce_talk(&mut rng);
        plan.end_late_enough();
        plan
    }

    /// Whoever stays announces what it has.
    fn announce_manifests(&mut self, rng: &mut SplitMix64) {
        for node in 0..self.swarm.manifests() {
            let offer = Offer { publisher: node as u8 + 1, base: 0, manifest: node as u16, sequence: 1, variant: 0 };
            self.offers.push((node, rng.below(10_000), offer));
        }
    }

    fn announce_talk(&mut self, rng: &mut SplitMix64) {
        // Not those that stay: their own talk would push out what they announced first.
        let (first, last) = (self.swarm.manifests() as u64, self.follows.len() as u64 - 1);
        for n in 0..rng.between(4, 16) as u16 {
            let node = rng.between(first, last) as usize;
            let base = rng.below(self.follows[node].len() as u64) as u8;
            let at_ms = rng.below(60_000);
            let offer = Offer { publisher: node as u8 + 1, base, manifest: TALK + n, sequence: 2, variant: 0 };
            self.offers.push((node, at_ms, offer));
            if rng.chance(30) {
                self.offers.push((node, at_ms + rng.below(20_000), Offer { sequence: 3, ..offer }));
            }
            if rng.chance(30) {
                self.offers.push((node, at_ms + rng.below(20_000), Offer { variant: 1, ..offer }));
            }
        }
        if rng.chance(50) {
            let (node, at_ms) = (rng.between(first, last) as usize, rng.below(60_000));
            for n in 0..FLOOD {
                let manifest = 2 * TALK + n;
                let offer =
                    Offer { publisher: node as u8 + 1, base: 0, manifest, sequence: 10 + u64::from(n), variant: 0 };
                self.offers.push((node, at_ms, offer));
            }
        }
    }

    fn end_late_enough(&mut self) {
        let said_ms = self.offers.iter().map(|(_, at_ms, _)| *at_ms).max().unwrap_or(0);
        self.setting.until_ms = self.swarm.calm_ms().max(said_ms) + PERIODS * PERIOD_MS;
    }

    /// When nothing more disturbs and nothing more is announced.
    pub(super) fn calm_ms(&self) -> u64 {
        self.setting.until_ms - PERIODS * PERIOD_MS
    }

    /// The world, ready to run.
    pub fn world(&self) -> World<Node> {
        let all = (0..self.swarm.manifests() as u16).map(|number| (Offer::manifest(number), (number, None)));
        let (manifests, setting) = (Rc::new(all.collect::<Manifests>()), Rc::new(self.setting.clone()));
        self.swarm.world_with(|number, node| {
            let bases = self.follows[number].clone();
            let mut catalogue = catalogue::Node::new(setting.clone(), number, bases, self.seed);
            for (_, at_ms, offer) in self.offers.iter().filter(|(node, ..)| *node == number) {
                catalogue.announce(*at_ms, offer.sign());
            }
            Node::new(node, catalogue, setting.clone(), manifests.clone(), None)
        })
    }

    /// Runs to the end: every pull of every node that lives is done, and honest catalogues have had time to become
    /// equal.
    pub fn run(&self) -> Result<Outcome, Fault> {
        let mut world = self.world();
        world.run(LIMIT_MS)?;
        Outcome::of(self, &world)
    }
}
