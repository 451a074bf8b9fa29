//! What strangers with any number of keys cannot do to a catalogue.

use super::*;

#[test]
fn what_is_own_followed_or_checked_is_never_given_up_and_always_taken() {
    let bounds = Bounds { per_publisher: 8, per_base: 40, in_all: 60 };
    let key = |seed| PublicKey::of(&keypair(seed));
    let (own, followed, checked) = (many(1, 30), many(2, 30), many(3, 1));
    let mut kept = catalogue(bounds, own[..10].iter().chain(&followed[..10]).chain(&checked));
    kept.set_own(key(1));
    // Somebody else's word on the same manifest is no part of it.
    let trusted = |checked| Trusted { followed: BTreeSet::from([key(2)]), checked };
    kept.set_trusted(trusted(BTreeSet::from([(checked[0].body().manifest, key(3))])));
    let before = ids(&kept);
    for stranger in strangers(0..500) {
        drop(kept.insert(stranger));
    }
    for one in own[10..].iter().chain(&followed[10..]) {
        assert!(matches!(kept.insert(one.clone()), Inserted::New { .. }), "{one:?}");
    }
    let after = ids(&kept);
    let all: Vec<_> = own[10..].iter().chain(&followed[10..]).chain(&checked).collect();
    assert!(before.is_subset(&after) && all.iter().all(|one| after.contains(&announce::id(one))));
    let publishers: BTreeSet<_> =
        kept.publishers(&own[29].body().manifest, 100, &mut SplitMix64::new(1)).into_iter().collect();
    assert_eq!(publishers, BTreeSet::from([key(1), key(2)]));
    assert_eq!(kept.len(), after.len());
    assert_eq!(kept.of_base(&base(0)).count(), after.len());
    let stood_behind = kept.stood_behind(base(0));
    assert!(
        stood_behind.len() > 32
            && stood_behind.iter().all(|one| [key(1), key(2), key(3)].contains(&one.body().publisher))
    );
}

#[test]
fn what_is_trusted_no_longer_has_no_place_of_its_own() {
    let bounds = Bounds { per_publisher: 8, per_base: 16, in_all: 60 };
    let mut kept = Catalogue::new(bounds);
    kept.follow(PublicKey::of(&keypair(2)));
    let followed = many(2, 10);
    followed.iter().cloned().chain(strangers(0..100)).for_each(|one| drop(kept.insert(one)));
    assert_eq!(kept.stood_behind(base(0)).len(), followed.len());
    // Put together before it was followed: it says nothing of it.
    kept.set_trusted(Trusted::default());
    assert_eq!(kept.stood_behind(base(0)).len(), followed.len());
    kept.set_trusted(Trusted::default());
    assert!(kept.stood_behind(base(0)).is_empty());
    assert_eq!((kept.len(), ids(&kept).len()), (8, 8));
}

#[test]
fn a_manifest_that_is_announced_as_two_kinds_is_listed_for_what_is_kept() {
    let liar = keypair(2);
    let mut kept = Catalogue::new(Bounds { per_publisher: 8, per_base: 2, in_all: 60 });
    kept.follow(PublicKey::of(&liar));
    drop(kept.insert(announce_kind(&liar, KindTag::Adapter, 1, 1)));
    strangers(0..200).into_iter().for_each(|one| drop(kept.insert(one)));
    assert_eq!((kept.len(), ids(&kept).len()), (2, 2), "one was heard, and one is on the shelf");
    drop(kept.insert(announce_kind(&liar, KindTag::Proof, 1, 2)));
    assert_eq!((kept.len(), ids(&kept).len()), (2, 2));
    assert!(kept.records().any(|one| one.body().kind == KindTag::Proof));
}

#[test]
fn what_a_peer_stands_behind_is_asked_where_not_all_that_is_lacking_may_come() {
    let mut few = Pair::new(Catalogue::default(), catalogue(Bounds::default(), &many(1, 3)));
    few.run_until(1_000);
    assert_eq!((few.learned, few.asked_behind), (3, 0));
    let count = NEWCOMERS.burst as usize;
    let mut crowd = Pair::new(Catalogue::default(), catalogue(Bounds::default(), &strangers(0..count + 50)));
    crowd.run_until(1_000);
    assert_eq!((crowd.learned, crowd.asked_behind), (count, 1));
}

