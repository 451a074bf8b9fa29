//! Catalogues among each other: what honest nodes end with, and what others can make them do.

use std::collections::BTreeSet;
use std::rc::Rc;

use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::catalogue::timing::{BACKOFF_MAX_MS, MEET_MS, PERIOD_MS, SOON_MS};
use potluck_protocol::catalogue::{Bounds, Catalogue, RoundOutcome};
use potluck_protocol::id::{AnnouncementId, BaseId};
use potluck_protocol::limits::{CATALOGUE_PER_BASE, CATALOGUE_RECORD_MAX};
use potluck_protocol::signed::Authentic;
use potluck_tests::sim::catalogue::Manner::{Boaster, Dribbler, Forger, Hider, Honest, Pusher, Silent};
use potluck_tests::sim::catalogue::{Manner, Node, Offer, Setting};
use potluck_tests::sim::{Line, World};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Far beyond what honest nodes with nothing in their way take.
const SOON: u64 = 10_000;

/// A line that is no obstacle.
const LINE: Line = Line { up: 1 << 30, down: 1 << 30 };

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(0x706f_746c), failure_persistence: None, ..Default::default() }
}

fn base(number: u8) -> BaseId {
    Offer::base(number)
}

fn many(publisher: u8, count: u16) -> Vec<Authentic<Announcement>> {
    Offer::many(publisher, count)
}

fn announcements(max: usize) -> impl Strategy<Value = Vec<Authentic<Announcement>>> {
    let offer =
        (1..5u8, 0..2u8, 0..6u16, 0..4u64, 0..2u8).prop_map(|(publisher, base, manifest, sequence, variant)| {
            Offer { publisher, base, manifest, sequence, variant }.sign()
        });
    prop::collection::vec(offer, 0..max)
}

fn ids(catalogue: &Catalogue) -> BTreeSet<AnnouncementId> {
    catalogue.records().map(|record| announce::id(record)).collect()
}

/// What a catalogue with room keeps of these, in whatever order they come.
fn kept(all: &[Authentic<Announcement>]) -> BTreeSet<AnnouncementId> {
    let mut catalogue = Catalogue::new(Bounds::default());
    all.iter().for_each(|one| drop(catalogue.insert(one.clone())));
    ids(&catalogue)
}

/// Nodes that follow base 0, each with what it has from the beginning.
fn world(seed: u64, loss: u64, nodes: &[(Manner, Vec<Authentic<Announcement>>)]) -> World<Node> {
    let mut setting = Setting::new(nodes.iter().map(|(manner, _)| *manner).collect());
    // Nobody is ever done: the tests say how long.
    (setting.loss, setting.until_ms) = (loss, 1 << 40);
    let (setting, mut world) = (Rc::new(setting), World::default());
    for (number, (_, given)) in nodes.iter().enumerate() {
        let mut node = Node::new(setting.clone(), number, vec![base(0)], seed);
        node.give(given);
        world.add(node, LINE);
    }
    world
}

/// Runs with the machines' rules in force.
fn run_until(world: &mut World<Node>, until_ms: u64) {
    world.run_until(until_ms).unwrap_or_else(|fault| panic!("{fault}"));
}

fn node(world: &World<Node>, number: usize) -> &Node {
    world.actors().nth(number).expect("it was added")
}

/// Of all nodes.
fn sum(world: &World<Node>, of: fn(&Node) -> u64) -> u64 {
    world.actors().map(of).sum()
}

