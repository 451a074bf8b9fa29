//! What came of a world with strangers in it.

use super::pool::{ADAPTERS, MANIFESTS, publisher};
use super::{HONEST, Plan};
use crate::sim::catalogue::Costs;
use crate::sim::whole::Node;
use crate::sim::{Fault, World};

/// A version or a proof is known to everybody within so long (`docs/swarm.md`), and likewise an adapter.
pub const FOUND_MS: u64 = 60_000;
/// Everything that is published is pulled within so long, and within so long of when it was heard of.
pub const PULLED_MS: u64 = 120_000;
pub const TOOK_MS: u64 = 30_000;

/// What came of a run in which everything that honest nodes published was found and pulled, and no rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace: blake3::Hash,
    pub events: u64,
    pub pulls: u64,
    /// The longest that it took somebody to hear of an adapter, of a version or proof, and to have what was published.
    pub adapter_found_ms: u64,
    pub word_found_ms: u64,
    pub pulled_ms: u64,
    /// The longest that a pull took.
    pub took_ms: u64,
    /// Strangers that did nothing in the whole time.
    pub idle: usize,
    /// What strangers and all others have cost honest nodes: of each figure the most of any one node.
    pub most: Costs,
    /// Bans of strangers by honest nodes, all together.
    pub bans: u64,
}

impl Outcome {
    /// Of a world that has run.
    pub fn of(plan: &Plan, world: &World<Node>) -> Result<Self, Fault> {
        let mut outcome = Self {
            trace: world.trace(),
            events: world.events(),
            pulls: 0,
            adapter_found_ms: 0,
            word_found_ms: 0,
            pulled_ms: 0,
            took_ms: 0,
            idle: world.actors().filter(|node| node.is_idle_stranger()).count(),
            most: Costs::default(),
            bans: 0,
        };
        for (number, node) in world.actors().enumerate().take(HONEST) {
            let fault = |rule| Fault::Rule { at_ms: world.now_ms(), node: number, rule };
            outcome.note_pulls(plan, number, node).map_err(fault)?;
            let costs = node.catalogue().costs();
            outcome.bans += costs.bans;
            outcome.most = outcome.most.max(costs);
        }
        Ok(outcome)
    }

    /// Whether everything was found and pulled in time.
    pub fn check(&self) -> Result<(), String> {
        let bounds = [
            ("an adapter was heard of", self.adapter_found_ms, FOUND_MS),
            ("a version or a proof was heard of", self.word_found_ms, FOUND_MS),
            ("something was here", self.pulled_ms, PULLED_MS),
            ("something was pulled", self.took_ms, TOOK_MS),
        ];
        if self.idle > 0 {
            return Err(format!("{} strangers did nothing", self.idle));
        }
        match bounds.into_iter().find(|(_, took_ms, most_ms)| took_ms > most_ms) {
            Some((what, took_ms, _)) => Err(format!("{what} after {took_ms} ms")),
            None => Ok(()),
        }
    }

    fn note_pulls(&mut self, plan: &Plan, number: usize, node: &Node) -> Result<(), String> {
        for pull in node.swarm().pulls() {
            let manifest = pull.manifest as usize;
            let since_ms = plan.published_ms[manifest];
            let what = || format!("manifest {manifest} of node {}", publisher(manifest));
            let started_ms = pull.start_ms().ok_or_else(|| format!("{} was never heard of", what()))?;
            let finished_ms = pull.finished_ms.ok_or_else(|| format!("{} was never pulled", what()))?;
            let (found, pulled) = (started_ms - since_ms, finished_ms - since_ms);
            self.took_ms = self.took_ms.max(finished_ms - started_ms);
            let kind = if manifest < ADAPTERS { &mut self.adapter_found_ms } else { &mut self.word_found_ms };
            *kind = found.max(*kind);
            self.pulled_ms = self.pulled_ms.max(pulled);
            self.pulls += 1;
        }
        let own = (0..MANIFESTS).filter(|manifest| publisher(*manifest) == number).count();
        if node.swarm().pulls().len() + own != MANIFESTS {
            return Err("it does not want everything".to_owned());
        }
        Ok(())
    }
}
