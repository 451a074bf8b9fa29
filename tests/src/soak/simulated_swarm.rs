//! A thousand simulated swarms of twenty-five nodes, each run twice.

use std::time::Instant;

use crate::sim::Line;
use crate::sim::swarm::{self, Conduct, Pulling};
use crate::sim::whole::{self, Plan};
use serde_json::{Value, json};

use crate::crash::Outcome;

pub const NAME: &str = "simulated-swarm";
/// Worlds, if nothing else is said.
pub const SEEDS: u64 = 1000;
const NODES: usize = 25;
/// What several sources gain is measured with so many shards of 1 MiB, at 25 MB/s and a twenty-fifth of it.
const SHARDS: usize = 256;
const RATE: u64 = 25_000_000;
const SLOW: u64 = RATE / 25;

/// Every pull of every node that lives ends, all honest catalogues end equal, both runs of a seed have one trace, and no
/// rule of either machine is ever broken.
pub fn run(seed: u64) -> Outcome<Value> {
    run_with(seed, SEEDS)
}

/// The same with so many worlds.
pub fn run_with(seed: u64, seeds: u64) -> Outcome<Value> {
    let start = Instant::now();
    let threads = threads()?;
    let outcomes = each(seed, seeds, twice)?.into_iter().collect::<Result<Vec<whole::Outcome>, String>>()?;
    let wall_s = start.elapsed().as_secs_f64();
    let sum = |of: fn(&whole::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let most = |of: fn(&whole::Outcome) -> u64| outcomes.iter().map(of).max().unwrap_or(0);
    let (one, four) = (took_ms(&[RATE])?, took_ms(&[RATE; 4])?);
    let (three, beside_slow) = (took_ms(&[RATE; 3])?, took_ms(&[RATE, RATE, RATE, SLOW])?);
    let (wanted, came) = (sum(|one| one.swarm.wanted_bytes), sum(|one| one.swarm.came_bytes));
    Ok(json!({
        "swarms": seeds, "nodes": NODES, "failed": 0, "unequal_traces": 0, "wall_s": wall_s, "threads": threads,
        "events": sum(|one| one.swarm.events),
        "pulls": sum(|one| one.swarm.pulls), "mib_wanted": wanted >> 20, "bytes_over_wanted": came as f64 / wanted as f64,
        "slowest_pull_simulated_s": most(|one| one.swarm.took_ms) as f64 / 1000.0,
        "four_seeders_over_one": one as f64 / four as f64,
        "cost_of_a_slow_seeder_percent": 100.0 * (beside_slow as f64 / three as f64 - 1.0),
        "catalogues": {
            "honest": sum(|one| one.honest), "unequal": 0, "records": sum(|one| one.records),
            "heard": sum(|one| one.heard), "learned": sum(|one| one.learned), "redundant": sum(|one| one.redundant),
            "rounds": sum(|one| one.rounds), "messages": sum(|one| one.messages), "mib": sum(|one| one.bytes) >> 20,
            "gossip_mib": sum(|one| one.gossip_bytes) >> 20, "blamed": sum(|one| one.blamed), "blamed_honest": 0,
            "equal_after_simulated_s": {
                "median": median(outcomes.iter().map(|one| one.equal_after_ms).collect()) as f64 / 1000.0,
                "most": most(|one| one.equal_after_ms) as f64 / 1000.0,
            },
        },
    }))
}

/// As many as this machine runs at once.
pub fn threads() -> Outcome<u64> {
    Ok(std::thread::available_parallelism()?.get() as u64)
}

/// What comes of so many seeds from this one on, on all threads.
pub fn each<T: Send>(seed: u64, seeds: u64, one: fn(u64) -> Result<T, String>) -> Outcome<Vec<Result<T, String>>> {
    let threads = threads()?;
    Ok(std::thread::scope(|scope| {
        let share = |thread| move || (seed + thread..seed + seeds).step_by(threads as usize).map(one).collect();
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(share(thread))).collect();
        let joined = running.into_iter().map(|one| one.join().unwrap_or_else(|_| vec![Err("a panic".to_owned())]));
        joined.flatten().collect()
    }))
}

fn twice(seed: u64) -> Result<whole::Outcome, String> {
    let plan = Plan::by_seed(seed, NODES);
    let outcome = plan.run().map_err(|fault| format!("swarm {seed}: {fault}"))?;
    if plan.run().as_ref() == Ok(&outcome) { Ok(outcome) } else { Err(format!("swarm {seed}: two runs differ")) }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn took_ms(rates: &[u64]) -> Outcome<u64> {
    let mut plan = swarm::Plan::of_one_file(1, vec![1 << 20; SHARDS]);
    let pull = Pulling { manifest: 0, start_ms: 0 };
    let node = plan.add(Conduct::Honest, Line { up: 1 << 30, down: 1 << 30 }, Vec::new(), vec![pull]);
    for rate in rates {
        plan.add_seeder(Conduct::Honest, *rate, node, 10);
    }
    Ok(plan.run()?.took_ms)
}