#[test]
fn no_kind_pushes_out_another() {
    let kinds =
        [KindTag::Base, KindTag::Dataset, KindTag::Channel, KindTag::Proposal, KindTag::Version, KindTag::Proof];
    let keys: Vec<_> = (1..=kinds.len() as u8).map(keypair).collect();
    let few: Vec<_> = kinds.iter().zip(&keys).map(|(kind, key)| announce_kind(key, *kind, 7, 1)).collect();
    let mut kept = catalogue(Bounds { per_publisher: 8, per_base: 32, in_all: 64 }, &few);
    strangers(0..300).into_iter().for_each(|one| drop(kept.insert(one)));
    assert!(few.iter().all(|one| kept.contains(&base(0), &announce::id(one))));
    assert_eq!(kept.len(), kinds.len() + 16);
}

#[test]
fn a_neighbourhood_fills_its_own_places_and_nobody_elses() {
    let bounds = Bounds { per_publisher: 8, per_base: 8, in_all: 16 };
    let mut kept = catalogue(bounds, &strangers(0..100));
    let honest = many(1, 3);
    for one in &honest {
        let inserted = kept.insert_vouched(one.clone(), Some(Voucher::Neighbour(somebody(7))));
        assert!(matches!(inserted, Inserted::New { .. }));
    }
    for stranger in strangers(100..1_100) {
        drop(kept.insert_vouched(stranger, Some(Voucher::Publisher(somebody(8)))));
    }
    // To vouch for it too is no way to take its place away.
    for one in &honest {
        drop(kept.insert_vouched(one.clone(), Some(Voucher::Neighbour(somebody(8)))));
    }
    for stranger in strangers(1_100..1_200) {
        drop(kept.insert_vouched(stranger, Some(Voucher::Neighbour(somebody(8)))));
    }
    assert!(honest.iter().all(|one| kept.contains(&base(0), &announce::id(one))));
    assert!(kept.len() <= 4 + 3 + CATALOGUE_NEAR, "{}", kept.len());
    // What a neighbour says it stands behind is not passed on as what we stand behind.
    assert!(kept.stood_behind(base(0)).iter().all(|one| one.body().publisher != honest[0].body().publisher));
}

#[test]
fn keys_that_are_made_for_one_epoch_have_no_better_place_in_the_next() {
    const ROOM: usize = 64;
    let bounds = Bounds { per_publisher: 8, per_base: 2 * ROOM, in_all: 4 * ROOM };
    let honest: Vec<_> = (1..=ROOM as u8).map(|seed| many(seed, 1).remove(0)).collect();
    // The best of four times as many.
    let lowest = |epoch: u64, count: usize| {
        let mut all = strangers(0..4 * count);
        all.sort_by_key(|one| lot(epoch, &base(0), &one.body().publisher));
        all.truncate(count);
        all
    };
    let ground = lowest(1, 4 * ROOM);
    let honest_in = |kept: &Catalogue| honest.iter().filter(|one| kept.contains(&base(0), &announce::id(one))).count();
    let mut kept = Catalogue::new(bounds);
    kept.set_epoch(1);
    honest.iter().chain(&ground).for_each(|one| drop(kept.insert(one.clone())));
    let first = honest_in(&kept);
    kept.set_epoch(2);
    // The same keys and the same records, said once more.
    ground.iter().chain(&honest).for_each(|one| drop(kept.insert(one.clone())));
    let second = honest_in(&kept);
    assert!(first < ROOM / 8 && second > first, "{first} and then {second} of {ROOM}");
}

#[test]
fn what_is_on_the_shelf_has_its_place_among_the_heard_again_when_its_lot_is_good() {
    let bounds = Bounds { per_publisher: 8, per_base: 8, in_all: 16 };
    let own = many(1, 1).remove(0);
    let mut kept = Catalogue::new(bounds);
    kept.set_own(own.body().publisher);
    kept.insert(own.clone());
    let mut other = Catalogue::new(bounds);
    let mut offered = 0;
    for epoch in 0..200 {
        kept.set_epoch(epoch as u64);
        strangers(8 * epoch..8 * epoch + 8).into_iter().for_each(|one| drop(kept.insert(one)));
        let differing = kept.compare(&other.question(base(0)));
        offered += usize::from(differing.ids().any(|id| id == announce::id(&own)));
    }
    assert!((10..190).contains(&offered), "{offered} of 200 epochs");
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn what_has_room_is_what_would_be_kept(all in announcements(60), bounds in tight()) {
        let bounds = Bounds { in_all: 1_000, ..bounds };
        let mut kept = Catalogue::new(bounds);
        for one in all {
            let expected = kept.has_room(one.body(), announce::id(&one));
            match kept.insert(one) {
                Inserted::New { .. } => prop_assert!(expected),
                Inserted::NoRoom => prop_assert!(!expected),
                Inserted::Stale | Inserted::TooLong => {}
            }
        }
    }
}

