//! F5: proposals of adapters that nobody has.

use std::time::Duration;

use potluck_protocol::id::{AnnouncementId, BaseId, ManifestId};
use serde_json::json;

use super::keys::{for_each_key, key};
use super::peer::Manner;
use super::scene::Scene;
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, bomb, signed};
use crate::loopback;

/// As many as a neighbourhood may bring at once, and as a base has places for.
const COUNT: usize = 500;
const BOUND: Duration = Duration::from_secs(60);

/// Puts so many proposals on a shelf, each by a key of its own.
pub fn offer(
    shelf: &Shelf,
    seed: &str,
    genesis: BaseId,
    channel: ManifestId,
    count: usize,
) -> Outcome<Vec<AnnouncementId>> {
    for_each_key(&format!("{seed} phantom proposal"), count, |key, seed| {
        let proposal = bomb::proposal(key, genesis, channel, signed::nowhere(seed))?;
        Ok(shelf.offer(key, &proposal, 1)?.id)
    })
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "proposals")?;
    let channel = scene.open_channel("steward")?;
    let folder = scene.taught("proposer", 3)?;
    let steward = scene.up("steward", &[]);
    let _proposer = scene.up("proposer", &[&steward]);
    let adapter = scene.publish("proposer", &folder, "honest")?;
    scene.ok("proposer", &["channel", "propose", &adapter.to_string(), "--to", &channel.to_string()])?;
    let (shelf, liar) = (Shelf::default(), key(&format!("{} liar", scene.seed))?);
    let count = setting.sizes.count.unwrap_or(COUNT);
    let said = offer(&shelf, &scene.seed.to_string(), scene.tiny, channel, count)?;
    let liar = scene.follower_from(loopback::address(80, 1), &steward, &liar, Manner::Serving(shelf))?;
    let heard = scene.all_heard(&liar, &scene.tiny, &said, Duration::from_secs(60))?;
    let timeout = setting.sizes.timeout.unwrap_or(10).to_string();
    let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(180));
    let args = ["channel", "release", "main", "--timeout", &timeout];
    let (answer, took) = scene.run_within("steward", &args, limit)?;
    let verdicts = answer.as_ref().and_then(|answer| answer.json["verdicts"].as_array());
    let judged = verdicts.is_some_and(|all| all.iter().any(|one| one["adapter"] == adapter.to_string()));
    let figures = json!({
        "junk": count, "junk_heard": heard, "ended": answer.is_some(), "seconds": took.as_secs_f64(),
        "honest_judged": judged, "verdicts": verdicts.map(Vec::len),
        "released": answer.as_ref().map(|answer| answer.json["released"].clone()), "bound_s": BOUND.as_secs(),
    });
    Ok(Found { figures, holds: judged && took < BOUND })
}
