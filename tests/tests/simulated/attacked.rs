//! Honest nodes among as many strangers who attack them; a few seeds; a thousand are the soak `simulated-strangers`.

use potluck_tests::sim::catalogue::Defence;
use potluck_tests::sim::whole::attacked::{END_MS, Outcome, Plan};

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

#[test]
fn explore() {
    let get = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (from, count) = (get("FROM").unwrap_or(0), get("COUNT").unwrap_or(1));
    let without = match std::env::var("WITHOUT").unwrap_or_default().as_str() {
        "shelf" => Some(Defence::Shelf),
        "admission" => Some(Defence::Admission),
        "bans" => Some(Defence::Bans),
        "allowances" => Some(Defence::Allowances),
        _ => None,
    };
    for seed in from..from + count {
        let start = std::time::Instant::now();
        let plan = Plan::without(seed, without);
        let mut world = plan.world();
        let made = start.elapsed();
        let ran = world.run_until(get("UNTIL").unwrap_or(END_MS));
        let events = world.events();
        let costs: Vec<_> = world.actors().take(20).map(|node| node.catalogue().costs()).collect();
        let most = costs.iter().fold(costs[0], |most, one| most.max(*one));
        println!("{seed}: made {made:?} all {:?} events {events} {ran:?} {most:?}", start.elapsed());
        println!("   {:?}", Outcome::of(&plan, &world).map(|outcome| (outcome.check(), outcome)));
    }
}
