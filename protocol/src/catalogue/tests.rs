//! A catalogue as a set: what is kept is a function of what was heard. How catalogues compare themselves with each
//! other is simulated in `tests/tests/simulated`.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::ed25519::{Keypair, SecretKey};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::messages::bucket_of;
use super::{Bounds, Catalogue, Compare, Inserted, Wanted, verify_records};
use crate::announce::{self, Announcement, KindTag, LaterAnnouncement};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::{CATALOGUE_BUCKETS, CATALOGUE_RECORD_MAX};
use crate::signed::{Authentic, PublicKey, Signed};
use crate::text::Name;

/// The same cases in every run.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(0x706f_746c), failure_persistence: None, ..Default::default() }
}

fn keypair(publisher: u8) -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([publisher; 32]).expect("any 32 bytes are a key"))
}

fn base(number: u8) -> BaseId {
    BaseId(Digest::of(&[b'b', number]))
}

/// A signed announcement. Another `total_bytes` makes another one of the same key and sequence number: equivocation.
fn announce(publisher: u8, base: BaseId, manifest: u16, sequence: u64, total_bytes: u64) -> Authentic<Announcement> {
    let keypair = keypair(publisher);
    let body = Announcement {
        manifest: ManifestId(Digest::of(&manifest.to_le_bytes())),
        manifest_len: 100,
        kind: KindTag::Adapter,
        name: Name::new("n").expect("a letter is a name"),
        base,
        total_bytes,
        publisher: PublicKey::of(&keypair),
        sequence,
    };
    Signed::sign(&body, &keypair).expect("within its bounds").expect("its key").verify().expect("just signed")
}

/// So many of one publisher for base 0, each of its own manifest, the newest last.
fn many(publisher: u8, count: u16) -> Vec<Authentic<Announcement>> {
    (0..count).map(|number| announce(publisher, base(0), number, number.into(), 0)).collect()
}

fn announcements(max: usize) -> impl Strategy<Value = Vec<Authentic<Announcement>>> {
    let one =
        (1..5u8, 0..2u8, 0..6u16, 0..4u64, 0..2u64).prop_map(|(publisher, number, manifest, sequence, variant)| {
            announce(publisher, base(number), manifest, sequence, variant)
        });
    prop::collection::vec(one, 0..max)
}

fn ids(catalogue: &Catalogue) -> BTreeSet<AnnouncementId> {
    catalogue.records().map(|record| announce::id(record)).collect()
}

fn catalogue<'a>(bounds: Bounds, all: impl IntoIterator<Item = &'a Authentic<Announcement>>) -> Catalogue {
    let mut catalogue = Catalogue::new(bounds);
    all.into_iter().for_each(|one| drop(catalogue.insert(one.clone())));
    catalogue
}

/// The best announcement of each key: what all catalogues with room must end with.
fn winners(all: &[Authentic<Announcement>]) -> BTreeSet<AnnouncementId> {
    let mut best = BTreeMap::new();
    for one in all {
        let body = one.body();
        let rank = (std::cmp::Reverse(body.sequence), announce::id(one));
        let known = best.entry((body.base, body.publisher, body.manifest)).or_insert(rank);
        *known = rank.min(*known);
    }
    best.into_values().map(|(_, id)| id).collect()
}

/// So small that everything is given up now and then.
fn tight() -> impl Strategy<Value = Bounds> {
    (1..5usize, 1..9usize, 1..14usize).prop_map(|(per_publisher, per_base, in_all)| Bounds {
        per_publisher,
        per_base,
        in_all,
    })
}

fn digests(catalogue: &mut Catalogue) -> [Compare; 2] {
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
    // Many keys: each publisher keeps its newest.
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
        let many_signed = announce::verify(base(0), &envelope).expect("every signature is right");
        assert_eq!(announce::id(&many_signed), announce::id(&one));
        let expected = if envelope.len() <= CATALOGUE_RECORD_MAX { Inserted::Stale } else { Inserted::TooLong };
        assert_eq!(kept.insert(many_signed), expected);
    }
    assert_eq!(kept.len(), 1);
}

#[test]
fn records_of_kinds_that_a_later_version_added_are_left_out_and_nobodys_fault() {
    let one = many(1, 1).remove(0);
    let Announcement { manifest, manifest_len, kind: _, name, base: of, total_bytes, publisher, sequence } =
        one.body().clone();
    let kind = KindTag::KNOWN;
    let later = LaterAnnouncement { manifest, manifest_len, kind, name, base: of, total_bytes, publisher, sequence };
    let later = Signed::sign(&later, &keypair(1)).expect("it encodes").expect("its own signer");
    let mut bytes = vec![one.signed().encode().expect("it encodes"), later.encode().expect("it encodes")];
    let page = verify_records(base(0), &bytes).expect("nothing is wrong");
    assert_eq!((page.records.len(), page.later, page.count()), (1, 1, 2));
    bytes[1][50] ^= 1;
    assert!(verify_records(base(0), &bytes).is_err_and(|error| error.is_fault()), "damage is a fault");
}

#[test]
fn questions_about_bases_that_nobody_follows_leave_nothing_behind() {
    let mut kept = catalogue(Bounds::default(), &many(1, 3));
    let question = kept.question(base(7));
    assert!(kept.compare(&question).0.is_empty());
    let mut full = catalogue(Bounds::default(), &many(1, 3));
    let question = Compare { base: base(7), ..full.question(base(0)) };
    let answer = kept.compare(&question);
    assert!(!answer.0.is_empty() && answer.ids().next().is_none());
    let ids = full.of_base(&base(0)).map(|one| announce::id(one)).collect();
    assert!(kept.answer(&Wanted { base: base(7), ids }).is_empty());
}
