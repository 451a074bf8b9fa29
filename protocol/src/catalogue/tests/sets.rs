//! A catalogue as a set: what is kept is a function of what was heard.

use proptest::prelude::*;

use super::{announcements, base, catalogue, config, ids, many, winners};
use crate::announce::{self, Announcement};
use crate::catalogue::messages::bucket_of;
use crate::catalogue::{Bounds, Catalogue, Compare, Inserted, Wanted};
use crate::id::AnnouncementId;
use crate::limits::{CATALOGUE_BUCKETS, CATALOGUE_RECORD_MAX};
use crate::signed::PublicKey;
use crate::sim::catalogue::Offer;

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
    // Many keys: everybody keeps his newest.
    for publisher in 3..=18 {
        many(publisher, 300).into_iter().for_each(|one| drop(kept.insert(one)));
    }
    assert_eq!(kept.len(), 20);
    for publisher in 1..=18 {
        assert!(kept.knows(&PublicKey::of(&Offer::keypair(publisher))), "{publisher}");
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
        [&PublicKey::of(&Offer::keypair(seed)).0.0[..], &Offer::keypair(seed).sign(&message)].concat()
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
