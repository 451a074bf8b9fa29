//! F7: peers that take every question and never answer, whose ids come before an honest one's.

use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::channel::Change;
use potluck_protocol::recipe::Weight;
use serde_json::json;

use super::keys::{key, peers_below};
use super::peer::{Manner, Peer};
use super::scene::{Scene, until};
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, attacked, signed};
use crate::forged::{self, Draft};
use crate::kit::Up;

const COUNT: usize = 16;
const BOUND: Duration = Duration::from_secs(15);

/// Peers that come before another one, say that they follow the base, and are silent.
pub fn connect(scene: &Scene, up: &Up, before: &PeerId, count: usize) -> Outcome<Vec<Peer>> {
    let keys = peers_below(&format!("{} silent {}", scene.seed, up.peer), before, count)?;
    keys.iter().map(|key| scene.follower(up, key, Manner::Silent)).collect()
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "silence")?;
    let adapter = scene.publish("mirror", &scene.adapter("mirror", 3), "skill")?;
    let inputs = vec![(adapter, Weight::ONE)];
    let weights = forged::weights(&scene.program, &scene.home("mirror"), "tiny", &inputs);
    let (steward, shelf) = (key(&format!("{} steward", scene.seed))?, Shelf::default());
    let channel = signed::manifest(&steward, "helpers", forged::channel(scene.tiny, None), Vec::new(), 1)?;
    let draft = Draft {
        channel: channel.id,
        height: 1,
        previous: None,
        change: Change::Release,
        genesis: scene.tiny,
        taken: vec![adapter],
        revoked: Vec::new(),
        inputs,
        weights,
    };
    let version = signed::manifest(&steward, "version", forged::version_of(&draft), Vec::new(), 1)?;
    shelf.offer(&steward, &channel, 1)?;
    shelf.offer(&steward, &version, 2)?;
    let mirror = scene.up("mirror", &[]);
    let at_mirror = scene.follower(&mirror, &steward, Manner::Serving(shelf))?;
    let id = channel.id.to_string();
    scene.ok("mirror", &["channel", "follow", &id, "--timeout", "20"])?;
    let mirrored = until(Duration::from_secs(60), || {
        let _updated = scene.ok("mirror", &["channel", "update", "helpers", "--timeout", "5"]);
        scene.channel("mirror", "helpers").ok().flatten() == Some((1, false))
    });
    mirrored.ok_or("the mirror does not follow its steward")?;
    // The steward is gone; who comes now has the mirror alone.
    drop(at_mirror);
    let victim = scene.up("victim", &[&mirror]);
    let count = setting.sizes.count.unwrap_or(COUNT);
    let silent = connect(&scene, &victim, &mirror.peer.parse()?, count)?;
    let connected = silent.iter().filter(|peer| !peer.is_gone()).count();
    attacked(connected == count, || format!("{connected} of {count} silent peers are connected"))?;
    let timeout = setting.sizes.timeout.unwrap_or(60).to_string();
    let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(180));
    let (answer, took) = scene.run_within("victim", &["channel", "follow", &id, "--timeout", &timeout], limit)?;
    let at = answer.as_ref().and_then(|answer| answer.json["height"].as_u64());
    let figures = json!({
        "silent_peers": silent.len(), "seconds": took.as_secs_f64(), "height": at,
        "code": answer.as_ref().map(|answer| answer.code), "bound_s": BOUND.as_secs(),
    });
    Ok(Found { figures, holds: at == Some(1) && took < BOUND })
}