fn of_base(all: &[Authentic<Announcement>]) -> Vec<Authentic<Announcement>> {
    all.iter().filter(|one| one.body().base == base(0)).cloned().collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn two_catalogues_that_meet_end_with_the_unions_winners(a in announcements(60), b in announcements(60), seed: u64) {
        let (a, b) = (of_base(&a), of_base(&b));
        let mut world = world(seed, 0, &[(Honest, a.clone()), (Honest, b.clone())]);
        world.link(0, 1, 20, 0);
        run_until(&mut world, SOON);
        let union = kept(&[a, b].concat());
        prop_assert!(world.actors().all(|node| node.all_ids() == union && node.blamed.is_empty()));
        // Idempotent: from now on all that is said is that nothing differs.
        let before = node(&world, 0).outcomes.len();
        run_until(&mut world, SOON + 4 * PERIOD_MS);
        let later = &node(&world, 0).outcomes[before..];
        prop_assert!(later.len() >= 3 && later.iter().all(|(_, outcome)| *outcome == RoundOutcome::Equal), "{:?}", later);
    }

    /// Every message may be lost, halves meet and part; once all are connected all end equal.
    #[test]
    fn partitions_heal_over_bad_lines(parts in prop::collection::vec(announcements(30), 3..7), loss in 0..250u64, seed: u64) {
        let nodes: Vec<_> = parts.iter().map(|part| (Honest, of_base(part))).collect();
        let mut world = world(seed, loss, &nodes);
        for number in 1..nodes.len() {
            world.link(number - 1, number, 1 + seed % 100, if number < 3 { 0 } else { 6_000 });
        }
        world.cut(0, 1, 3_000, 6_000);
        run_until(&mut world, 6_000 + 20 * PERIOD_MS);
        let all = kept(&of_base(&parts.concat()));
        prop_assert!(world.actors().all(|node| node.all_ids() == all && node.blamed.is_empty()));
    }

    #[test]
    fn one_seed_has_one_trace(a in announcements(30), b in announcements(30), seed: u64) {
        let nodes = [(Honest, a), (Honest, b), (Silent, Vec::new()), (Boaster, Vec::new())];
        let run = || {
            let mut world = world(seed, 100, &nodes);
            for (one, other) in [(0, 1), (0, 2), (1, 2), (0, 3)] {
                world.link(one, other, 20, 0);
            }
            run_until(&mut world, 2 * PERIOD_MS);
            let outcomes: Vec<_> = world.actors().map(|node| (node.outcomes.clone(), node.figures)).collect();
            (outcomes, world.trace())
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn a_late_comer_gets_a_full_base_in_one_round() {
    // Half of a base's places are for adapters.
    const FULL: usize = CATALOGUE_PER_BASE / 2;
    let full = (1..=16).flat_map(|publisher| many(publisher, 256)).collect();
    let mut world = world(1, 0, &[(Honest, full), (Honest, Vec::new())]);
    assert_eq!(node(&world, 0).len(), FULL);
    world.link(0, 1, 20, 0);
    run_until(&mut world, SOON);
    assert_eq!(node(&world, 0).all_ids(), node(&world, 1).all_ids());
    assert_eq!(node(&world, 1).outcomes[0], (0, RoundOutcome::Learned(FULL)));
    // Records, their ids twice, and a little talk.
    let bytes = sum(&world, |node| node.figures.bytes);
    assert!(bytes < (FULL * (CATALOGUE_RECORD_MAX + 2 * 32)) as u64, "{bytes} bytes");
}

#[test]
fn a_chain_of_thirty_halves_heals_within_seconds() {
    let nodes: Vec<_> = (1..=30u8).map(|publisher| (Honest, many(publisher, 5))).collect();
    let mut world = world(2, 0, &nodes);
    for number in 1..30 {
        world.link(number - 1, number, 50, 0);
        world.link(number - 1, (number + 6) % 30, 50, 0);
    }
    run_until(&mut world, 20_000);
    assert!(world.actors().all(|node| node.len() == 150));
}

/// Whatever the others do, two honest nodes that are connected end equal, within the time that the others can waste.
#[test]
fn liars_and_idlers_waste_their_own_turns() {
    for manner in [Silent, Forger, Pusher, Boaster, Dribbler, Hider] {
        let bad = || (manner, many(3, 40));
        let nodes = [(Honest, many(1, 40)), (Honest, many(2, 40)), bad(), bad(), bad(), bad()];
        let mut world = world(3, 0, &nodes);
        // The bad ones first.
        for number in [2, 3, 4, 5, 1] {
            world.link(0, number, 20, 0);
        }
        run_until(&mut world, MEET_MS + 5 * SOON_MS);
        let wanted = kept(&[many(1, 40), many(2, 40)].concat());
        for number in [0, 1] {
            assert!(wanted.is_subset(&node(&world, number).all_ids()), "{manner:?}");
        }
        // Of those who only idle nothing is proved. (After one pusher's records there is nothing to ask the others
        // for.)
        let blamed = &node(&world, 0).blamed;
        assert_eq!(!blamed.is_empty(), manner.is_provable(), "{manner:?}");
        assert!(manner != Forger || blamed.len() == 4);
    }
}

#[test]
fn endless_answers_cost_a_bounded_number_of_questions() {
    for manner in [Silent, Boaster, Dribbler, Forger] {
        let mut world = world(4, 0, &[(Honest, Vec::new()), (manner, many(3, 200))]);
        world.link(0, 1, 20, 0);
        run_until(&mut world, 20 * BACKOFF_MAX_MS);
        // Two hundred minutes: one or two rounds each ten, from either side. Whoever sends one record a round has two
        // hundred rounds that teach something.
        let messages = sum(&world, |node| node.figures.messages);
        assert!(messages < 1_000, "{manner:?}: {messages}");
        let outcomes = node(&world, 0).outcomes.iter();
        let fruitless = outcomes.filter(|(_, outcome)| !matches!(outcome, RoundOutcome::Learned(_))).count();
        assert!(fruitless < 80, "{manner:?}: {fruitless}");
    }
}

#[test]
fn what_gossip_was_too_fast_for_is_fetched_soon() {
    let mut setting = Setting::new(vec![Honest, Honest]);
    setting.until_ms = 1 << 40;
    let (setting, mut world) = (Rc::new(setting), World::default());
    let mut loud = Node::new(setting.clone(), 0, vec![base(0)], 5);
    many(1, 30).into_iter().for_each(|one| loud.announce(SOON, one));
    world.add(loud, LINE);
    world.add(Node::new(setting, 1, vec![base(0)], 5), LINE);
    world.link(0, 1, 20, 0);
    run_until(&mut world, SOON + 1_000);
    let heard = node(&world, 1).len();
    assert!((1..30).contains(&heard), "{heard} by gossip");
    run_until(&mut world, SOON + 2 * SOON_MS + 2_000);
    assert_eq!(node(&world, 1).len(), 30);
}
