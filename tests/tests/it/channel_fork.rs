//! A channel that goes on from a version of another one whose steward is gone.

use potluck_protocol::channel::Change;
use potluck_protocol::recipe::Weight;
use potluck_tests::forged::{self, Draft};
use potluck_tests::kit::{text, train_adapter};

use crate::channel_follow::Scene;

#[test]
fn a_fork_is_followed_although_the_first_steward_is_gone() {
    let scene = Scene::new("fork", 1);
    let program = &scene.program;
    let made = scene.versions(1);
    let version = scene.draft(1, None).weights;
    let steward = scene.up("steward", &[]);
    let second = scene.home("second");
    let up = scene.up("second", &[&steward.address]);
    assert_eq!(scene.follow(&second, &[]).code, 0);
    steward.stop();
    // The second steward has all that it takes: an adapter for the fork's genesis, which is folded here once.
    let folder = scene.home("onward");
    train_adapter(program, &scene.home("trainer"), &folder, 5);
    std::fs::remove_file(folder.join("potluck.json")).expect("there");
    let adapter = program.ok(&second, ["publish", &text(&folder), "--name", "onward", "--base", "helpers"]);
    assert_eq!(adapter["base"], version.base.to_string());
    let adapter = forged::id(&adapter["manifest"]);
    up.stop();
    let channel = forged::open(&second, "onwards", version.base, Some(made[0]));
    let inputs = vec![(adapter, Weight::ONE)];
    let weights = forged::weights(program, &second, &version.base.to_string(), &inputs);
    let draft = Draft {
        channel,
        height: 1,
        previous: None,
        change: Change::Release,
        genesis: version.base,
        taken: vec![adapter],
        revoked: Vec::new(),
        inputs,
        weights,
    };
    forged::version(&second, &draft);
    let second = scene.up("second", &[]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&second.address]);
    let followed = program.run(&home, ["channel", "follow", &channel.to_string(), "--audit", "--timeout", "20"]);
    assert_eq!((followed.code, &followed.json["base"]), (0, &weights.base.to_string().into()), "{followed:#?}");
    assert_eq!(program.ok(&home, ["verify", "onwards"])["base"], weights.base.to_string());
    let bases = program.ok(&home, ["base", "list"]);
    assert!(bases["bases"].as_array().expect("a list").iter().any(|one| one["base"] == version.base.to_string()));
    // Nothing hangs on the daemon: the drawing says where it came from.
    let shown = program.ok(&home, ["channel", "show", "onwards"]);
    assert_eq!(shown["forked_from"], made[0].to_string());
}
