//! F4: records by keys that were ground for the best places of a base's catalogue.

use std::time::Duration;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::{AnnouncementId, BaseId};
use serde_json::json;

use super::keys::{for_each_key, key, lowest_lots, this_epoch};
use super::peer::{Manner, Peer};
use super::scene::{Scene, until};
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, attacked, signed};
use crate::kit::Up;
use crate::loopback;

/// Records that a base may have, and the keys that they are the best of.
const RECORDS: usize = 4096;
const DRAWS: usize = 100_000;

/// Honest publishers, and records of each.
const PUBLISHERS: usize = 200;
const EACH: usize = 5;

/// How long the attack goes on.
const ATTACK: Duration = Duration::from_secs(20);

/// Of ten honest records.
const KEPT: usize = 9;

/// Puts one record of each key on a shelf, of these kinds in turn, under a sequence number.
pub fn say(
    shelf: &Shelf,
    keys: &[Keypair],
    kinds: &[KindTag],
    base: BaseId,
    sequence: u64,
) -> Outcome<Vec<AnnouncementId>> {
    let one = |(n, (key, kind)): (usize, (&Keypair, &KindTag))| {
        let body = signed::announcement(key, signed::nowhere(&format!("wipe {n}")), *kind, base);
        shelf.announce(key, &Announcement { sequence, ..body })
    };
    keys.iter().zip(kinds.iter().cycle()).enumerate().map(one).collect()
}

/// As many newcomers as one neighbourhood may bring at once, and some left.
const A_NEIGHBOURHOOD: usize = 500;

/// Fills a node's catalogue of `tiny` with one record of each key, brought by as many neighbourhoods as that takes.
#[derive(Debug)]
pub struct Filler {
    parts: Vec<(Shelf, Vec<Keypair>)>,
}

/// The peers that bring them.
pub type Fillers = Vec<Peer>;

impl Filler {
    pub fn new(seed: &str, count: usize) -> Outcome<Self> {
        let keys = for_each_key(seed, count, |key, _| Ok(key.clone()))?;
        let parts = keys.chunks(A_NEIGHBOURHOOD).map(|keys| (Shelf::default(), keys.to_vec())).collect();
        Ok(Self { parts })
    }

    /// Says all of them under a sequence number, instead of what was said before.
    pub fn say(&self, base: BaseId, sequence: u64) -> Outcome<Vec<AnnouncementId>> {
        let mut said = Vec::new();
        for (shelf, keys) in &self.parts {
            shelf.forget(&base);
            said.extend(say(shelf, keys, &[KindTag::Adapter], base, sequence)?);
        }
        Ok(said)
    }

    /// Bytes of records that were handed out.
    pub fn said_bytes(&self) -> u64 {
        self.parts.iter().map(|(shelf, _)| shelf.said_bytes()).sum()
    }

    pub fn connect(&self, scene: &Scene, up: &Up) -> Outcome<Fillers> {
        let one = |(n, (shelf, _)): (u8, &(Shelf, Vec<Keypair>))| {
            let key = key(&format!("{} filler {n}", scene.seed))?;
            scene.follower_from(loopback::address(81, n), up, &key, Manner::Serving(shelf.clone()))
        };
        (0..).zip(&self.parts).map(one).collect()
    }
}

fn honest(shelf: &Shelf, seed: u64, base: BaseId) -> Outcome<Vec<AnnouncementId>> {
    let mut said = Vec::new();
    for publisher in 0..PUBLISHERS {
        let key = key(&format!("{seed} honest {publisher}"))?;
        for n in 0..EACH {
            let manifest = signed::nowhere(&format!("honest {publisher} {n}"));
            let body = signed::announcement(&key, manifest, KindTag::Adapter, base);
            said.push(shelf.announce(&key, &Announcement { sequence: 1 + n as u64, ..body })?);
        }
    }
    Ok(said)
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "catalogue")?;
    let folder = scene.adapter("publisher", 3);
    let publisher = scene.up("publisher", &[]);
    let victim = scene.up("victim", &[&publisher]);
    let shelf = Shelf::default();
    let said = honest(&shelf, scene.seed, scene.tiny)?;
    let neighbour = scene.follower(&victim, &key(&format!("{} neighbour", scene.seed))?, Manner::Serving(shelf))?;
    let before = scene.all_heard(&neighbour, &scene.tiny, &said, Duration::from_secs(60))?;
    let first = scene.publish("publisher", &folder, "before")?;
    let heard_first = until(Duration::from_secs(30), || finds(&scene, "before"));

    let (seed, draws) = (scene.seed.to_string(), setting.sizes.count.unwrap_or(DRAWS));
    let keys = lowest_lots(&seed, &[(this_epoch()?, scene.tiny)], RECORDS, draws)?.remove(0);
    let wiping = Shelf::default();
    let strange = say(&wiping, &keys, &[KindTag::Adapter], scene.tiny, 1)?;
    let wiper = key(&format!("{} wiper", scene.seed))?;
    let from = loopback::address(80, 1);
    let at_victim = scene.follower_from(from, &victim, &wiper, Manner::Serving(wiping.clone()))?;
    let _at_publisher = scene.follower_from(from, &publisher, &wiper, Manner::Serving(wiping.clone()))?;
    let taken = scene.heard(&at_victim, &scene.tiny, &strange, ATTACK);
    let after = scene.heard(&neighbour, &scene.tiny, &said, Duration::ZERO);
    let old_found = finds(&scene, "before");
    scene.publish("publisher", &folder, "after")?;
    let new_found = until(Duration::from_secs(10), || finds(&scene, "after"));
    attacked(wiping.said_bytes() > 0, || "nobody asked for the ground records".to_owned())?;
    let figures = json!({
        "honest_said": said.len(), "honest_before": before, "honest_after": after, "strange_taken": taken,
        "strange_said": strange.len(), "first": first.to_string(), "first_found": heard_first.is_some(),
        "first_found_after": old_found, "new_found_after_s": new_found.map(|took| took.as_secs_f64()),
    });
    let kept = after * 10 >= before * KEPT;
    Ok(Found { figures, holds: kept && old_found && new_found.is_some() })
}

/// Whether a search of the victim's finds an honest adapter.
fn finds(scene: &Scene, name: &str) -> bool {
    let Ok(found) = scene.ok("victim", &["search", name]) else { return false };
    let offers = found.as_object().into_iter().flat_map(|all| all.values()).filter_map(|one| one.as_array());
    offers.flatten().any(|offer| offer["name"] == name)
}
