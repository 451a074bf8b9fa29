//! Nodes that pull several manifests from each other and serve while they pull.

use potluck_protocol::sim::swarm::{Outcome, Plan};

fn twice(seed: u64) -> Outcome {
    let plan = Plan::swarm(seed, 25);
    let outcome = plan.run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert_eq!(plan.run().as_ref(), Ok(&outcome), "seed {seed}");
    outcome
}

#[test]
fn every_pull_ends_and_a_seed_is_a_run() {
    let outcomes: Vec<Outcome> = (0..20).map(twice).collect();
    assert!(outcomes.iter().map(|outcome| outcome.pulls).sum::<u64>() > 400);
    assert!(outcomes.windows(2).all(|pair| pair[0].trace != pair[1].trace));
}
