//! F2: many connected peers whose ids come before an honest publisher's, and who have nothing.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::BaseId;
use serde_json::json;
use tokio::time::sleep;

use super::keys::{key, peers_below};
use super::peer::{Manner, Peer};
use super::scene::Scene;
use super::{Found, Outcome, Setting};
use crate::kit::Up;

const COUNT: usize = 200;
const BOUND: Duration = Duration::from_secs(10);

/// Peers that come before another one and say nothing but who they are.
pub fn connect(scene: &Scene, up: &Up, before: &PeerId, count: usize) -> Outcome<Vec<Peer>> {
    let keys = peers_below(&format!("{} crowd {}", scene.seed, up.peer), before, count)?;
    keys.iter().map(|key| scene.peer(up, key, Manner::Idle)).collect()
}

/// Where a peer dials, and what it follows there.
#[derive(Clone, Debug)]
pub struct Place {
    pub network: String,
    pub address: String,
    pub base: BaseId,
}

/// Keeps a peer of each key connected, until it is dropped: who was put out comes again.
pub async fn hold(place: Place, keys: Vec<Keypair>, manner: Manner) {
    const AGAIN: Duration = Duration::from_secs(5);
    let mut held: Vec<Option<Peer>> = keys.iter().map(|_| None).collect();
    loop {
        for (peer, key) in held.iter_mut().zip(&keys) {
            if peer.as_ref().is_none_or(Peer::is_gone) {
                *peer = at(&place, key, manner.clone()).await.ok();
            }
        }
        sleep(AGAIN).await;
    }
}

/// A peer at a place. One that has something to say or to be asked follows the base.
pub async fn at(place: &Place, key: &Keypair, manner: Manner) -> Outcome<Peer> {
    let follows = !matches!(manner, Manner::Idle);
    let mut peer = Peer::connect(&place.network, &place.address, key, manner).await?;
    if follows {
        peer.follow(&place.base).await?;
    }
    Ok(peer)
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
