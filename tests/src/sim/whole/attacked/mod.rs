//! Twenty honest nodes, and twenty strangers who do what a security review found, alone and together, for an hour.
//!
//! The honest nodes are the protocol's machines and the daemon's judge of gossip, allowances and bans. They publish
//! adapters, versions of a channel that all of them follow, and proofs; and they pull all of it. What must hold is
//! checked while the world runs: no honest node is blamed by another, catalogues stay within their bounds, no round and
//! no transfer breaks a rule of its ledger, and what others cost stays within [`Costs`]' bounds. What was found and pulled, and when, is
//! checked at the end. With a [`Defence`] switched off some check fails: a test says which.
//!
//! [`Costs`]: crate::sim::catalogue::Costs

mod outcome;
mod pool;
mod stranger;

pub use outcome::Outcome;
pub use pool::{HONEST, STRANGERS};
pub use stranger::{Act, Stranger};

use std::collections::BTreeSet;
use std::rc::Rc;

use self::pool::{EPOCH, MANIFESTS, Pool, publisher};
use super::{Manifests, Node};
use crate::sim::catalogue::{self, Defence, Manner, Offer, Setting};
use crate::sim::swarm::{self, Conduct, Pulling};
use crate::sim::{Fault, Line, World};
use potluck_protocol::catalogue::Bounds;
use potluck_protocol::catalogue::timing::EPOCH_S;
use potluck_protocol::signed::PublicKey;
use potluck_protocol::splitmix::{SplitMix64, mix};

const MINUTE_MS: u64 = 60_000;
/// The honest nodes know each other before the first is published; the last is published, and the world ends.
const FIRST_MS: u64 = MINUTE_MS;
const LAST_MS: u64 = 50 * MINUTE_MS;
pub const END_MS: u64 = 60 * MINUTE_MS;

/// Small, so that strangers overfill it many times: half of a base is for adapters, a tenth each for versions and proofs.
const BOUNDS: Bounds = Bounds { per_publisher: 16, per_base: 256, in_all: 1_024 };

/// What a stranger is.
#[derive(Clone, Debug)]
struct Planned {
    manner: Manner,
    conduct: Conduct,
    acts: Vec<Act>,
    targets: Vec<usize>,
}

/// A world before it runs.
#[derive(Debug)]
pub struct Plan {
    seed: u64,
    swarm: swarm::Plan,
    setting: Setting,
    strangers: Vec<Planned>,
    /// When each manifest is published.
    published_ms: Rc<Vec<u64>>,
    turn_of_epoch_ms: u64,
}

impl Plan {
    pub fn by_seed(seed: u64) -> Self {
        Self::without(seed, None)
    }

    /// The same world with a defence switched off.
    pub fn without(seed: u64, without: Option<Defence>) -> Self {
        let mut rng = SplitMix64::new(mix(seed ^ 0xa77a));
        let strangers: Vec<Planned> = (0..STRANGERS).map(|_| stranger(&mut rng)).collect();
        let published_ms = (0..MANIFESTS).map(|_| rng.between(FIRST_MS, LAST_MS)).collect();
        let turn_of_epoch_ms = rng.between(10 * MINUTE_MS, 45 * MINUTE_MS);
        let setting = setting(&strangers, turn_of_epoch_ms, without, &mut rng);
        let swarm = swarm(seed, &strangers, &setting, &mut rng);
        Self { seed, swarm, setting, strangers, published_ms: Rc::new(published_ms), turn_of_epoch_ms }
    }

    /// The world, ready to run.
    pub fn world(&self) -> World<Node> {
        let pool = Pool::get();
        let setting = Rc::new(self.setting.clone());
        let manifests: Manifests = (0..MANIFESTS)
            .map(|n| (Offer::manifest(n as u16), (n as u16, Some(PublicKey::of(&pool.keys[publisher(n)])))))
            .collect();
        let manifests = Rc::new(manifests);
        self.swarm.world_with(|number, node| {
            let mut catalogue = catalogue::Node::new(setting.clone(), number, vec![pool::base()], self.seed);
            for (n, at_ms) in self.published_ms.iter().enumerate().filter(|(n, _)| publisher(*n) == number) {
                catalogue.announce(*at_ms, pool.honest[n].clone());
            }
            let stranger = number.checked_sub(HONEST).map(|n| {
                let Planned { acts, targets, .. } = self.strangers[n].clone();
                let published_ms = self.published_ms.clone();
                Stranger::new((self.seed, n), acts, targets, published_ms, self.turn_of_epoch_ms)
            });
            Node::new(node, catalogue, setting.clone(), manifests.clone(), stranger)
        })
    }

