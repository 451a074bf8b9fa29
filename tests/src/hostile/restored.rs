//! F19: no attacker. A steward's home is put back as it was before a version that is out in the world.

use std::time::Duration;

use serde_json::{Value, json};

use super::scene::{Scene, until};
use super::{Found, Outcome, Setting};
use crate::kit::{Answer, Up, copy_folder};

/// For slow machines.
const PATIENCE: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(120);

/// The program's exit code where nobody could be asked.
const UNREACHABLE: i32 = 5;

/// With its follower connected, who knows the newer version; and alone, so that only the home could know.
pub fn run(setting: &Setting) -> Outcome<Found> {
    let (connected, one) = restore(&Scene::new(setting, "restored")?, false)?;
    let (alone, other) = restore(&Scene::new(setting, "restored-alone")?, true)?;
    Ok(Found { figures: json!({ "connected": connected, "alone": alone }), holds: one && other })
}

/// What came of one restored steward, and whether nobody was halted.
fn restore(scene: &Scene, alone: bool) -> Outcome<(Value, bool)> {
    let follower = to_version_two(scene)?;
    std::fs::remove_dir_all(scene.home("steward"))?;
    std::fs::rename(scene.home("backup"), scene.home("steward"))?;
    let args = ["channel", "rollback", "main", "--to", "0", "--publish"];
    let mut shown = None;
    let (answer, took, _steward, _follower) = if alone {
        follower.stop();
        let steward = scene.up("steward", &[]);
        let (answer, took) = scene.run_within("steward", &args, LIMIT)?;
        let follower = scene.up("follower", &[&steward]);
        (answer, took, steward, follower)
    } else {
        let steward = scene.up("steward", &[&follower]);
        shown = until(Duration::from_secs(10), || at(scene, "steward").is_some_and(|(height, _)| height == 2));
        let (answer, took) = scene.run_within("steward", &args, LIMIT)?;
        (answer, took, steward, follower)
    };
    // Whatever was signed has its time to be heard of.
    let halted = until(Duration::from_secs(20), || {
        let _updated = scene.run_within("follower", &["channel", "update", "main", "--timeout", "5"], PATIENCE);
        at(scene, "follower").is_some_and(|(_, halted)| halted)
    });
    let steward_halted = at(scene, "steward").is_some_and(|(_, halted)| halted);
    let figures = json!({
        "newer_version_shown": shown.is_some(), "seconds": took.as_secs_f64(),
        "code": answer.as_ref().map(|answer| answer.code),
        "said": answer.as_ref().map(|answer| answer.stderr.trim()),
        "signed_height": answer.as_ref().map(|answer| answer.json["height"].clone()),
        "follower": at(scene, "follower"), "steward": at(scene, "steward"),
    });
    let unharmed = halted.is_none() && !steward_halted;
    Ok((figures, unharmed && answer.is_some_and(|answer| is_right(&answer, alone))))
}

/// A steward that can ask nobody signs nothing, and says why and what to type; one that can goes on from the version that
/// is out in the world.
fn is_right(answer: &Answer, alone: bool) -> bool {
    let refused = answer.code == UNREACHABLE
        && ["nothing was signed", "--offline"].iter().all(|words| answer.stderr.contains(words));
    let went_on = answer.code == 0 && answer.json["height"] == 3;
    refused || (went_on && !alone)
}

/// A steward who makes two versions, is copied between them, and is gone; who follows has both.
fn to_version_two(scene: &Scene) -> Outcome<Up> {
    let channel = scene.open_channel("steward")?;
    let adapter = scene.publish("steward", &scene.taught("steward", 3)?, "skill")?.to_string();
    scene.ok("steward", &["channel", "propose", &adapter, "--to", "main"])?;
    let released = scene.ok("steward", &["channel", "release", "main"])?;
    if released["released"] != true {
        return Err(format!("the honest adapter was not taken: {released}").into());
    }
    let steward = scene.up("steward", &[]);
    let follower = scene.up("follower", &[&steward]);
    scene.ok("follower", &["channel", "follow", &channel.to_string()])?;
    follows(scene, 1)?;
    steward.stop();
    copy_folder(&scene.home("steward"), &scene.home("backup"));
    let steward = scene.up("steward", &[&follower]);
    scene.ok("steward", &["channel", "revoke", "main", &adapter])?;
    follows(scene, 2)?;
    steward.stop();
    Ok(follower)
}

fn at(scene: &Scene, home: &str) -> Option<(u64, bool)> {
    scene.channel(home, "main").ok().flatten()
}

/// Until the follower is at a height.
fn follows(scene: &Scene, height: u64) -> Outcome<()> {
    let reached = until(PATIENCE, || {
        let _updated = scene.ok("follower", &["channel", "update", "main", "--timeout", "5"]);
        at(scene, "follower") == Some((height, false))
    });
    reached.map(drop).ok_or_else(|| format!("the follower did not come to version {height}").into())
}
