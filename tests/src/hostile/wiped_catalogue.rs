//! F4: records by keys that were ground for the best places of a base's catalogue.

use std::time::Duration;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{AnnouncementId, BaseId};
use serde_json::json;

use super::keys::{key, lowest_lots, this_epoch};
use super::peer::Manner;
use super::scene::{Scene, until};
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, signed};

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

/// Puts one record of each key on a shelf, under a sequence number.
pub fn say(shelf: &Shelf, keys: &[Keypair], base: BaseId, sequence: u64) -> Outcome<Vec<AnnouncementId>> {
    let mut said = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let mut body = signed::announcement(key, signed::nowhere(&format!("wipe {n}")), KindTag::Adapter, base);
        body.sequence = sequence;
        let record = signed::record(key, &body)?;
        said.push(record.id);
        shelf.say([record]);
    }
    Ok(said)
}

fn honest(shelf: &Shelf, seed: u64, base: BaseId) -> Outcome<Vec<AnnouncementId>> {
    let mut said = Vec::new();
    for publisher in 0..PUBLISHERS {
        let key = key(&format!("{seed} honest {publisher}"))?;
        for n in 0..EACH {
            let manifest = signed::nowhere(&format!("honest {publisher} {n}"));
            let mut body = signed::announcement(&key, manifest, KindTag::Adapter, base);
            body.sequence = 1 + n as u64;
            let record = signed::record(&key, &body)?;
            said.push(record.id);
            shelf.say([record]);
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
    let before = scene.heard(&neighbour, &scene.tiny, &said, Duration::from_secs(60));
    let first = scene.publish("publisher", &folder, "before")?;
    let heard_first = until(Duration::from_secs(30), || finds(&scene, "before"));

    let (seed, draws) = (scene.seed.to_string(), setting.sizes.count.unwrap_or(DRAWS));
    let keys = lowest_lots(&seed, this_epoch()?, &scene.tiny, RECORDS, draws)?;
    let wiping = Shelf::default();
    let strange = say(&wiping, &keys, scene.tiny, 1)?;
    let wiper = key(&format!("{} wiper", scene.seed))?;
    let at_victim = scene.follower(&victim, &wiper, Manner::Serving(wiping.clone()))?;
    let _at_publisher = scene.follower(&publisher, &wiper, Manner::Serving(wiping))?;
    let taken = scene.heard(&at_victim, &scene.tiny, &strange, ATTACK);
    let after = scene.heard(&neighbour, &scene.tiny, &said, Duration::ZERO);
    let old_found = finds(&scene, "before");
    scene.publish("publisher", &folder, "after")?;
    let new_found = until(Duration::from_secs(10), || finds(&scene, "after"));
    let figures = json!({
        "honest_said": said.len(), "honest_before": before, "honest_after": after, "strange_taken": taken,
        "strange_said": strange.len(), "first": first.to_string(), "first_found": heard_first.is_some(),
        "first_found_after": old_found, "new_found_after_s": new_found.map(|took| took.as_secs_f64()),
    });
    let kept = before > 0 && after * 10 >= before * KEPT;
    Ok(Found { figures, holds: kept && old_found && new_found.is_some() })
}

/// Whether a search of the victim's finds an honest adapter.
fn finds(scene: &Scene, name: &str) -> bool {
    let Ok(found) = scene.ok("victim", &["search", name]) else { return false };
    let offers = found.as_object().into_iter().flat_map(|all| all.values()).filter_map(|one| one.as_array());
    offers.flatten().any(|offer| offer["name"] == name)
}
