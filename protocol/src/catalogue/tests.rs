//! Catalogues as sets, and among each other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::messages::bucket_of;
use super::testing::{Manner, Said, World, announcement, base, catalogue, ids, keypair, many};
use super::timing::{MEET_MS, PERIOD_MS, REST_MAX_MS, SOON_MS};
use super::{Bounds, Bucket, Catalogue, Differing, Event, Inserted, Outcome, Wanted};
use crate::announce::{self, Announcement};
use crate::id::AnnouncementId;
use crate::limits::{CATALOGUE_BUCKETS, CATALOGUE_PER_BASE, CATALOGUE_RECORD_MAX};
use crate::signed::{Authentic, PublicKey};

use Manner::{Boaster, Dribbler, Forger, Honest, Pusher, Silent};

/// Far beyond what honest nodes with nothing in their way take.
const SOON: u64 = 10_000;

/// The same cases in every run.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(0x706f_746c), failure_persistence: None, ..Default::default() }
}

/// Parts that hold these ids.
pub(super) fn differing(ids: impl Iterator<Item = AnnouncementId>) -> Differing {
    let mut buckets: BTreeMap<usize, Vec<AnnouncementId>> = BTreeMap::new();
    ids.for_each(|id| buckets.entry(bucket_of(&id)).or_default().push(id));
    let sorted = |(index, mut ids): (usize, Vec<_>)| {
        ids.sort_unstable();
        Bucket { index: index as u8, ids }
    };
    Differing(buckets.into_iter().map(sorted).collect())
}

fn said() -> impl Strategy<Value = Said> {
    (1..5u8, 0..2u8, 0..6u16, 0..4u64, 0..2u8).prop_map(|(publisher, base, manifest, sequence, variant)| Said {
        publisher,
        base,
        manifest,
        sequence,
        variant,
    })
}

fn announcements(max: usize) -> impl Strategy<Value = Vec<Authentic<Announcement>>> {
    prop::collection::vec(said().prop_map(announcement), 0..max)
}

/// So small that everything is given up now and then.
fn tight() -> impl Strategy<Value = Bounds> {
    (1..5usize, 1..9usize, 1..14usize).prop_map(|(per_publisher, per_base, in_all)| Bounds {
        per_publisher,
        per_base,
        in_all,
    })
}

/// The best announcement of each key: what all catalogues with room must end with.
fn winners(all: &[Authentic<Announcement>]) -> std::collections::BTreeSet<AnnouncementId> {
    let mut best = BTreeMap::new();
    for one in all {
        let body = one.body();
        let standing = (std::cmp::Reverse(body.sequence), announce::id(one));
        let known = best.entry((body.base, body.publisher, body.manifest)).or_insert(standing);
        *known = standing.min(*known);
    }
    best.into_values().map(|(_, id)| id).collect()
}

