//! One node asks many for what a few of them have: whoever has it and is connected is asked within a bound, whatever the
//! others do.

use potluck_tests::sim::asking::{Outcome, Plan};

fn twice(plan: &Plan, seed: u64) -> Outcome {
    let outcome = plan.run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert_eq!(plan.run().as_ref(), Ok(&outcome), "seed {seed}");
    outcome
}

/// Twenty honest peers of which a few have it, and twenty that are silent, lie, have nothing or answer too late.
#[test]
fn whoever_has_it_and_is_connected_is_asked_within_a_bound() {
    let mut slowest = [0, 0];
    for seed in 0..200 {
        for announced in [false, true] {
            let plan = Plan::by_seed(seed, 20, 20, announced);
            let outcome = twice(&plan, seed);
            assert_eq!(outcome.took_ms.len(), plan.has.len());
            let took = outcome.took_ms.iter().copied().max().unwrap_or(0);
            assert!(took <= plan.bound_ms(), "seed {seed}: {:?} of {} ms", outcome.took_ms, plan.bound_ms());
            slowest[usize::from(announced)] = took.max(slowest[usize::from(announced)]);
        }
    }
    println!("the slowest item took {} ms, and {} ms where holders announce what they have", slowest[0], slowest[1]);
}

/// As many as a node lets in.
#[test]
fn two_hundred_strangers_lengthen_the_bound_and_nothing_else() {
    for seed in 0..20 {
        let plan = Plan::by_seed(seed, 20, 200, false);
        let outcome = twice(&plan, seed);
        assert!(outcome.took_ms.iter().all(|took| *took <= plan.bound_ms()), "seed {seed}: {:?}", outcome.took_ms);
    }
}

/// Who was silent once is asked last the next time: the first item costs the most.
#[test]
fn what_led_nowhere_is_remembered_from_ask_to_ask() {
    let outcomes: Vec<Outcome> = (0..200).map(|seed| twice(&Plan::by_seed(seed, 20, 20, true), seed)).collect();
    let took = |item: usize| outcomes.iter().map(|outcome| outcome.took_ms[item]).sum::<u64>();
    let (first, last) = (took(0), took(5));
    println!("the first items took {first} ms, the last ones {last} ms");
    assert!(3 * last < 2 * first);
}