    /// Runs to the end.
    pub fn run(&self) -> Result<Outcome, Fault> {
        let mut world = self.world();
        world.run_until(END_MS)?;
        let outcome = Outcome::of(self, &world)?;
        let late = |rule| Fault::Rule { at_ms: world.now_ms(), node: 0, rule };
        outcome.check().map_err(late)?;
        Ok(outcome)
    }
}

/// One to four acts, to one to six nodes.
fn stranger(rng: &mut SplitMix64) -> Planned {
    let manners = [&[Manner::Crowd; 5][..], &Manner::BAD].concat();
    let conducts = [
        Conduct::Mute,
        Conduct::Mute,
        Conduct::Dripping,
        Conduct::Empty,
        Conduct::Silent(rng.below(4) as u32),
        Conduct::Liar(rng.below(4) as u32),
    ];
    let (acts, targets) = (rng.between(1, 4) as usize, rng.between(1, 6) as usize);
    Planned {
        manner: manners[rng.below(manners.len() as u64) as usize],
        conduct: conducts[rng.below(conducts.len() as u64) as usize],
        acts: rng.sample(Act::ALL.to_vec(), acts),
        targets: rng.sample((0..HONEST).collect(), targets),
    }
}

fn setting(strangers: &[Planned], turn_ms: u64, without: Option<Defence>, rng: &mut SplitMix64) -> Setting {
    let pool = Pool::get();
    let manners: Vec<Manner> =
        (0..HONEST).map(|_| Manner::Honest).chain(strangers.iter().map(|one| one.manner)).collect();
    let mut setting = match without {
        Some(Defence::Shelf) => Setting::new(manners),
        _ => Setting::of_publishers(manners, &pool.keys),
    };
    // All strangers are in a few places.
    let places = rng.between(2, 6);
    (0..STRANGERS).for_each(|n| setting.near[HONEST + n] = 100 + rng.below(places));
    setting.bounds = BOUNDS;
    setting.followed = BTreeSet::from([PublicKey::of(&pool.keys[0])]);
    setting.begins_s = (EPOCH + 1) * EPOCH_S - turn_ms / 1_000;
    setting.harmless =
        strangers.iter().enumerate().filter(|(_, one)| one.is_harmless()).map(|(n, _)| HONEST + n).collect();
    (setting.bans, setting.without, setting.trusted_max) = (true, without, 2 * MANIFESTS);
    (setting.bases, setting.until_ms) = (1, END_MS);
    setting
}

impl Planned {
    /// Whether it does nothing that is counted as a misdeed.
    fn is_harmless(&self) -> bool {
        let liar = matches!(self.conduct, Conduct::Liar(_));
        !liar && !self.manner.is_provable() && !self.acts.iter().any(|act| act.is_provable())
    }
}

/// Honest nodes have eight neighbours each, so that any two have one in common.
fn swarm(seed: u64, strangers: &[Planned], setting: &Setting, rng: &mut SplitMix64) -> swarm::Plan {
    let shards: Vec<Vec<u32>> =
        (0..MANIFESTS).map(|_| (0..rng.between(1, 3)).map(|_| rng.between(1, 200 << 10) as u32).collect()).collect();
    let mut plan = swarm::Plan::of_files(seed, &shards);
    for node in 0..HONEST {
        let has: Vec<usize> = (0..MANIFESTS).filter(|n| publisher(*n) == node).collect();
        let pulls = (0..MANIFESTS as u32).filter(|n| !has.contains(&(*n as usize)));
        let pulls = pulls.map(|manifest| Pulling { manifest, start_ms: 0 }).collect();
        let line = Line { up: rng.between(1 << 20, 8 << 20), down: 8 << 20 };
        plan.add_with(Conduct::Honest, line, &has, pulls);
    }
    for stranger in strangers {
        plan.add_with(stranger.conduct, Line { up: 4 << 20, down: 4 << 20 }, &[], Vec::new());
    }
    (0..HONEST + STRANGERS).for_each(|node| plan.place(node, setting.near[node]));
    for node in 0..HONEST {
        for step in [1, 2, 5, 9] {
            plan.link(node, (node + step) % HONEST, rng.between(1, 150));
        }
    }
    plan
}