fn digests(catalogue: &mut Catalogue) -> [super::Compare; 2] {
    [base(0), base(1)].map(|base| catalogue.question(base))
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn what_is_kept_does_not_depend_on_the_order(
        all in announcements(50).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        bounds in tight(),
    ) {
        let (mut one, mut other) = (catalogue(bounds, &all.0), catalogue(bounds, &all.1));
        prop_assert_eq!(ids(&one), ids(&other));
        prop_assert_eq!(digests(&mut one), digests(&mut other));
        prop_assert_eq!(one.len(), ids(&one).len());
        prop_assert!(one.len() <= bounds.in_all);
        for n in 0..2 {
            prop_assert!(one.of_base(&base(n)).count() <= bounds.per_base);
        }
        prop_assert_eq!(ids(&catalogue(Bounds::default(), &all.0)), winners(&all.0));
    }

    #[test]
    fn catalogues_that_forgot_meet_as_if_they_had_not(
        a in announcements(40),
        b in announcements(40),
        bounds in tight(),
    ) {
        let (kept_a, kept_b) = (catalogue(bounds, &a), catalogue(bounds, &b));
        let merged = |first: &Catalogue, second: &Catalogue| {
            let mut merged = first.clone();
            second.records().for_each(|record| drop(merged.insert((**record).clone())));
            ids(&merged)
        };
        let union = ids(&catalogue(bounds, a.iter().chain(&b)));
        prop_assert_eq!(&merged(&kept_a, &kept_b), &union);
        prop_assert_eq!(&merged(&kept_b, &kept_a), &union);
        prop_assert_eq!(merged(&kept_a, &kept_a), ids(&kept_a));
    }

    #[test]
    fn digests_tell_what_differs(a in announcements(30), b in announcements(30)) {
        let (mut one, mut other) = (catalogue(Bounds::default(), &a), catalogue(Bounds::default(), &b));
        for n in 0..2 {
            let answer = other.compare(&one.question(base(n)));
            prop_assert!(answer.is_bounded());
            let of = |catalogue: &Catalogue| catalogue.of_base(&base(n)).map(|one| announce::id(one)).collect::<Vec<_>>();
            let (ours, theirs) = (of(&one), of(&other));
            prop_assert_eq!(answer.0.is_empty(), ours == theirs);
            let in_part = |ids: &[AnnouncementId], index: u8| {
                ids.iter().filter(|id| bucket_of(id) == usize::from(index)).copied().collect::<Vec<_>>()
            };
            for index in 0..CATALOGUE_BUCKETS as u8 {
                let differs = in_part(&ours, index) != in_part(&theirs, index);
                let told = answer.0.iter().find(|bucket| bucket.index == index).map(|bucket| bucket.ids.clone());
                prop_assert_eq!(told, differs.then(|| in_part(&theirs, index)));
            }
        }
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn two_catalogues_that_meet_end_with_the_unions_winners(a in announcements(60), b in announcements(60), seed: u64) {
        let mut world = World::new(seed, &[Honest, Honest]);
        let of_base = |all: &[Authentic<Announcement>]| -> Vec<_> {
            all.iter().filter(|one| one.body().base == base(0)).cloned().collect()
        };
        let (a, b) = (of_base(&a), of_base(&b));
        world.give(0, &a);
        world.give(1, &b);
        world.connect(0, 1);
        world.run_until(SOON);
        let union = winners(&[a, b].concat());
        prop_assert_eq!(&ids(&world.nodes[0].catalogue), &union);
        prop_assert_eq!(&ids(&world.nodes[1].catalogue), &union);
        prop_assert!(world.nodes.iter().all(|node| node.blamed.is_empty()));
        // Idempotent: from now on all that is said is that nothing differs.
        let before = world.nodes[0].outcomes.len();
        world.run_until(SOON + 4 * PERIOD_MS);
        let later = &world.nodes[0].outcomes[before..];
        prop_assert!(later.len() >= 3 && later.iter().all(|(_, outcome)| *outcome == Outcome::Equal), "{:?}", later);
    }

    /// Every message may be lost or late, halves meet and part; once all are connected all end equal.
    #[test]
    fn partitions_heal_over_bad_lines(parts in prop::collection::vec(announcements(30), 3..7), loss in 0..250u64, seed: u64) {
        let manners = vec![Honest; parts.len()];
        let mut world = World::new(seed, &manners);
        world.loss = loss;
        for (node, part) in parts.iter().enumerate() {
            let own: Vec<_> = part.iter().filter(|one| one.body().base == base(0)).cloned().collect();
            world.give(node, &own);
        }
        world.connect(0, 1);
        world.connect(1, 2);
        world.run_until(3_000);
        world.cut(0, 1);
        world.run_until(6_000);
        for node in 1..parts.len() {
            world.connect(node - 1, node);
        }
        world.run_until(6_000 + 20 * PERIOD_MS);
        let all: Vec<_> = parts.concat().into_iter().filter(|one| one.body().base == base(0)).collect();
        for node in &world.nodes {
            prop_assert_eq!(ids(&node.catalogue), winners(&all));
            prop_assert!(node.blamed.is_empty());
        }
    }

    #[test]
    fn one_seed_has_one_trace(a in announcements(30), b in announcements(30), seed: u64) {
        let run = || {
            let mut world = World::new(seed, &[Honest, Honest, Silent, Boaster]);
            world.loss = 100;
            world.give(0, &a);
            world.give(1, &b);
            for (one, other) in [(0, 1), (0, 2), (1, 2), (0, 3)] {
                world.connect(one, other);
            }
            world.run_until(2 * PERIOD_MS);
            let outcomes: Vec<_> = world.nodes.iter().map(|node| node.outcomes.clone()).collect();
            (outcomes, world.bytes, world.messages)
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn a_late_comer_gets_a_full_base_in_one_round() {
    let mut world = World::new(1, &[Honest, Honest]);
    for publisher in 1..=16 {
        world.give(0, &many(publisher, 256));
    }
    assert_eq!(world.nodes[0].catalogue.len(), CATALOGUE_PER_BASE);
    world.connect(0, 1);
    world.run_until(SOON);
    assert_eq!(ids(&world.nodes[0].catalogue), ids(&world.nodes[1].catalogue));
    let peer = world.nodes[0].peer;
    assert_eq!(world.nodes[1].outcomes[0], (peer, Outcome::Learned(CATALOGUE_PER_BASE)));
    // Records, their ids twice, and a little talk.
    assert!(world.bytes < CATALOGUE_PER_BASE * (CATALOGUE_RECORD_MAX + 2 * 32), "{} bytes", world.bytes);
}

#[test]
fn a_chain_of_thirty_halves_heals_within_seconds() {
    let mut world = World::new(2, &[Honest; 30]);
    for node in 0..30u8 {
        world.give(node.into(), &many(node + 1, 5));
    }
    for node in 1..30 {
        world.connect(node - 1, node);
        world.connect(node - 1, (node + 6) % 30);
    }
    world.run_until(20_000);
    for node in &world.nodes {
        assert_eq!(node.catalogue.len(), 150);
    }
}

/// Whatever the others do, two honest nodes that are connected end equal, within the time that the others can waste.
#[test]
fn liars_and_idlers_waste_their_own_turns() {
    for manner in [Silent, Forger, Pusher, Boaster, Dribbler] {
        let mut world = World::new(3, &[Honest, Honest, manner, manner, manner, manner]);
        world.give(0, &many(1, 40));
        world.give(1, &many(2, 40));
        (2..6).for_each(|node| world.give(node, &many(3, 40)));
        // The bad ones first.
        for node in [2, 3, 4, 5, 1] {
            world.connect(0, node);
        }
        world.run_until(MEET_MS + 5 * SOON_MS);
        let wanted = ids(&catalogue(Bounds::default(), many(1, 40).iter().chain(&many(2, 40))));
        for node in [0, 1] {
            assert!(wanted.is_subset(&ids(&world.nodes[node].catalogue)), "{manner:?}");
        }
        // Of those who only idle nothing is proved. (After one pusher's records there is nothing to ask the others for.)
        let blamed = &world.nodes[0].blamed;
        assert_eq!(!blamed.is_empty(), matches!(manner, Forger | Pusher), "{manner:?}");
        assert!(manner != Forger || blamed.len() == 4);
        assert!(!blamed.contains(&world.nodes[1].peer));
    }
}

#[test]
fn endless_answers_cost_a_bounded_number_of_questions() {
    for manner in [Silent, Boaster, Dribbler, Forger] {
        let mut world = World::new(4, &[Honest, manner]);
        world.give(1, &many(3, 200));
        world.connect(0, 1);
        world.run_until(20 * REST_MAX_MS);
        // Two hundred minutes: one or two rounds each ten, from either side.
        assert!(world.messages < 800, "{manner:?}: {}", world.messages);
        assert!(world.nodes[0].outcomes.len() < 80, "{manner:?}: {}", world.nodes[0].outcomes.len());
    }
}

#[test]
fn what_gossip_was_too_fast_for_is_fetched_soon() {
    let mut world = World::new(5, &[Honest, Honest]);
    world.connect(0, 1);
    world.run_until(SOON);
    world.give(1, &many(1, 30));
    world.run_until(2 * SOON);
    assert!(world.nodes[0].catalogue.is_empty(), "nothing asks yet");
    world.handle(0, Event::Missed { base: base(0) });
    world.run_until(2 * SOON + 2 * SOON_MS + 2_000);
    assert_eq!(world.nodes[0].catalogue.len(), 30);
}

#[test]
fn a_flood_by_one_key_pushes_out_its_own() {
    let bounds = Bounds { per_publisher: 8, per_base: 20, in_all: 30 };
    let (quiet, loud) = (many(1, 4), many(2, 300));
    let mut kept = catalogue(bounds, quiet.iter().chain(&loud));
    assert!(ids(&catalogue(bounds, &quiet)).is_subset(&ids(&kept)));
    assert_eq!(kept.len(), 12);
    assert!(kept.records().all(|one| one.body().publisher == quiet[0].body().publisher || one.body().sequence >= 292));
    assert_eq!(kept.insert(loud[0].clone()), Inserted::NoRoom);
    assert_eq!(kept.insert(loud[299].clone()), Inserted::Stale);
    // Many keys: everybody keeps his newest.
    for publisher in 3..=18 {
        many(publisher, 300).into_iter().for_each(|one| drop(kept.insert(one)));
    }
    assert_eq!(kept.len(), 20);
    for publisher in 1..=18 {
        assert!(kept.knows(&PublicKey::of(&keypair(publisher))), "{publisher}");
    }
}

#[test]
fn an_envelope_that_others_signed_too_is_the_same_record_or_none() {
    let one = many(1, 1).remove(0);
    let mut kept = catalogue(Bounds::default(), [&one]);
    let body = one.signed().encode().expect("it encodes");
    assert!(body.len() <= 304, "{} bytes", body.len());
    // Eight bytes of length, the body, eight bytes of count, then 96 for each signature.
    let (head, signature) = body.split_at(body.len() - 96 - 8);
    let mut entries = vec![signature[8..].to_vec()];
    let message_of = |seed: u8| {
        let context = <Announcement as crate::signed::Signable>::CONTEXT;
        let message = [&[context.len() as u8], context.as_bytes(), &head[8..]].concat();
        [&PublicKey::of(&keypair(seed)).0.0[..], &keypair(seed).sign(&message)].concat()
    };
    for seed in 2..6 {
        entries.push(message_of(seed));
        entries.sort();
        let envelope = [head, &(entries.len() as u64).to_le_bytes(), &entries.concat()].concat();
        let many_signed = announce::authentic(base(0), &envelope).expect("every signature is right");
        assert_eq!(announce::id(&many_signed), announce::id(&one));
        let expected = if envelope.len() <= CATALOGUE_RECORD_MAX { Inserted::Stale } else { Inserted::TooLong };
        assert_eq!(kept.insert(many_signed), expected);
    }
    assert_eq!(kept.len(), 1);
}

#[test]
fn questions_about_bases_that_nobody_follows_leave_nothing_behind() {
    let mut kept = catalogue(Bounds::default(), &many(1, 3));
    let question = kept.question(base(7));
    assert!(kept.compare(&question).0.is_empty());
    let mut full = catalogue(Bounds::default(), &many(1, 3));
    let question = super::Compare { base: base(7), ..full.question(base(0)) };
    let answer = kept.compare(&question);
    assert!(!answer.0.is_empty() && answer.ids().next().is_none());
    let ids = full.of_base(&base(0)).map(|one| announce::id(one)).collect();
    assert!(kept.answer(&Wanted { base: base(7), ids }).is_empty());
}
