//! A thousand simulated swarms of twenty-five nodes, each run twice.

use std::time::Instant;

use potluck_protocol::sim::Line;
use potluck_protocol::sim::swarm::{Conduct, Plan, Pulling};
use serde_json::{Value, json};

use crate::crash::Outcome;

const SEEDS: u64 = 1000;
const NODES: usize = 25;
/// What several sources gain is measured with so many shards of 1 MiB, at 25 MB/s and a twenty-fifth of it.
const SHARDS: usize = 256;
const RATE: u64 = 25_000_000;
const SLOW: u64 = RATE / 25;

/// Every pull of every node that lives ends, both runs of a seed have one trace, and no rule is ever broken.
pub fn run(seed: u64) -> Outcome<Value> {
    let start = Instant::now();
    let (mut pulls, mut events, mut wanted, mut came, mut slowest) = (0, 0, 0, 0, 0);
    for n in seed..seed + SEEDS {
        let plan = Plan::swarm(n, NODES);
        let outcome = plan.run().map_err(|fault| format!("swarm {n}: {fault}"))?;
        if plan.run().as_ref() != Ok(&outcome) {
            return Err(format!("swarm {n}: two runs differ").into());
        }
        pulls += outcome.pulls;
        events += outcome.events;
        wanted += outcome.wanted_bytes;
        came += outcome.came_bytes;
        slowest = slowest.max(outcome.took_ms);
    }
    let (one, four) = (took_ms(&[RATE])?, took_ms(&[RATE; 4])?);
    let (three, beside_slow) = (took_ms(&[RATE; 3])?, took_ms(&[RATE, RATE, RATE, SLOW])?);
    Ok(json!({
        "swarms": SEEDS, "nodes": NODES, "pulls": pulls, "failed": 0, "unequal_traces": 0, "events": events,
        "mib_wanted": wanted >> 20, "bytes_over_wanted": came as f64 / wanted as f64,
        "slowest_pull_simulated_s": slowest as f64 / 1000.0, "wall_s": start.elapsed().as_secs_f64(),
        "four_seeders_over_one": one as f64 / four as f64,
        "cost_of_a_slow_seeder_percent": 100.0 * (beside_slow as f64 / three as f64 - 1.0),
    }))
}

fn took_ms(rates: &[u64]) -> Outcome<u64> {
    let mut plan = Plan::of_one_file(1, vec![1 << 20; SHARDS]);
    let pull = Pulling { manifest: 0, start_ms: 0 };
    let node = plan.add(Conduct::Honest, Line { up: 1 << 30, down: 1 << 30 }, Vec::new(), vec![pull]);
    for rate in rates {
        plan.add_seeder(Conduct::Honest, *rate, node, 10);
    }
    Ok(plan.run()?.took_ms)
}
