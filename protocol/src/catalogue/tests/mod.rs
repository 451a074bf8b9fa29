//! Catalogues as sets (`sets`), and among each other in the simulated world (`among_others`).

mod among_others;
mod sets;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Bounds, Catalogue};
use crate::announce::{self, Announcement};
use crate::id::{AnnouncementId, BaseId};
use crate::signed::Authentic;
use crate::sim::catalogue::Offer;

/// The same cases in every run.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(0x706f_746c), failure_persistence: None, ..Default::default() }
}

fn base(number: u8) -> BaseId {
    Offer::base(number)
}

fn many(publisher: u8, count: u16) -> Vec<Authentic<Announcement>> {
    Offer::many(publisher, count)
}

fn ids(catalogue: &Catalogue) -> BTreeSet<AnnouncementId> {
    catalogue.records().map(|record| announce::id(record)).collect()
}

fn catalogue<'a>(bounds: Bounds, all: impl IntoIterator<Item = &'a Authentic<Announcement>>) -> Catalogue {
    let mut catalogue = Catalogue::new(bounds);
    all.into_iter().for_each(|one| drop(catalogue.insert(one.clone())));
    catalogue
}

fn offer() -> impl Strategy<Value = Offer> {
    (1..5u8, 0..2u8, 0..6u16, 0..4u64, 0..2u8).prop_map(|(publisher, base, manifest, sequence, variant)| Offer {
        publisher,
        base,
        manifest,
        sequence,
        variant,
    })
}

fn announcements(max: usize) -> impl Strategy<Value = Vec<Authentic<Announcement>>> {
    prop::collection::vec(offer().prop_map(Offer::sign), 0..max)
}

/// The best announcement of each key: what all catalogues with room must end with.
fn winners(all: &[Authentic<Announcement>]) -> BTreeSet<AnnouncementId> {
    let mut best = BTreeMap::new();
    for one in all {
        let body = one.body();
        let standing = (std::cmp::Reverse(body.sequence), announce::id(one));
        let known = best.entry((body.base, body.publisher, body.manifest)).or_insert(standing);
        *known = standing.min(*known);
    }
    best.into_values().map(|(_, id)| id).collect()
}
