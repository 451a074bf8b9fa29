//! `kill -9` of the program itself while it publishes and while it pulls: at every failpoint that lies on the way, and at
//! seeded moments. After a restart `store verify` is clean, what was acknowledged is there, and a pull fetches only
//! what it did not have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use potluck_node::failpoint::{self, What};
use potluck_tests::crash::draw;
use potluck_tests::kit::{Program, Up, answer, text, train_adapter};

use crate::program;

/// Kills at moments, of each verb.
const MOMENTS: u64 = 40;

struct Scene {
    program: Program,
    root: tempfile::TempDir,
    adapter: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
        let adapter = root.path().join("adapter");
        train_adapter(&program, &root.path().join("trainer"), &adapter, 3);
        Self { program, root, adapter }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A name of its own: the same adapter by the same name within one second would be the same manifest.
    fn publish_args(&self, n: usize) -> [String; 6] {
        ["publish", &text(&self.adapter), "--name", &format!("x{n}"), "--base", "tiny"].map(str::to_owned)
    }

    /// Every name in the store is what it says; what was acknowledged is there.
    fn look(&self, home: &Path, acknowledged: &[String], when: &str) {
        let verified = self.program.run(home, ["store", "verify"]);
        assert_eq!(verified.code, 0, "{when}: {verified:#?}");
        for id in acknowledged {
            let again = self.program.run(home, ["verify", id]);
            assert_eq!(again.code, 0, "{when}: {again:#?}");
        }
    }

    fn shard_bytes(&self, home: &Path) -> u64 {
        self.program.ok(home, ["store", "stat"])["shard_bytes"].as_u64().expect("a number")
    }
}

/// The failpoints that writing shards, manifests and the log passes.
fn on_the_way() -> impl Iterator<Item = String> {
    let kinds = [What::Shard, What::Manifest, What::Append];
    failpoint::ALL.iter().filter(move |point| kinds.contains(&point.what)).map(ToString::to_string)
}

#[test]
fn a_publisher_that_is_killed_loses_nothing_that_it_acknowledged() {
    let scene = Scene::new();
    let home = scene.home("publisher");
    let mut acknowledged = Vec::new();
    let failpoints = on_the_way().map(|point| (format!("{point}:abort"), None));
    let moments = (0..MOMENTS)
        .map(|seed| (String::new(), Some(Duration::from_micros(draw(&format!("publish {seed}"), 250_000)))));
    for (n, (failpoint, moment)) in failpoints.chain(moments).enumerate() {
        let mut command = scene.program.command(&home, scene.publish_args(n));
        if !failpoint.is_empty() {
            command.env(failpoint::VARIABLE, &failpoint);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        if let Some(moment) = moment {
            let start = Instant::now();
            while start.elapsed() < moment && child.try_wait().expect("our child").is_none() {}
            // Ended already: then it was acknowledged, which is a moment too.
            let _ended = child.kill();
        }
        let published = answer(child.wait_with_output().expect("our child"));
        assert!(moment.is_some() || published.code != 0, "{failpoint} was never passed");
        acknowledged.extend(published.json["manifest"].as_str().map(str::to_owned));
        scene.look(&home, &acknowledged, &format!("{failpoint} {moment:?}"));
    }
    let published = scene.program.ok(&home, scene.publish_args(1000));
    scene.look(&home, &[published["manifest"].as_str().expect("an id").to_owned()], "at the end");
}

#[test]
fn a_puller_that_is_killed_fetches_only_what_it_did_not_have() {
    let scene = Scene::new();
    let source = scene.home("source");
    let id = scene.program.ok(&source, scene.publish_args(0))["manifest"].as_str().expect("an id").to_owned();
    let all = scene.shard_bytes(&source);
    let seed = scene.program.up(&source, "kill", &[]);
    let mut had = BTreeSet::new();
    let failpoints = on_the_way().map(|point| (Some(format!("{point}:abort")), None));
    let moments = (0..MOMENTS).map(|seed| (None, Some(Duration::from_micros(draw(&format!("pull {seed}"), 60_000)))));
    for (n, (failpoint, moment)) in failpoints.chain(moments).enumerate() {
        let home = scene.home(&format!("puller{n}"));
        die_pulling(&scene, &home, &seed, &id, failpoint.as_deref(), moment);
        scene.look(&home, &[], &format!("{failpoint:?} {moment:?}"));
        let before = scene.shard_bytes(&home);
        had.insert(before);
        let again = scene.program.up(&home, "kill", &[&seed.address]);
        let pulled = scene.program.ok(&home, ["pull", &id]);
        assert_eq!(pulled["fetched_bytes"].as_u64(), Some(all - before), "{failpoint:?} {moment:?}: {pulled}");
        again.stop();
        scene.look(&home, std::slice::from_ref(&id), "pulled");
    }
    assert!(had.contains(&0) && had.contains(&all), "kills before and after the bytes: {had:?} of {all}");
}

/// A daemon that dies while it pulls.
fn die_pulling(scene: &Scene, home: &Path, seed: &Up, id: &str, failpoint: Option<&str>, moment: Option<Duration>) {
    // The home's first files are written in peace: its own failpoints are `crash`'s.
    scene.program.make_home(home);
    let environment: Vec<_> = failpoint.map(|point| (failpoint::VARIABLE, point)).into_iter().collect();
    let args = [
        "up",
        "--stop-with-input",
        "--network",
        "kill",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--bootstrap",
        &seed.address,
    ];
    let mut daemon = scene.program.up_with(home, &args, &environment);
    // Whoever comes when the daemon is dead already looks for it alone, and for a minute if nobody says otherwise.
    let mut pull = scene
        .program
        .command(home, ["pull", id, "--timeout", "5", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    if let Some(moment) = moment {
        let start = Instant::now();
        while start.elapsed() < moment {}
        daemon.kill();
    }
    let status = pull.wait().expect("our child");
    assert!(moment.is_some() || !status.success(), "{failpoint:?} was never passed");
    daemon.kill();
}
