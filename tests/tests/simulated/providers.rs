//! One downloader among good and bad providers.

use potluck_tests::sim::swarm::{Conduct, LIMIT_MS, Node, Outcome, Plan};
use proptest::prelude::*;

use super::{MIB, one_pull};

const HONEST: Conduct = Conduct::Honest;

fn run(plan: &Plan) -> Outcome {
    plan.run().unwrap_or_else(|fault| panic!("{fault}"))
}

fn served(plan: &Plan) -> Vec<u64> {
    let mut world = plan.world();
    world.run(LIMIT_MS).unwrap_or_else(|fault| panic!("{fault}"));
    world.actors().map(Node::served_bytes).collect()
}

#[test]
fn equal_providers_share_the_work() {
    let plan = one_pull(1, vec![MIB; 60], &[(HONEST, 1 << 20); 3], 20);
    for bytes in &served(&plan)[1..] {
        assert!((15..=25).contains(&(bytes / u64::from(MIB))), "{bytes} bytes");
    }
    assert!(run(&plan).took_ms < 22_000, "60 MiB at 3 MiB/s took {} ms", run(&plan).took_ms);
}

#[test]
fn a_slow_provider_helps_and_does_not_hold_up() {
    let plan = one_pull(1, vec![MIB; 50], &[(HONEST, 5 << 20), (HONEST, 100 << 10)], 20);
    assert!(run(&plan).took_ms < 11_000, "50 MiB at 5 MiB/s beside a slow one took {} ms", run(&plan).took_ms);
}

/// A line of 20 KiB/s is never idle, however long the way: the next request is there before the last shard is.
#[test]
fn a_slow_provider_is_never_starved() {
    for (len, delay_ms) in [(MIB, 300), (64 << 10, 300), (1000, 300)] {
        let rate = 20 << 10;
        let count = ((8 << 20) / len).min(2000);
        let took_ms = run(&one_pull(1, vec![len; count as usize], &[(HONEST, rate)], delay_ms)).took_ms;
        // Each piece counts 64 bytes more.
        let pieces = u64::from(len.div_ceil(64 << 10));
        let least_ms = u64::from(count) * (u64::from(len) + 64 * pieces) * 1000 / rate;
        assert!(took_ms < least_ms + least_ms / 50 + 4 * delay_ms, "{took_ms} ms instead of {least_ms} for {len}");
    }
}

#[test]
fn many_small_shards_fill_a_long_way() {
    let plan = one_pull(1, vec![64 << 10; 800], &[(HONEST, 10 << 20)], 100);
    assert!(run(&plan).took_ms < 6_500, "50 MiB at 10 MiB/s, 200 ms there and back, took {} ms", run(&plan).took_ms);
}

#[test]
fn a_liar_costs_one_shard() {
    let plan = one_pull(1, vec![MIB; 20], &[(Conduct::Liar(5), 1 << 20), (HONEST, 1 << 20)], 20);
    let outcome = run(&plan);
    // What it had begun, and what was on its way when it was dropped.
    assert!(outcome.came_bytes <= outcome.wanted_bytes + 2 * u64::from(MIB), "{outcome:?}");
}

#[test]
fn partial_providers_complete_each_other() {
    let mut plan = one_pull(1, vec![MIB; 20], &[], 20);
    for odd in [0, 1] {
        let half = (0..20).filter(|shard| shard % 2 == odd).collect();
        plan.add_part(HONEST, 1 << 20, 0, 20, half);
    }
    assert!(run(&plan).took_ms < 11_500);
}

#[test]
fn a_connection_that_breaks_costs_what_was_on_its_way() {
    let mut plan = one_pull(1, vec![MIB; 40], &[(HONEST, 2 << 20)], 20);
    for second in [3, 6, 9] {
        plan.cut(0, 1, second * 1000, second * 1000 + 500);
    }
    let outcome = run(&plan);
    assert!(outcome.came_bytes <= outcome.wanted_bytes + 3 * u64::from(MIB), "{outcome:?}");
    assert!(outcome.took_ms < 24_500, "{outcome:?}");
}

