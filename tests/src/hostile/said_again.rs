//! F20: the same records again and again, each time under a higher sequence number.

use std::time::Duration;

use potluck_protocol::id::AnnouncementId;
use serde_json::json;

use super::scene::Scene;
use super::wiped_catalogue::{Filler, Fillers};
use super::{Found, Outcome, Setting};
use crate::processes;

/// Nearly as many adapters as a base has places for.
const COUNT: usize = 2000;
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
    let filler = Filler::new(&format!("{} again", scene.seed), count)?;
    filler.say(scene.tiny, 1)?;
    let fillers = filler.connect(&scene, &near)?;
    let (mut rounds, mut again_said, mut again_written) = (Vec::new(), 0, 0);
    for sequence in 1..=ROUNDS {
        let (said, written) = (filler.said_bytes(), processes::written_bytes(far.pid())?);
        let processor = processes::processor_seconds(far.pid())?;
        let said_ids = filler.say(scene.tiny, sequence)?;
        let near_has = heard_of(&scene, &fillers, &said_ids, sequence)?;
        std::thread::sleep(ROUND);
        let (said, written) = (filler.said_bytes() - said, processes::written_bytes(far.pid())? - written);
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

/// How many of a round's records the near node has in the end. Being asked makes it compare with whoever asks.
fn heard_of(scene: &Scene, fillers: &Fillers, said: &[AnnouncementId], round: u64) -> Outcome<usize> {
    let asker = fillers.first().ok_or("there are records")?;
    if round == 1 {
        return scene.all_heard(asker, &scene.tiny, said, Duration::from_secs(60));
    }
    for filler in fillers.iter().skip(1) {
        // Whatever it answers, it has been asked.
        drop(scene.block_on(filler.known(&scene.tiny)));
    }
    Ok(scene.heard(asker, &scene.tiny, said, ROUND / 2))
}
