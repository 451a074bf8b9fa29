//! F2: many connected peers whose ids come before an honest publisher's, and who have nothing.

use std::time::Duration;

use libp2p::PeerId;
use serde_json::json;

use super::keys::{key, peers_below};
use super::peer::{Manner, Peer};
use super::scene::Scene;
use super::{Found, Outcome, Setting, attacked};
use crate::kit::Up;

const COUNT: usize = 200;
const BOUND: Duration = Duration::from_secs(10);

/// Peers that come before another one and say nothing but who they are.
pub fn connect(scene: &Scene, up: &Up, before: &PeerId, count: usize) -> Outcome<Vec<Peer>> {
    let keys = peers_below(&format!("{} crowd {}", scene.seed, up.peer), before, count)?;
    keys.iter().map(|key| scene.peer(up, key, Manner::Idle)).collect()
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "crowd")?;
    let folder = scene.adapter("publisher", 3);
    let publisher = scene.up("publisher", &[]);
    let victim = scene.up("victim", &[&publisher]);
    let count = setting.sizes.count.unwrap_or(COUNT);
    let crowd = connect(&scene, &victim, &publisher.peer.parse()?, count)?;
    let id = scene.publish("publisher", &folder, "honest")?;
    let timeout = setting.sizes.timeout.unwrap_or(20).to_string();
    let limit = Duration::from_secs(setting.sizes.limit.unwrap_or(120));
    let connected = crowd.iter().filter(|peer| !peer.is_gone()).count();
    attacked(connected == count, || format!("{connected} of {count} idle peers are connected"))?;
    let (answer, took) = scene.run_within("victim", &["pull", &id.to_string(), "--timeout", &timeout], limit)?;
    let pulled = answer.as_ref().is_some_and(|answer| answer.code == 0);
    // Nobody of them has left because they were not wanted: that would be another defence.
    let probe = scene.peer(&victim, &key(&format!("{} probe", scene.seed))?, Manner::Idle).is_ok();
    let figures = json!({
        "idle_peers": crowd.len(), "pulled": pulled, "seconds": took.as_secs_f64(), "newcomers_are_let_in": probe,
        "said": answer.map(|answer| answer.json["error"]["message"].clone()), "bound_s": BOUND.as_secs(),
    });
    Ok(Found { figures, holds: pulled && took < BOUND })
}