#[test]
fn who_brought_something_is_told_from_those_of_whom_others_speak() {
    let mut kept = Catalogue::new(SMALL);
    let of = |seed: u8| announce_kind(&keypair(seed), KindTag::Proposal, seed.into(), 1);
    drop(kept.insert_vouched(of(1), Some(Voucher::Publisher(somebody(1)))));
    drop(kept.insert_vouched(of(2), Some(Voucher::Neighbour(somebody(1)))));
    kept.follow(of(3).body().publisher);
    [3, 4].into_iter().for_each(|seed| drop(kept.insert(of(seed))));
    let vouched: BTreeSet<_> = [1, 3].map(|seed| of(seed).body().publisher).into();
    assert_eq!(kept.vouched_for(&base(0), KindTag::Proposal), vouched);
    assert!(kept.vouched_for(&base(0), KindTag::Adapter).is_empty());
}

/// So small that a hundred strangers fill it.
const SMALL: Bounds = Bounds { per_publisher: 8, per_base: 32, in_all: 1_000 };

#[test]
fn strangers_do_not_decide_what_we_stand_behind() {
    let mut kept = Catalogue::new(SMALL);
    let (own, followed) = (many(1, 30), many(2, 30));
    kept.set_own(own[0].body().publisher);
    kept.follow(followed[0].body().publisher);
    own.iter().chain(&followed).for_each(|one| drop(kept.insert(one.clone())));
    let version = announce_kind(&keypair(2), KindTag::Version, 900, 1);
    drop(kept.insert(version.clone()));
    // Each brings its own, from a neighbourhood of its own.
    for (near, stranger) in (0..).zip(strangers(0..500)) {
        drop(kept.insert_vouched(stranger, Some(Voucher::Publisher(somebody(near)))));
    }
    let said = kept.stood_behind(base(0));
    let of = |one: &Authentic<Announcement>| {
        said.iter().filter(|other| other.body().publisher == one.body().publisher).count()
    };
    assert!(said.len() == ANNOUNCEMENTS_MAX && of(&own[0]) > 20 && of(&followed[0]) > 20);
    assert!(said.iter().any(|one| announce::id(one) == announce::id(&version)), "channels come first");
}

#[test]
fn a_peer_has_no_more_places_than_others_of_its_neighbourhood_and_words_have_less_weight() {
    let mut kept = catalogue(SMALL, &strangers(0..500));
    let (loud, talker) = (somebody(1), somebody(1));
    let quiet: Vec<_> = many(1, 3).into_iter().map(|one| (one, somebody(1))).collect();
    for (one, peer) in &quiet {
        drop(kept.insert_vouched(one.clone(), Some(Voucher::Publisher(*peer))));
    }
    for stranger in strangers(500..700) {
        drop(kept.insert_vouched(stranger, Some(Voucher::Publisher(loud))));
    }
    for stranger in strangers(700..900) {
        drop(kept.insert_vouched(stranger, Some(Voucher::Neighbour(talker))));
    }
    assert!(quiet.iter().all(|(one, _)| kept.contains(&base(0), &announce::id(one))));
    let heard = catalogue(SMALL, strangers(0..900).iter().chain(&many(1, 3)));
    let word = |one: &&Authentic<Announcement>| {
        kept.contains(&base(0), &announce::id(one)) && !heard.contains(&base(0), &announce::id(one))
    };
    // Some of the loud one's are heard too.
    assert!((50..=61).contains(&strangers(500..700).iter().filter(word).count()));
    assert_eq!(strangers(700..900).iter().filter(word).count(), 0);
    // Of another base it is another line.
    let elsewhere = announce(3, base(1), 1, 1, 0);
    drop(kept.insert_vouched(elsewhere.clone(), Some(Voucher::Neighbour(talker))));
    assert!(kept.contains(&base(1), &announce::id(&elsewhere)));
}

