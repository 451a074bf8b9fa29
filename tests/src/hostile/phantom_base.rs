//! F3: announcements of a base's files that are smaller than the true ones, and of manifests that nobody has.

use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{AnnouncementId, BaseId};
use serde_json::json;

use super::keys::{for_each_key, key};
use super::peer::Manner;
use super::scene::Scene;
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, signed};
use crate::bases;
use crate::forged;
use crate::kit::text;

const COUNT: usize = 4;
const BOUND: Duration = Duration::from_secs(15);

/// Puts so many announcements on a shelf, each by a key of its own.
pub fn offer(shelf: &Shelf, seed: &str, base: BaseId, count: usize) -> Outcome<Vec<AnnouncementId>> {
    for_each_key(&format!("{seed} phantom base"), count, |key, seed| {
        shelf.announce(key, &signed::announcement(key, signed::nowhere(seed), KindTag::Base, base))
    })
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "base")?;
    let folder = scene.home("model");
    bases::write(&folder, &["model.norm.weight"], 1);
    let publisher = scene.up("publisher", &[]);
    let (folder, licence) = (text(&folder), ["--licence", "MIT"]);
    let published =
        scene.ok("publisher", &[&["publish", "--base", &folder, "--name", "small"][..], &licence].concat())?;
    let base: BaseId = forged::id(&published["base"]);
    let shelf = Shelf::default();
    let said = offer(&shelf, &scene.seed.to_string(), base, setting.sizes.count.unwrap_or(COUNT))?;
    // The publisher knows them as well: whoever compares with it hears of all at once.
    let liar = key(&format!("{} liar", scene.seed))?;
    let mut at_publisher = scene.peer(&publisher, &liar, Manner::Serving(shelf.clone()))?;
    scene.block_on(at_publisher.follow(&base))?;
    let heard = scene.all_heard(&at_publisher, &base, &said, Duration::from_secs(30))?;
    let victim = scene.up("victim", &[&publisher]);
    let mut at_victim = scene.peer(&victim, &liar, Manner::Serving(shelf))?;
    scene.block_on(at_victim.follow(&base))?;
    let timeout = setting.sizes.timeout.unwrap_or(10).to_string();
    let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(300));
    let (answer, took) =
        scene.run_within("victim", &["base", "add", &base.to_string(), "--timeout", &timeout], limit)?;
    // It follows the base only since it was asked to add it.
    let victim_heard = scene.all_heard(&at_victim, &base, &said, Duration::from_secs(30))?;
    let added = answer.as_ref().is_some_and(|answer| answer.code == 0);
    let figures = json!({
        "phantoms": said.len(), "phantoms_heard": heard, "heard_by_victim": victim_heard, "added": added, "seconds": took.as_secs_f64(),
        "said": answer.map(|answer| answer.json["error"]["message"].clone()), "bound_s": BOUND.as_secs(),
    });
    Ok(Found { figures, holds: added && took < BOUND })
}
