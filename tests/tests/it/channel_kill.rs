//! `kill -9` while a version is taken and while one is exported: the old one stays in force or the new one is, whole.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use potluck_node::failpoint::{self, Step, What};
use potluck_tests::crash::draw;
use potluck_tests::forged::{self, Draft};
use potluck_tests::kit::{answer, copy_folder, text};

use crate::channel_follow::Scene;

/// Kills at moments, of each command.
const MOMENTS: u64 = 6;
/// From the start of a command to about its end.
const MICROS: u64 = 1_200_000;

/// The steps at which what is on disk changes its meaning, of every kind of write that taking a version makes.
fn on_the_way() -> impl Iterator<Item = String> {
    let passed = |point: &&failpoint::Point| match point.what {
        What::Manifest => point.step == Step::Written,
        What::Append => matches!(point.step, Step::Half | Step::Done),
        _ => false,
    };
    failpoint::ALL.iter().filter(passed).map(ToString::to_string)
}

fn killed(mut command: Command, moment: Option<Duration>) {
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    if let Some(moment) = moment {
        let start = Instant::now();
        while start.elapsed() < moment && child.try_wait().expect("our child").is_none() {}
        // Ended already: then it is done, which is a moment too.
        let _ended = child.kill();
    }
    let ended = answer(child.wait_with_output().expect("our child"));
    assert!(moment.is_some() || ended.code != 0, "the failpoint was never passed");
}

fn moments(what: &str) -> impl Iterator<Item = Option<Duration>> {
    (0..MOMENTS).map(move |seed| Some(Duration::from_micros(draw(&format!("{what} {seed}"), MICROS))))
}

#[test]
fn a_follower_that_is_killed_has_the_old_version_or_the_new_one() {
    let scene = Scene::new("kill-update", 2);
    let one = forged::version(&scene.steward(), &scene.draft(1, None));
    let steward = scene.up("steward", &[]);
    let before = scene.home("before");
    let follower = scene.up("before", &[&steward.address]);
    assert_eq!(scene.follow(&before, &[]).code, 0);
    follower.stop();
    steward.stop();
    let two = Draft { previous: Some(one), ..scene.draft(2, Some(one)) };
    forged::version(&scene.steward(), &two);
    let steward = scene.up("steward", &[]);
    let update = |home: &Path| {
        let listen = ["--network", "kill-update", "--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", &steward.address];
        scene.program.command(home, ["channel", "update", "helpers", "--timeout", "20"].iter().chain(&listen))
    };
    let failpoints = on_the_way().map(|point| (Some(format!("{point}:abort")), None));
    let kills = failpoints.chain(moments("update").map(|moment| (None, moment)));
    for (n, (failpoint, moment)) in kills.enumerate() {
        let home = scene.home(&format!("home{n}"));
        copy_folder(&before, &home);
        let mut command = update(&home);
        command.envs(failpoint.iter().map(|point| (failpoint::VARIABLE, point)));
        killed(command, moment);
        let when = format!("{failpoint:?} {moment:?}");
        let verified = scene.program.run(&home, ["store", "verify"]);
        assert_eq!(verified.code, 0, "{when}: {verified:#?}");
        let height = scene.shown(&home)["height"].as_u64().expect("a number");
        assert!((1..=2).contains(&height), "{when}: {height}");
        // What is in force can be rebuilt, whichever it is, without anybody.
        let rebuilt = scene.program.run(&home, ["verify", "helpers"]);
        assert_eq!((rebuilt.code, &rebuilt.json["height"]), (0, &height.into()), "{when}: {rebuilt:#?}");
        let again = answer(update(&home).output().expect("it starts"));
        assert_eq!((again.code, &again.json["height"]), (0, &2.into()), "{when}: {again:#?}");
    }
}

#[test]
fn an_export_that_is_killed_leaves_the_folder_whole_or_none() {
    let scene = Scene::new("kill-export", 1);
    scene.versions(1);
    let weights = scene.draft(1, None).weights;
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    follower.stop();
    let folders = scene.root.path().join("folders");
    let out = folders.join("exported");
    let export = || scene.program.command(&home, ["channel", "export", "helpers", "--out", &text(&out)]);
    for moment in moments("export") {
        killed(export(), moment.map(|moment| moment / 3));
        if out.exists() {
            let added = scene.program.ok(&home, ["base", "add", &text(&out), "--name", "exported"]);
            assert_eq!(added["base"], weights.base.to_string(), "{moment:?}");
            std::fs::remove_dir_all(&out).expect("ours");
        }
    }
    let done = answer(export().output().expect("it starts"));
    assert_eq!((done.code, &done.json["digest"]), (0, &weights.digest.to_string().into()), "{done:#?}");
    let names: Vec<_> =
        std::fs::read_dir(&folders).expect("there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["exported"], "what the dead left is gone");
}
