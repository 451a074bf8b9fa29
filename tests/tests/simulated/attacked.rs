//! Honest nodes among as many strangers who attack them; a few seeds; a thousand are the soak `simulated-strangers`.

use potluck_tests::sim::catalogue::Defence;
use potluck_tests::sim::whole::attacked::{Outcome, Plan};

fn twice(seed: u64) -> Outcome {
    let plan = Plan::by_seed(seed);
    let outcome = plan.run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert_eq!(plan.run().as_ref(), Ok(&outcome), "seed {seed}");
    outcome
}

/// Seeds of the quick tests.
const SEEDS: u64 = 3;

#[test]
fn what_honest_nodes_publish_is_found_and_pulled_whatever_strangers_do() {
    let outcomes: Vec<Outcome> = (0..SEEDS).map(twice).collect();
    outcomes.iter().for_each(|outcome| println!("{outcome:?}"));
    assert!(outcomes.iter().all(|outcome| outcome.pulls > 900 && outcome.bans > 0));
    assert!(outcomes.windows(2).all(|pair| pair[0].trace != pair[1].trace));
}

/// What a world says in which a defence is switched off: of the first seeds one at least falls short.
fn falls_short_without(defence: Defence) -> String {
    let faults = (0..SEEDS).filter_map(|seed| Plan::without(seed, Some(defence)).run().err());
    faults.map(|fault| fault.to_string()).next().unwrap_or_else(|| panic!("nothing is missed without {defence:?}"))
}

#[test]
fn without_places_of_its_own_what_honest_nodes_publish_is_not_found() {
    let said = falls_short_without(Defence::Shelf);
    assert!(said.contains("heard of"), "{said}");
}

#[test]
fn without_bans_strangers_have_signatures_checked_without_end() {
    let said = falls_short_without(Defence::Bans);
    assert!(said.contains("signatures checked"), "{said}");
}

#[test]
fn without_allowances_one_peer_has_any_number_of_questions_answered() {
    let said = falls_short_without(Defence::Allowances);
    assert!(said.contains("questions of one peer"), "{said}");
}