/// At the end the fast one could ask for everything that the slow ones have begun.
#[test]
fn many_slow_providers_do_not_cost_many_second_copies() {
    let mut providers = vec![(HONEST, 600 << 10); 20];
    providers.push((HONEST, 20 << 20));
    let outcome = run(&one_pull(1, vec![MIB; 60], &providers, 1));
    let excess = outcome.came_bytes - outcome.wanted_bytes;
    println!("{excess} bytes too many of {}", outcome.wanted_bytes);
    // One piece more for each that was called back.
    assert!(excess <= outcome.wanted_bytes / 20 + 21 * 65_536, "{outcome:?}");
}

/// To one slow provider the others are no help: what one of them has half sent, none of them brings sooner.
#[test]
fn slow_providers_alone_do_not_ask_each_other_for_what_one_of_them_sends() {
    let mut providers = vec![(HONEST, 20 << 10); 10];
    providers.push((HONEST, 10 << 10));
    for seed in 0..3 {
        let outcome = run(&one_pull(seed, vec![MIB; 11], &providers, 20));
        let excess = outcome.came_bytes - outcome.wanted_bytes;
        assert!(excess <= u64::from(MIB) + 11 * 65_536, "{seed}: {outcome:?}");
    }
}

/// More than the scheduler has places for, all of them there before the honest one.
#[test]
fn a_crowd_that_drips_or_is_silent_or_empty_keeps_no_honest_provider_out() {
    for conduct in [Conduct::Dripping, Conduct::Silent(0), Conduct::Silent(1), Conduct::Empty] {
        for seed in 0..5 {
            let mut providers = vec![(conduct, 1 << 20); 100];
            providers.push((HONEST, 5 << 20));
            let outcome = run(&one_pull(seed, vec![MIB; 20], &providers, 20));
            assert!(outcome.took_ms < 60_000, "{conduct:?} {seed}: {outcome:?}");
        }
    }
}

fn conduct() -> impl Strategy<Value = Conduct> {
    prop_oneof![
        3 => Just(HONEST),
        1 => (0u32..40).prop_map(Conduct::Liar),
        1 => (0u32..40).prop_map(Conduct::Silent),
        1 => Just(Conduct::Dripping),
        1 => (1u64..95).prop_map(Conduct::Busy),
        1 => Just(Conduct::Empty),
    ]
}

fn rate() -> impl Strategy<Value = u64> {
    // As many slow as fast ones.
    (14u32..25).prop_flat_map(|bits| (1u64 << bits)..(2u64 << bits))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Invariant 15: one honest provider that stays is enough, whatever the others do; every rule of the ledger holds
    /// at every step; the same seed has the same trace.
    #[test]
    fn one_honest_provider_is_always_enough(
        seed in any::<u64>(),
        others in proptest::collection::vec((conduct(), rate()), 0..6),
        honest in rate(),
        lens in proptest::collection::vec(1u32..=MIB, 1..40),
        cuts in proptest::collection::vec((1usize..8, 0u64..60_000, 1u64..10_000), 0..4),
    ) {
        let mut providers = others;
        providers.push((HONEST, honest));
        let mut plan = one_pull(seed, lens, &providers, 1 + seed % 150);
        for (node, from, long) in cuts {
            plan.cut(0, 1 + node % providers.len(), from, from + long);
        }
        prop_assert_eq!(run(&plan), run(&plan));
    }

    /// Among honest providers whose speed does not change, what comes too often stays within 5 % or one shard, beside
    /// the pieces that were on the line when it was called back.
    #[test]
    fn second_copies_stay_within_their_bound(
        seed in any::<u64>(),
        rates in proptest::collection::vec((400u64 << 10)..(32 << 20), 1..7),
        lens in proptest::collection::vec(1u32..=MIB, 1..120),
    ) {
        let providers: Vec<_> = rates.iter().map(|rate| (HONEST, *rate)).collect();
        let outcome = run(&one_pull(seed, lens, &providers, 1 + seed % 50));
        let allowed = (outcome.wanted_bytes / 20).max(u64::from(MIB)) + 2 * 65_536 * providers.len() as u64;
        prop_assert!(outcome.came_bytes - outcome.wanted_bytes <= allowed, "{:?}", outcome);
    }
}