#[test]
fn whoever_fills_many_neighbourhoods_pushes_out_its_own() {
    let mut kept = Catalogue::new(Bounds { in_all: 0, ..SMALL });
    let (few, from) = (many(1, 5), somebody(0));
    for one in &few {
        drop(kept.insert_vouched(one.clone(), Some(Voucher::Neighbour(from))));
    }
    // Each from three hundred neighbourhoods, and more of them than there are places.
    let crowd: Vec<_> = (10..=250).flat_map(|publisher| many(publisher, 80)).collect();
    for (near, one) in (0..).zip(crowd) {
        drop(kept.insert_vouched(one, Some(Voucher::Neighbour(somebody(1 + near % 300)))));
    }
    assert!(few.iter().all(|one| kept.contains(&base(0), &announce::id(one))));
    assert!(kept.len() <= CATALOGUE_NEAR_ALL + 5, "{}", kept.len());
}

#[test]
fn what_only_has_a_place_of_its_own_spreads_nothing() {
    let mut theirs = catalogue(SMALL, &strangers(0..500));
    let own = many(1, 3);
    theirs.set_own(own[0].body().publisher);
    own.iter().for_each(|one| drop(theirs.insert(one.clone())));
    let mut pair = Pair::new(catalogue(SMALL, &strangers(0..500)), theirs);
    pair.run_until(1_000);
    assert!(own.iter().all(|one| pair.ours.contains(&base(0), &announce::id(one))));
    let rounds = pair.asked_behind;
    pair.run_until(PERIOD_CROWDED_MS / 2);
    assert_eq!(pair.asked_behind, rounds, "no round follows from it");
    pair.run_until(10 * PERIOD_CROWDED_MS);
    assert!((5..=20).contains(&pair.asked_behind), "{}", pair.asked_behind);
    assert_eq!(pair.learned, 3, "each is told once");
}

#[test]
fn no_allowance_is_spent_on_what_has_no_room() {
    let here = catalogue(SMALL, &strangers(0..500));
    // Another one keeps more, so that these two differ for good.
    let others = catalogue(Bounds { per_base: 2_000, ..SMALL }, &strangers(0..900));
    let mut pair = Pair::new(here, others);
    pair.run_until(60_000);
    let before = pair.learned;
    let proof = announce_kind(&keypair(9), KindTag::Proof, 1, 1);
    drop(pair.theirs.insert(proof.clone()));
    pair.give(Event::Crowded { peer: pair.peer, base: base(0) });
    pair.run_until(120_000);
    assert!(pair.ours.contains(&base(0), &announce::id(&proof)), "{before} before");
}

#[test]
fn a_comparison_that_must_miss_nothing_asks_what_is_stood_behind_and_goes_on_to_the_end() {
    let (steward, versions) = (keypair(1), strangers_of(KindTag::Version, 0..600));
    let mine = announce_kind(&steward, KindTag::Version, 1, 7);
    let mut theirs = catalogue(SMALL, &versions);
    theirs.follow(mine.body().publisher);
    drop(theirs.insert(mine.clone()));
    // There is room here, and what is here of other kinds has none left.
    let mut pair = Pair::by(Reconcile::unlimited(1), catalogue(SMALL, &strangers(0..500)), theirs);
    pair.run_until(1_000);
    assert!(pair.ours.contains(&base(0), &announce::id(&mine)));
    // Heard by a peer that keeps more than we do, behind thousands for which there is no room.
    let heard = announce_kind(&steward, KindTag::Version, 2, 8);
    let more = catalogue(Bounds { per_base: 4_000, ..SMALL }, strangers(0..1_500).iter().chain([&heard]));
    let mut pair = Pair::by(Reconcile::unlimited(1), catalogue(SMALL, &strangers(0..500)), more);
    pair.run_until(1_000);
    assert!(pair.ours.contains(&base(0), &announce::id(&heard)));
}

#[test]
fn a_followed_key_that_floods_has_its_newest_and_takes_no_others_place() {
    let mut kept = Catalogue::new(SMALL);
    let (loud, quiet, checked) = (many(2, 400), many(3, 2), many(4, 2));
    [&loud, &quiet].iter().for_each(|all| kept.follow(all[0].body().publisher));
    let here = checked.iter().map(|one| (one.body().manifest, one.body().publisher)).collect();
    let followed = [&loud, &quiet].iter().map(|all| all[0].body().publisher).collect();
    kept.set_trusted(Trusted { followed, checked: here });
    quiet.iter().chain(&checked).chain(&loud).for_each(|one| drop(kept.insert(one.clone())));
    strangers(0..500).into_iter().for_each(|one| drop(kept.insert(one)));
    assert!(quiet.iter().chain(&checked).all(|one| kept.contains(&base(0), &announce::id(one))));
    let mine = |one: &&Authentic<Announcement>| kept.contains(&base(0), &announce::id(one));
    assert_eq!(loud.iter().filter(mine).count(), CATALOGUE_PER_PUBLISHER);
    assert!(loud[400 - CATALOGUE_PER_PUBLISHER..].iter().all(|one| kept.contains(&base(0), &announce::id(one))));
}

