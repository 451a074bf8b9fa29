//! F19: no attacker. A steward's home is put back as it was before a version that is out in the world.

use std::time::Duration;

use serde_json::json;

use super::scene::{Scene, until};
use super::{Found, Outcome, Setting};
use crate::kit::copy_folder;

/// For slow machines.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "restored")?;
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
    follows(&scene, 1)?;
    steward.stop();
    copy_folder(&scene.home("steward"), &scene.home("backup"));
    let steward = scene.up("steward", &[&follower]);
    scene.ok("steward", &["channel", "revoke", "main", &adapter])?;
    follows(&scene, 2)?;
    steward.stop();
    std::fs::remove_dir_all(scene.home("steward"))?;
    std::fs::rename(scene.home("backup"), scene.home("steward"))?;

    let _steward = scene.up("steward", &[&follower]);
    let shown = until(Duration::from_secs(10), || {
        scene.channel("steward", "main").ok().flatten().is_some_and(|(height, _)| height == 2)
    });
    let args = ["channel", "rollback", "main", "--to", "0", "--publish"];
    let (answer, took) = scene.run_within("steward", &args, Duration::from_secs(120))?;
    // Whatever was signed has its time to be heard of.
    let halted = until(Duration::from_secs(20), || {
        let _updated = scene.run_within("follower", &["channel", "update", "main", "--timeout", "5"], PATIENCE);
        scene.channel("follower", "main").ok().flatten().is_some_and(|(_, halted)| halted)
    });
    let at = |home: &str| scene.channel(home, "main").ok().flatten();
    let figures = json!({
        "restored_steward_shows_the_newer": shown.is_some(), "seconds": took.as_secs_f64(),
        "code": answer.as_ref().map(|answer| answer.code),
        "said": answer.as_ref().map(|answer| answer.json["error"]["message"].clone()),
        "signed_height": answer.as_ref().map(|answer| answer.json["height"].clone()),
        "follower_halted": halted.is_some(), "follower": at("follower"), "steward": at("steward"),
    });
    let steward_halted = at("steward").is_some_and(|(_, halted)| halted);
    Ok(Found { figures, holds: halted.is_none() && !steward_halted && answer.is_some() })
}

/// Until the follower is at a height.
fn follows(scene: &Scene, height: u64) -> Outcome<()> {
    let at = until(PATIENCE, || {
        let _updated = scene.ok("follower", &["channel", "update", "main", "--timeout", "5"]);
        scene.channel("follower", "main").ok().flatten() == Some((height, false))
    });
    at.map(drop).ok_or_else(|| format!("the follower did not come to version {height}").into())
}
