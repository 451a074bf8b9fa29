//! Strangers with thousands of keys among honest nodes: what the honest ones say is found by all of them.

use std::collections::BTreeSet;
use std::rc::Rc;

use libp2p::identity::ed25519::{Keypair, SecretKey};
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::catalogue::{Bounds, lot};
use potluck_protocol::id::{AnnouncementId, Digest};
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_tests::sim::catalogue::Manner::{Crowd, Honest};
use potluck_tests::sim::catalogue::{Manner, Node, Offer, Setting};
use potluck_tests::sim::{Line, World};

const HONEST: usize = 20;
const ATTACKERS: usize = 20;

/// A line that is no obstacle.
const LINE: Line = Line { up: 1 << 30, down: 1 << 30 };

fn keypair(name: &str) -> Keypair {
    let secret = SecretKey::try_from_bytes(Digest::of(name.as_bytes()).0).expect("any 32 bytes are a key");
    Keypair::from(secret)
}

fn offer(keypair: &Keypair, manifest: u16) -> Authentic<Announcement> {
    Offer { publisher: 0, base: 0, manifest, sequence: 1 + u64::from(manifest), variant: 0 }.sign_by(keypair)
}

/// Keys of honest publishers, whose lots are the worst of many; so those of the attackers are better without having
/// been chosen, as if each had been made for it.
fn unlucky(seed: u64) -> Vec<Keypair> {
    let mut keys: Vec<_> = (0..20 * HONEST).map(|n| keypair(&format!("honest {seed} {n}"))).collect();
    keys.sort_by_key(|key| lot(0, &Offer::base(0), &PublicKey::of(key)));
    keys.split_off(19 * HONEST)
}

/// Honest nodes, each linked with eight others, so that any two have a neighbour in common; attackers with so many keys
/// each, linked with four of them, before they are linked with each other. What the honest nodes say, and the network.
fn world(seed: u64, keys_each: usize, bounds: Bounds) -> (BTreeSet<AnnouncementId>, World<Node>) {
    let mut keys = unlucky(seed);
    keys.extend((0..ATTACKERS).map(|n| keypair(&format!("attacker {seed} {n}"))));
    let manners: Vec<Manner> =
        (0..HONEST + ATTACKERS).map(|number| if number < HONEST { Honest } else { Crowd }).collect();
    let mut setting = Setting::of_publishers(manners, &keys);
    (setting.until_ms, setting.bounds) = (1 << 40, bounds);
    let (setting, mut world, mut said) = (Rc::new(setting), World::default(), BTreeSet::new());
    for (number, key) in keys.iter().enumerate() {
        let mut node = Node::new(setting.clone(), number, vec![Offer::base(0)], seed);
        let given: Vec<_> = if number < HONEST {
            (0..3).map(|manifest| offer(key, 3 * number as u16 + manifest)).collect()
        } else {
            let name = |n: usize| format!("stranger {seed} {number} {n}");
            (0..keys_each).map(|n| offer(&keypair(&name(n)), 5_000)).collect()
        };
        said.extend(given.iter().filter(|_| number < HONEST).map(announce::id));
        node.give(&given);
        world.add(node, LINE);
    }
    for attacker in 0..ATTACKERS {
        for step in [0, 5, 11, 14] {
            world.link(HONEST + attacker, (attacker + step) % HONEST, 5, 0);
        }
    }
    for number in 0..HONEST {
        for step in [1, 2, 5, 9] {
            world.link(number, (number + step) % HONEST, 50, 2_000);
        }
    }
    (said, world)
}

fn found(world: &World<Node>, said: &BTreeSet<AnnouncementId>) -> Vec<usize> {
    let honest = world.actors().take(HONEST);
    honest.map(|node| node.ids(&Offer::base(0)).intersection(said).count()).collect()
}

/// A small base, so that strangers overfill it many times.
const SMALL: Bounds = Bounds { per_publisher: 16, per_base: 256, in_all: 1_024 };

#[test]
fn what_honest_nodes_say_is_found_by_all_of_them_whatever_strangers_say() {
    for seed in 0..4 {
        let (said, mut world) = world(seed, 256, SMALL);
        world.run_until(1_800_000).unwrap_or_else(|fault| panic!("{seed}: {fault}"));
        assert_eq!(found(&world, &said), [said.len(); HONEST], "seed {seed}");
        assert!(world.actors().all(|node| node.blamed.is_empty()), "seed {seed}");
    }
}

#[test]
fn one_seed_of_strangers_has_one_trace() {
    let run = || {
        let (said, mut world) = world(7, 64, SMALL);
        world.run_until(120_000).unwrap_or_else(|fault| panic!("{fault}"));
        (found(&world, &said), world.trace())
    };
    assert_eq!(run(), run());
}

/// Twenty with 4,096 keys each, and bases of their full size.
#[test]
fn eighty_thousand_keys_do_not_push_out_twenty_publishers() {
    let (said, mut world) = world(1, 4_096, Bounds::default());
    world.run_until(600_000).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(found(&world, &said), [said.len(); HONEST]);
}
