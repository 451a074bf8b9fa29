//! F14: a peer whose program is newer: it passes on announcements of kinds, and asks questions, that this one does not know.

use std::time::Duration;

use potluck_protocol::bulk::Request;
use potluck_protocol::id::{BaseId, Digest, ShardId};
use serde_json::json;
use tokio::time::sleep;

use super::keys::key;
use super::peer::{Manner, Peer};
use super::scene::{Scene, metric};
use super::shelf::Shelf;
use super::{Found, Outcome, Setting, attacked, signed};

const COUNT: usize = 8;
const QUESTIONS: u32 = 4;
/// Far beyond any list of today.
const KIND: u32 = 57;

/// Passes on announcements of an unknown kind, each by a key of its own, and asks unknown questions; how many were taken.
pub async fn speak(peer: &mut Peer, seed: &str, base: &BaseId, count: usize) -> Outcome<usize> {
    let mut taken = 0;
    for n in 0..count {
        let seed = format!("{seed} unknown {n}");
        let message = signed::unknown_kind(&key(&seed)?, *base, &seed, KIND)?;
        taken += usize::from(peer.publish(base, &message).await.is_ok());
    }
    for n in 0..QUESTIONS {
        let question = [(KIND + n).to_le_bytes().as_slice(), &[7; 32]].concat();
        // Whatever is answered is right.
        taken += usize::from(peer.ask_raw(&question).await.is_ok());
    }
    Ok(taken)
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "unknown")?;
    let victim = scene.up("victim", &[]);
    let newer = key(&format!("{} newer", scene.seed))?;
    let mut peer = scene.follower(&victim, &newer, Manner::Serving(Shelf::default()))?;
    let count = setting.sizes.count.unwrap_or(COUNT);
    let seed = scene.seed.to_string();
    let taken = scene.block_on(async {
        sleep(Duration::from_secs(1)).await;
        let taken = speak(&mut peer, &seed, &scene.tiny, count).await;
        sleep(Duration::from_secs(2)).await;
        taken
    })?;
    // A node that ends the connection for it has heard enough of it.
    let all = count + QUESTIONS as usize;
    attacked(taken == all || peer.is_gone(), || format!("{taken} of {all} things that were said were taken"))?;
    let question = Request::Have(vec![ShardId(Digest::of(b"any"))]);
    let heard = scene.block_on(peer.ask(&question)).is_ok();
    let (misdeeds, banned) =
        (metric(&victim, "potluck_misdeeds_total")?, metric(&victim, "potluck_peers_banned_total")?);
    let figures = json!({
        "announcements": count, "questions": QUESTIONS, "taken": taken, "misdeeds": misdeeds, "banned": banned,
        "still_answered": heard,
    });
    Ok(Found { figures, holds: banned == 0.0 && misdeeds == 0.0 && heard })
}
