//! A catalogue as a set: what is kept is a function of what was heard. How catalogues compare themselves with each
//! other is simulated in `tests/tests/simulated`.

mod strangers;

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use libp2p_identity::ed25519::{Keypair, SecretKey};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::messages::bucket_of;
use super::timing::{NEWCOMERS, PERIOD_CROWDED_MS, RENEWALS};
use super::{
    Action, Bounds, Catalogue, Compare, Event, Inserted, Neighbour, Neighbourhood, Page, Question, Reconcile, Trusted,
    Voucher, Wanted, lot, verify_records,
};
use crate::announce::{self, Announcement, KindTag, LaterAnnouncement};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::{
    ANNOUNCEMENTS_MAX, CATALOGUE_BUCKETS, CATALOGUE_NEAR, CATALOGUE_NEAR_ALL, CATALOGUE_PER_PUBLISHER,
    CATALOGUE_RECORD_MAX,
};
use crate::signed::{Authentic, PublicKey, Signed};
use crate::splitmix::SplitMix64;
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

/// A peer in that neighbourhood.
fn somebody(near: u64) -> Neighbour {
    Neighbour { peer: PeerId::random(), near: Neighbourhood(near) }
}

/// For base 0, of any kind and by any key.
fn announce_kind(keypair: &Keypair, kind: KindTag, manifest: u16, sequence: u64) -> Authentic<Announcement> {
    let publisher = PublicKey::of(keypair);
    signed(keypair, Announcement { kind, publisher, ..announce(1, base(0), manifest, sequence, 0).body().clone() })
}

/// Keys that nobody knows, each with one adapter.
fn strangers(numbers: std::ops::Range<usize>) -> Vec<Authentic<Announcement>> {
    strangers_of(KindTag::Adapter, numbers)
}

/// The same with something of another kind.
fn strangers_of(kind: KindTag, numbers: std::ops::Range<usize>) -> Vec<Authentic<Announcement>> {
    let key = |n: usize| SecretKey::try_from_bytes(Digest::of(&n.to_le_bytes()).0).expect("any 32 bytes are a key");
    numbers.map(|n| announce_kind(&Keypair::from(key(n)), kind, 1, 1)).collect()
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
    signed(&keypair, body)
}

/// So many of one publisher for base 0, each of its own manifest, the newest last.
fn many(publisher: u8, count: u16) -> Vec<Authentic<Announcement>> {
    (0..count).map(|number| announce(publisher, base(0), number, number.into(), 0)).collect()
}

fn announcements(max: usize) -> impl Strategy<Value = Vec<Authentic<Announcement>>> {
    let kind = prop::sample::select(KINDS.to_vec());
    let one = (1..5u8, 0..2u8, kind, 0..6u16, 0..4u64, 0..2u64).prop_map(
        |(publisher, number, kind, manifest, sequence, variant)| {
            let like = announce(publisher, base(number), manifest, sequence, variant);
            signed(&keypair(publisher), Announcement { kind, ..like.body().clone() })
        },
    );
    prop::collection::vec(one, 0..max)
}

/// Of these are the made-up announcements.
const KINDS: [KindTag; 3] = [KindTag::Adapter, KindTag::Version, KindTag::Proof];

