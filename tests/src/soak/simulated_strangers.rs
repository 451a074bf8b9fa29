//! A thousand simulated worlds of twenty honest nodes and twenty strangers who attack them, each run twice.

use std::time::Instant;

use serde_json::{Value, json};

use super::simulated_swarm::{SEEDS, each, threads};
use crate::crash;
use crate::sim::catalogue::Costs;
use crate::sim::whole::attacked::{HONEST, Outcome, Plan, STRANGERS};

pub const NAME: &str = "simulated-strangers";

/// Everything that honest nodes publish is found and pulled by all of them in time, no check of the world fails, and both
/// runs of a seed have one trace.
pub fn run(seed: u64) -> crash::Outcome<Value> {
    run_with(seed, SEEDS)
}

/// The same with so many worlds.
pub fn run_with(seed: u64, seeds: u64) -> crash::Outcome<Value> {
    let start = Instant::now();
    let outcomes = each(seed, seeds, twice)?;
    let short: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    let whole: Vec<&Outcome> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    let sum = |of: fn(&Outcome) -> u64| whole.iter().map(|one| of(one)).sum::<u64>();
    let most_s = |of: fn(&Outcome) -> u64| whole.iter().map(|one| of(one)).max().unwrap_or(0) as f64 / 1000.0;
    let most = whole.iter().fold(Costs::default(), |most, one| most.max(one.most));
    let figures = json!({
        "worlds": seeds, "honest": HONEST, "strangers": STRANGERS, "short": short.len(), "wall_s": start.elapsed().as_secs_f64(),
        "threads": threads()?, "events": sum(|one| one.events), "pulls": sum(|one| one.pulls),
        "bans": sum(|one| one.bans),
        "slowest_simulated_s": {
            "adapter_found": most_s(|one| one.adapter_found_ms),
            "version_or_proof_found": most_s(|one| one.word_found_ms),
            "published_until_pulled": most_s(|one| one.pulled_ms), "one_pull": most_s(|one| one.took_ms),
        },
        "most_of_one_node": {
            "signatures": most.signatures, "answered": most.answered, "answered_one_in_a_second": most.answered_one, "busy": most.busy, "kept": most.kept,
            "kept_bytes": most.kept_bytes, "records": most.records,
        },
    });
    let Some(first) = short.first() else { return Ok(figures) };
    println!("{figures}");
    Err(format!("{} of {seeds} worlds fell short, the first of them {first}", short.len()).into())
}

fn twice(seed: u64) -> Result<Outcome, String> {
    let plan = Plan::by_seed(seed);
    let outcome = plan.run().map_err(|fault| format!("world {seed}: {fault}"))?;
    if plan.run().as_ref() == Ok(&outcome) { Ok(outcome) } else { Err(format!("world {seed}: two runs differ")) }
}
