//! Nodes that pull what their catalogues hear of.

use potluck_tests::sim::whole::{Outcome, Plan};

fn twice(seed: u64) -> Outcome {
    let plan = Plan::by_seed(seed, 25);
    let outcome = plan.run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert_eq!(plan.run().as_ref(), Ok(&outcome), "seed {seed}");
    outcome
}

/// Every pull ends, all honest catalogues end equal, no rule of either machine is broken, and a seed is a run.
#[test]
fn what_is_announced_is_found_and_pulled() {
    let outcomes: Vec<Outcome> = (0..10).map(twice).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (heard, learned) = (sum(|one| one.heard), sum(|one| one.learned));
    println!("{heard} records by gossip, {learned} by comparing, {} for nothing", sum(|one| one.redundant));
    println!("{} pulls, {} rounds, {} bytes", sum(|one| one.swarm.pulls), sum(|one| one.rounds), sum(|one| one.bytes));
    assert!(sum(|one| one.swarm.pulls) > 200 && heard > 1_000 && learned > 200);
    assert!(sum(|one| one.blamed) > 0);
    assert!(outcomes.windows(2).all(|pair| pair[0].swarm.trace != pair[1].swarm.trace));
}
