//! F6: proofs that name versions which nobody has, beside a true one.

use std::time::{Duration, Instant};

use potluck_protocol::channel::Claim;
use potluck_protocol::id::{AnnouncementId, BaseId, ManifestId};
use serde_json::json;

use super::equivocation::{Liar, offer_late, proof};
use super::keys::{for_each_key, key};
use super::peer::Manner;
use super::scene::Scene;
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, signed};
use crate::loopback;

const COUNT: usize = 96;
const UPDATES: usize = 3;
const BOUND: Duration = Duration::from_secs(60);

/// Puts so many proofs on a shelf, each by a key of its own.
pub fn offer(
    shelf: &Shelf,
    seed: &str,
    genesis: BaseId,
    channel: ManifestId,
    count: usize,
) -> Outcome<Vec<AnnouncementId>> {
    for_each_key(&format!("{seed} junk proof"), count, |key, seed| {
        let [first, second] = ["first", "second"].map(|which| signed::nowhere(&format!("{seed} {which}")));
        let proof = proof(key, genesis, channel, Claim::Equivocation { first, second })?;
        Ok(shelf.offer(key, &proof, 1)?.id)
    })
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "proofs")?;
    let key = |who: &str| key(&format!("{} {who}", scene.seed));
    let (truth, junk) = (Shelf::default(), Shelf::default());
    let steward = Liar::new(&format!("{} steward", scene.seed), "helpers", scene.tiny)?;
    let channel = steward.channel.id;
    truth.offer(&steward.key, &steward.channel, 1)?;
    let count = setting.sizes.count.unwrap_or(COUNT);
    let said = offer(&junk, &scene.seed.to_string(), scene.tiny, channel, count)?;
    let follower = scene.up("follower", &[]);
    let auditor = scene.follower(&follower, &key("auditor")?, Manner::Serving(truth.clone()))?;
    let _liar = scene.follower_from(loopback::address(80, 1), &follower, &key("liar")?, Manner::Serving(junk))?;
    let junk_heard = scene.all_heard(&auditor, &scene.tiny, &said, Duration::from_secs(30))?;
    scene.ok("follower", &["channel", "follow", &channel.to_string(), "--timeout", "10"])?;
    let versions = steward.lie()?;
    versions.iter().for_each(|version| truth.keep(version));
    let said = [offer_late(&truth, &key("auditor")?, &steward.name(&key("auditor")?, &versions)?)?];
    // Not to hear of it would be the node's failure, and none of the attack.
    let truth_heard = scene.heard(&auditor, &scene.tiny, &said, Duration::from_secs(60));
    let (begun, mut seconds, mut halted) = (Instant::now(), Vec::new(), false);
    for _ in 0..UPDATES {
        let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(300));
        let args = ["channel", "update", "helpers", "--timeout", "10"];
        seconds.push(scene.run_within("follower", &args, limit)?.1.as_secs_f64());
        halted = scene.channel("follower", "helpers")?.is_some_and(|(_, halted)| halted);
        if halted {
            break;
        }
    }
    let took = begun.elapsed();
    let figures = json!({
        "junk": count, "junk_heard": junk_heard, "truth_heard": truth_heard == 1, "true_proof_obeyed": halted,
        "update_seconds": seconds, "seconds": took.as_secs_f64(), "bound_s": BOUND.as_secs(),
    });
    Ok(Found { figures, holds: halted && took < BOUND })
}
