//! Honest nodes among as many strangers who attack them; a few seeds; a thousand are the soak `simulated-strangers`.

use potluck_tests::sim::whole::attacked::{Outcome, Plan};

fn twice(seed: u64) -> Outcome {
    let plan = Plan::by_seed(seed);
    let outcome = plan.run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert_eq!(plan.run().as_ref(), Ok(&outcome), "seed {seed}");
    outcome
}

#[test]
fn what_honest_nodes_publish_is_found_and_pulled_whatever_strangers_do() {
    for seed in 0..3 {
        let outcome = twice(seed);
        println!("{seed}: {outcome:?}");
    }
}