fn signed(keypair: &Keypair, body: Announcement) -> Authentic<Announcement> {
    Signed::sign(&body, keypair).expect("within its bounds").expect("its key").verify().expect("just signed")
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
        let known = best.entry((body.base, body.kind, body.publisher, body.manifest)).or_insert(rank);
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
            // Each kind has one place at least.
            prop_assert!(one.of_base(&base(n)).count() <= bounds.per_base.max(KINDS.len()));
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
    fn who_announced_a_manifest_is_what_a_look_at_every_record_finds(all in announcements(60), bounds in tight()) {
        let kept = catalogue(bounds, &all);
        for manifest in (0..6u16).map(|manifest| ManifestId(Digest::of(&manifest.to_le_bytes()))) {
            let of = kept.records().filter(|one| one.body().manifest == manifest);
            let scanned: BTreeSet<PublicKey> = of.map(|one| one.body().publisher).collect();
            let mut keys = (1..5).map(|n| PublicKey::of(&keypair(n)));
            let agrees = keys.all(|key| kept.announces(&manifest, &key) == scanned.contains(&key));
            prop_assert!(agrees);
            prop_assert_eq!(kept.publishers(&manifest, 100, &mut SplitMix64::new(1)), Vec::from_iter(scanned));
        }
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
    // Half of a base's places are for adapters.
    let bounds = Bounds { per_publisher: 8, per_base: 40, in_all: 60 };
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
        let authentic = || Signed::<Announcement>::decode(&envelope).expect("it is well formed").verify();
        let many_signed = authentic().expect("every signature is right");
        assert_eq!(announce::id(&many_signed), announce::id(&one));
        let short = envelope.len() <= CATALOGUE_RECORD_MAX;
        assert_eq!(kept.insert(many_signed), if short { Inserted::Stale } else { Inserted::TooLong });
        let read = announce::read(base(0), &envelope);
        assert_eq!(read.map(|claimed| claimed.signature_count()).ok(), short.then_some(entries.len()));
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
    let page = verify_records(base(0), &bytes, |_| None).expect("nothing is wrong");
    assert_eq!((page.records.len(), page.later.len(), page.count()), (1, 1, 2));
    bytes[1][50] ^= 1;
    assert!(verify_records(base(0), &bytes, |_| None).is_err_and(|error| error.is_fault()), "damage is a fault");
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

/// A peer whose catalogue a machine compares with its own, one second after the other.
struct Pair {
    machine: Reconcile,
    ours: Catalogue,
    theirs: Catalogue,
    peer: PeerId,
    now_ms: u64,
    /// Records that were asked for, and those that were taken.
    asked: usize,
    learned: usize,
    /// How often it was asked what it stands behind.
    asked_behind: usize,
}

impl Pair {
    fn new(ours: Catalogue, theirs: Catalogue) -> Self {
        Self::by(Reconcile::new(1), ours, theirs)
    }

    fn by(machine: Reconcile, ours: Catalogue, theirs: Catalogue) -> Self {
        let peer = PeerId::from_public_key(&libp2p_identity::PublicKey::from(keypair(200).public()));
        let (now_ms, asked, learned, asked_behind) = (0, 0, 0, 0);
        let mut pair = Self { machine, ours, theirs, peer, now_ms, asked, learned, asked_behind };
        pair.give(Event::Met { peer, base: base(0), near: Neighbourhood(1) });
        pair
    }

    /// The machine gets an event, and the peer answers what it asks then.
    fn give(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.machine.handle(event, self.now_ms, &mut self.ours) {
                match action {
                    Action::Ask { round, question: Question::Compare(compare), .. } => {
                        events.push(Event::Differs { round, differing: self.theirs.compare(&compare) });
                    }
                    Action::Ask { round, question: Question::StoodBehind(base), .. } => {
                        self.asked_behind += 1;
                        let records = self.theirs.stood_behind(base).iter().map(|one| (**one).clone()).collect();
                        events.push(Event::StoodBehind { round, page: Page { records, later: Vec::new() } });
                    }
                    Action::Ask { round, question: Question::Records(wanted), .. } => {
                        self.asked += wanted.ids.len();
                        let page =
                            verify_records(wanted.base, &self.theirs.answer(&wanted), |_| None).expect("all are right");
                        events.push(Event::Records { round, page });
                    }
                    Action::Learned(_) => self.learned += 1,
                    Action::Blame { blame, .. } => panic!("{blame}"),
                    Action::Ended { .. } => {}
                }
            }
        }
    }

    fn run_until(&mut self, until_ms: u64) {
        while self.now_ms < until_ms {
            self.now_ms += 1_000;
            self.give(Event::Tick);
        }
    }
}

#[test]
fn what_is_signed_anew_every_few_seconds_is_taken_at_the_rate_of_gossip() {
    const KEYS: u64 = 255;
    let of_all = |sequence| (1..=KEYS as u8).map(move |publisher| announce(publisher, base(0), 1, sequence, 0));
    let first: Vec<_> = of_all(1).collect();
    let mut pair = Pair::new(Catalogue::default(), catalogue(Bounds::default(), &first));
    pair.run_until(1_000);
    assert_eq!(pair.learned, KEYS as usize, "what is new is taken at once");
    for renewal in 1..=40 {
        of_all(1 + renewal).for_each(|one| drop(pair.theirs.insert(one)));
        // It asks us, so that we ask it.
        pair.give(Event::Asked { peer: pair.peer, base: base(0) });
        pair.run_until(1_000 + renewal * 5_000);
    }
    let most = KEYS + RENEWALS.burst + pair.now_ms / RENEWALS.refill_ms;
    assert!(pair.learned as u64 <= most, "{} of {} were taken, at most {most}", pair.learned, 41 * KEYS);
    assert!(pair.asked < 10 * KEYS as usize, "{} were fetched", pair.asked);
    // Once that has ended, all is had in the end.
    pair.run_until(pair.now_ms + 4 * 3_600_000);
    assert_eq!(ids(&pair.ours), ids(&pair.theirs));
}
