//! F20: the same records again and again, each time under a higher sequence number.

use std::time::Duration;

use serde_json::json;

use super::keys::key;
use super::peer::Manner;
use super::scene::Scene;
use super::shelf::Shelf;
use super::wiped_catalogue::say;
use super::{Found, Outcome, Setting};
use crate::processes;

const COUNT: usize = 4000;
const ROUNDS: u64 = 4;
/// Until the next round: longer than nodes rest between two that spread something.
const ROUND: Duration = Duration::from_secs(10);
/// Bytes written for each that was said, from the second round on.
const BOUND: f64 = 1.0;

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "again")?;
    let near = scene.up("near", &[]);
    let far = scene.up("far", &[&near]);
    let count = setting.sizes.count.unwrap_or(COUNT);
    let keys = (0..count).map(|n| key(&format!("{} again {n}", scene.seed))).collect::<Outcome<Vec<_>>>()?;
    let shelf = Shelf::default();
    let sayer = key(&format!("{} says again", scene.seed))?;
    let peer = scene.follower(&near, &sayer, Manner::Serving(shelf.clone()))?;
    let (mut rounds, mut again_said, mut again_written) = (Vec::new(), 0, 0);
    for sequence in 1..=ROUNDS {
        shelf.forget(&scene.tiny);
        let said_ids = say(&shelf, &keys, scene.tiny, sequence)?;
        let (said, written) = (shelf.said_bytes(), processes::written_bytes(far.pid())?);
        let processor = processes::processor_seconds(far.pid())?;
        // Being asked makes the near one compare.
        let near_has = scene.heard(&peer, &scene.tiny, &said_ids, ROUND / 2);
        std::thread::sleep(ROUND);
        let (said, written) = (shelf.said_bytes() - said, processes::written_bytes(far.pid())? - written);
        if sequence > 1 {
            again_said += said;
            again_written += written;
        }
        rounds.push(json!({
            "near_took": near_has, "said_bytes": said, "far_wrote_bytes": written,
            "far_processor_s": processes::processor_seconds(far.pid())? - processor,
        }));
    }
    // Beside all that could have been said: who is not asked for it says nothing, and a node may write a little.
    let all: u64 = (ROUNDS - 1) * (count as u64) * 250;
    let for_each = again_written as f64 / all.max(1) as f64;
    let figures = json!({
        "records": count, "rounds": rounds, "again_said_bytes": again_said, "again_written_bytes": again_written,
        "written_for_each_byte": for_each, "bound": BOUND,
    });
    Ok(Found { figures, holds: for_each <= BOUND })
}
