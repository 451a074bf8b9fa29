//! Channels as their followers see them, with real daemons: what is taken, what is refused, and who finds a liar out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use potluck_node::api::answers::{RolledBack, VerifiedKind};
use potluck_node::api::ask::{AskBases, AskChannels};
use potluck_node::api::lineage::Shown;
use potluck_node::api::proto::{BaseAdd, BaseShow, Eval, Publish, Verify};
use potluck_node::api::{channel, proto};
use potluck_node::home::Home;
use potluck_node::store::{ChannelRecord, Halt, Store};
use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::Change;
use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_tests::forged::{self, Draft, Weights};
use potluck_tests::kit::{Answer, Program, Up, text, train_adapter};

use crate::program;

/// A steward with a channel on `tiny`, and adapters that it has published itself.
pub struct Scene {
    pub program: Program,
    pub root: tempfile::TempDir,
    network: String,
    pub genesis: BaseId,
    pub channel: ManifestId,
    pub adapters: Vec<ManifestId>,
}

impl Scene {
    pub fn new(network: &str, adapters: u64) -> Self {
        let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
        let steward = root.path().join("steward");
        let genesis: BaseId = program.answer::<BaseShow>(&steward, &["base", "show", "tiny"]).base;
        let adapters = (0..adapters)
            .map(|n| {
                let folder = root.path().join(format!("adapter{n}"));
                train_adapter(&program, &steward, &folder, 3 + n);
                publish(&program, &steward, &folder, &format!("skill{n}"))
            })
            .collect();
        let channel = forged::open(&steward, "helpers", genesis, None);
        Self { program, root, network: network.to_owned(), genesis, channel, adapters }
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn steward(&self) -> PathBuf {
        self.home("steward")
    }

    /// The steward knows its channel as `potluck channel open` would have left it.
    pub fn take_as_own(&self) {
        let name = "helpers".parse().expect("a name");
        let record = ChannelRecord { id: self.channel, name, current: None, held: false, audit: false, halted: None };
        let home = Home::open(self.steward()).expect("no daemon runs on it");
        Store::open(&home).expect("opens").set_channel(record).expect("room");
    }

    pub fn up(&self, name: &str, bootstrap: &[&str]) -> Up {
        self.program.up(&self.home(name), &self.network, bootstrap)
    }

    fn inputs(&self, count: usize) -> Vec<(ManifestId, Weight)> {
        self.adapters[..count].iter().map(|id| (*id, Weight(1 << 15))).collect()
    }

    /// A release of the first `height` adapters that fits the one before, and states the truth.
    pub fn draft(&self, height: u32, previous: Option<ManifestId>) -> Draft {
        let inputs = self.inputs(height as usize);
        Draft {
            channel: self.channel,
            height,
            previous,
            change: Change::Release,
            genesis: self.genesis,
            weights: forged::weights(&self.program, &self.steward(), "tiny", &inputs),
            taken: vec![self.adapters[height as usize - 1]],
            revoked: Vec::new(),
            inputs,
        }
    }

    /// Versions 1 to `count`, all of them true.
    pub fn versions(&self, count: u32) -> Vec<ManifestId> {
        (1..=count).fold(Vec::new(), |mut made, height| {
            made.push(forged::version(&self.steward(), &self.draft(height, made.last().copied())));
            made
        })
    }

    pub fn follow(&self, home: &Path, more: &[&str]) -> Answer {
        let channel = self.channel.to_string();
        self.program.run(home, ["channel", "follow", &channel].iter().chain(more))
    }

    pub fn update(&self, home: &Path) -> Answer {
        self.program.run(home, ["channel", "update", "helpers", "--timeout", "5"])
    }

    pub fn shown(&self, home: &Path) -> Shown {
        self.program.answer::<channel::Show>(home, &["channel", "show", "helpers"])
    }
}

pub fn publish(program: &Program, home: &Path, folder: &Path, name: &str) -> ManifestId {
    program.answer::<Publish>(home, &["publish", &text(folder), "--name", name, "--base", "tiny"]).manifest
}

/// Asks again until the answer is wanted: news travels by itself, and nobody says when it has come.
pub fn until(what: &str, mut ask: impl FnMut() -> Option<Answer>) -> Answer {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < Duration::from_secs(60) {
        match ask() {
            Some(answer) => return answer,
            None => last = Some(start.elapsed()),
        }
    }
    panic!("{what} did not happen within {last:?}")
}

#[test]
fn a_follower_has_the_version_for_the_price_of_its_adapters() {
    let scene = Scene::new("follow", 2);
    let program = &scene.program;
    let made = scene.versions(2);
    let weights = scene.draft(2, None).weights;
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&steward.address]);
    let followed = scene.follow(&home, &[]);
    assert_eq!((followed.code, followed.json["height"].as_u64()), (0, Some(2)), "{followed:#?}");
    assert_eq!(followed.json["base"], weights.base.to_string());
    let adapters: u64 = scene.adapters.iter().map(|id| shard_bytes(program, &scene.steward(), id)).sum();
    let fetched = followed.json["fetched_bytes"].as_u64().expect("a number");
    assert!(fetched > 0 && fetched <= adapters + (64 << 10), "{fetched} of {adapters}");

    let version = VerifiedKind::Manifest(KindTag::Version);
    let verified = program.answer::<Verify>(&home, &["verify", &made[1].to_string()]);
    assert_eq!((verified.kind, verified.base), (version, Some(weights.base)));
    for reference in [made[0].to_string(), "helpers".to_owned(), weights.base.to_string()] {
        assert_eq!(program.answer::<Verify>(&home, &["verify", &reference]).kind, version, "{reference}");
    }
    let again = scene.update(&home);
    assert_eq!((again.code, again.json["fetched_bytes"].as_u64()), (0, Some(0)), "{again:#?}");
    let listed = program.answer::<AskChannels>(&home, &["channel", "list"]).channels;
    assert_eq!(listed[0].height, Some(2), "{listed:#?}");
}