#[test]
fn what_a_followed_key_says_anew_is_taken_beside_any_flood() {
    let crowd = |sequence: u64| (10..=250).map(move |publisher| announce(publisher, base(0), 1, sequence, 0));
    let steward = |sequence: u64| announce(1, base(0), 1, sequence, 0);
    let first: Vec<_> = crowd(1).chain([steward(1)]).collect();
    let mut pair = Pair::new(Catalogue::default(), catalogue(Bounds::default(), &first));
    pair.ours.follow(steward(1).body().publisher);
    pair.run_until(1_000);
    for sequence in 2..6 {
        crowd(sequence).chain([steward(sequence)]).for_each(|one| drop(pair.theirs.insert(one)));
        pair.give(Event::Asked { peer: pair.peer, base: base(0) });
        pair.run_until(pair.now_ms + 30_000);
        assert!(pair.ours.contains(&base(0), &announce::id(&steward(sequence))), "{sequence}");
    }
}

#[test]
fn what_had_a_place_has_one_after_a_restart() {
    let mut kept = catalogue(SMALL, &strangers(0..500));
    let own = many(1, 3);
    for one in &own {
        drop(kept.insert_vouched(one.clone(), Some(Voucher::Publisher(somebody(1)))));
    }
    let mut again = Catalogue::new(SMALL);
    let mut stored: Vec<_> = kept.records().map(|one| (**one).clone()).collect();
    stored.sort_by_key(announce::id);
    again.restore(stored);
    assert_eq!(ids(&again), ids(&kept));
}

#[test]
fn who_passed_on_what_had_no_room_is_asked_soon_and_not_again_at_once() {
    let full = || catalogue(SMALL, &strangers(0..500));
    let mut pair = Pair::new(full(), full());
    pair.run_until(2_000);
    let before = pair.asked_behind;
    for _ in 0..10 {
        pair.give(Event::Crowded { peer: pair.peer, base: base(0) });
        pair.run_until(pair.now_ms + 1_000);
    }
    assert!((1..=3).contains(&(pair.asked_behind - before)), "{} in ten seconds", pair.asked_behind - before);
}

#[test]
fn a_record_is_of_the_peer_whose_name_spells_out_its_key() {
    let key = PublicKey::of(&keypair(1));
    let peer = key.peer_id().expect("a key");
    let from = Neighbour { peer, near: Neighbourhood(7) };
    assert_eq!(PublicKey::of_peer(&peer), Some(key));
    assert_eq!(Voucher::of_publisher(from, &key), Some(Voucher::Publisher(from)));
    assert_eq!(Voucher::of_publisher(from, &PublicKey::of(&keypair(2))), None);
    // A name that is the digest of a key: SHA-256, 32 bytes.
    let digest = PeerId::from_bytes(&[&[0x12, 0x20], &key.0.0[..]].concat()).expect("a multihash");
    assert_eq!(PublicKey::of_peer(&digest), None);
}

#[test]
fn of_many_who_announce_a_manifest_a_few_are_drawn_and_each_as_likely_as_the_others() {
    let all = strangers(0..40);
    // Some of them as two kinds: that is no second lot.
    let keys: Vec<_> = (0..20usize).map(|n| SecretKey::try_from_bytes(Digest::of(&n.to_le_bytes()).0)).collect();
    let again = keys.into_iter().map(|key| announce_kind(&Keypair::from(key.expect("a key")), KindTag::Proof, 1, 2));
    let again: Vec<_> = again.collect();
    let kept = catalogue(Bounds::default(), all.iter().chain(&again));
    let (mut rng, mut drawn) = (SplitMix64::new(1), BTreeMap::new());
    for _ in 0..1_000 {
        let some = kept.publishers(&all[0].body().manifest, 8, &mut rng);
        assert_eq!(BTreeSet::from_iter(&some).len(), 8);
        some.into_iter().for_each(|publisher| *drawn.entry(publisher).or_insert(0) += 1);
    }
    assert_eq!(drawn.len(), all.len());
    assert!(drawn.values().all(|times| (140..260).contains(times)), "{drawn:?}");
}