/// Bytes of an adapter's files.
fn shard_bytes(program: &Program, home: &Path, id: &ManifestId) -> u64 {
    program.answer::<proto::Show>(home, &["show", &id.to_string()]).bytes
}

#[test]
fn a_version_is_a_base_live_folded_and_exported() {
    let scene = Scene::new("as-base", 1);
    let program = &scene.program;
    let made = scene.versions(1);
    let weights = scene.draft(1, None).weights;
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &["--name", "mine"]).code, 0);
    follower.stop();
    steward.stop();

    let rows = scene.root.path().join("adapter0.jsonl");
    let eval = |base: &str| program.answer::<Eval>(&home, &["eval", "--base", base, "--data", &text(&rows)]).loss;
    let (live, genesis) = (eval("mine"), eval("tiny"));
    assert!((live - genesis).abs() > 1e-6, "the adapters do something");
    assert_eq!(program.answer::<AskBases>(&home, &["base", "list"]).bases.len(), 1, "nothing was folded");

    let out = scene.root.path().join("exported");
    let exported = program.answer::<channel::Export>(&home, &["channel", "export", "mine", "--out", &text(&out)]);
    assert_eq!(exported.digest, weights.digest);
    let added = program.answer::<BaseAdd>(&home, &["base", "add", &text(&out), "--name", "exported"]);
    assert_eq!(added.base, weights.base, "the folder is the version");
    assert!((eval("exported") - live).abs() < 1e-4);
    let twice = program.run(&home, ["channel", "export", "mine", "--out", &text(&out)]);
    assert_eq!(twice.code, 9, "{twice:#?}");

    // A home that has the version's records and adapters, and folds it once to train on it.
    let trainer = scene.home("trainer");
    let _steward = scene.up("steward", &[]);
    let up = scene.up("trainer", &[&_steward.address]);
    assert_eq!(scene.follow(&trainer, &[]).code, 0);
    let (on, data) = (scene.root.path().join("on"), text(&rows));
    let train = ["train", "--base", "helpers", "--data", &data, "--out", &text(&on), "--max-steps", "2", "--r", "2"];
    program.ok(&trainer, train);
    let bases = program.answer::<AskBases>(&trainer, &["base", "list"]).bases;
    assert!(bases.iter().any(|one| one.base == weights.base), "{bases:#?}");
    let published = program.answer::<Publish>(&trainer, &["publish", &text(&on), "--name", "on-version"]);
    assert_eq!(published.base, Some(weights.base));
    // The follower has no folder of that version: the shapes of genesis are enough to check an adapter for it.
    let follower = scene.up("follower", &[&up.address]);
    let forgotten = scene.home("third");
    let third = scene.up("third", &[&up.address, &follower.address]);
    assert_eq!(scene.follow(&forgotten, &[]).code, 0);
    let pulled = program.run(&forgotten, ["pull", &published.manifest.to_string()]);
    assert_eq!(pulled.code, 0, "{pulled:#?}");
    drop((third, made));
}

#[test]
fn going_back_is_held_until_an_update_is_asked_for() {
    let scene = Scene::new("rollback", 2);
    scene.versions(2);
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    let back = |more: &[&str]| {
        let args = [&["channel", "rollback", "helpers"], more].concat();
        match scene.program.answer::<channel::Rollback>(&home, &args) {
            RolledBack::Here(back) => back,
            RolledBack::ForAll(back) => panic!("{back:#?}"),
        }
    };
    let one = back(&[]);
    assert_eq!((one.from, one.height), (2, 1));
    assert!(scene.shown(&home).held);
    assert_eq!(back(&["--to", "0"]).base, scene.genesis);
    assert_eq!(scene.program.run(&home, ["channel", "rollback", "helpers"]).code, 9);
    let updated = scene.update(&home);
    assert_eq!((updated.code, &updated.json["height"]), (0, &2.into()), "{updated:#?}");
    assert!(!scene.shown(&home).held);
    let svg = scene.root.path().join("lineage.svg");
    scene.program.ok(&home, ["channel", "show", "helpers", "--svg", &text(&svg)]);
    let drawn = std::fs::read_to_string(svg).expect("written");
    assert!(drawn.contains("version 2") && drawn.contains("+ skill1 @ 0.5"), "{drawn}");
}

/// Must-show 5.
#[test]
fn a_wrong_digest_is_found_by_one_auditor_and_refused_by_three_followers() {
    let scene = Scene::new("wrong-digest", 2);
    let one = forged::version(&scene.steward(), &scene.draft(1, None));
    let steward = scene.up("steward", &[]);
    let names = ["f1", "f2", "f3"];
    let followers: Vec<Up> = names.iter().map(|name| scene.up(name, &[&steward.address])).collect();
    for name in names {
        assert_eq!(scene.follow(&scene.home(name), &[]).code, 0, "{name}");
    }
    steward.stop();
    let lie = Weights { digest: FoldDigest(Digest::of(b"a lie")), base: BaseId(Digest::of(b"a lie")) };
    let two = forged::version(&scene.steward(), &Draft { weights: lie, ..scene.draft(2, Some(one)) });
    let steward = scene.up("steward", &[&followers[0].address, &followers[1].address, &followers[2].address]);
    for name in names {
        until("the lie is taken by who does not audit", || {
            let updated = scene.update(&scene.home(name));
            (updated.json["height"] == 2).then_some(updated)
        });
    }
    let auditor = scene.home("auditor");
    let _auditor = scene.up("auditor", &[&steward.address, &followers[0].address]);
    let found = scene.follow(&auditor, &["--audit"]);
    assert_eq!(found.code, 4, "{found:#?}");
    assert!(found.stderr.contains(&two.to_string()) && found.stderr.contains("halted"), "{found:#?}");
    for name in names.into_iter().chain(["auditor"]) {
        let home = scene.home(name);
        let refused = until("a follower obeys", || {
            let updated = scene.update(&home);
            (updated.code == 4).then_some(updated)
        });
        assert!(refused.stderr.contains(&two.to_string()), "{refused:#?}");
        let shown = scene.shown(&home);
        let proof = shown.halted.as_ref().map(|halted| halted.proof);
        assert!(matches!(proof, Some(Halt::Mismatch { version, .. }) if version == two), "{shown:#?}");
        assert_eq!(shown.height, if name == "auditor" { 0 } else { 1 }, "{name}: {shown:#?}");
    }
    let verified = scene.program.run(&auditor, ["verify", &two.to_string()]);
    assert_eq!(verified.code, 4, "{verified:#?}");
}

#[test]
fn two_versions_for_one_height_halt_whoever_sees_them() {
    let scene = Scene::new("two", 2);
    let one = forged::version(&scene.steward(), &scene.draft(1, None));
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    until("the first version is in force", || {
        let updated = scene.update(&home);
        (updated.json["height"] == 1).then_some(updated)
    });
    steward.stop();
    let inputs = vec![(scene.adapters[1], Weight::ONE)];
    let weights = forged::weights(&scene.program, &scene.steward(), "tiny", &inputs);
    let other = Draft { inputs, taken: vec![scene.adapters[1]], weights, ..scene.draft(1, None) };
    let other = forged::version(&scene.steward(), &other);
    let _steward = scene.up("steward", &[&follower.address]);
    let halted = until("the follower halts", || {
        let updated = scene.update(&home);
        (updated.code == 4).then_some(updated)
    });
    for id in [one, other] {
        assert!(halted.stderr.contains(&id.to_string()), "{halted:#?}");
    }
    let shown = scene.shown(&home);
    assert_eq!((shown.height, shown.halted.is_some()), (1, true), "{shown:#?}");
    // Who comes later is told by the proof, if by nobody else.
    let late = scene.home("late");
    let _late = scene.up("late", &[&follower.address]);
    let refused = scene.follow(&late, &[]);
    assert_eq!(refused.code, 4, "{refused:#?}");
}

/// F18(g): what is newest is only as new as the last word of the steward.
#[test]
fn a_follower_sees_when_the_steward_was_last_heard_from() {
    let scene = Scene::new("last-heard", 0);
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    let connected = scene.shown(&home).steward_heard.expect("it is connected");
    follower.stop();
    steward.stop();
    let alone = scene.shown(&home).steward_heard.expect("what it announced is known");
    assert!(alone <= connected && alone > 0, "{alone} {connected}");
    let listed = scene.program.answer::<AskChannels>(&home, &["channel", "list"]).channels;
    assert_eq!(listed[0].steward_heard, Some(alone), "the list says it too");
}
