//! Quantised files as views of a base: held against it, and enough to follow its channels.

use std::path::{Path, PathBuf};

use potluck_protocol::channel::Change;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_tests::forged::{self, Draft, id};
use potluck_tests::kit::text;

use crate::program;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/fixtures").join(name)
}

#[test]
fn a_view_is_held_against_the_base_that_it_is_of() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path();
    let original = program.ok(home, ["base", "add", &text(&fixture("peft/base")), "--name", "original"]);
    let file = text(&fixture("gguf/tiny.gguf"));
    let added = program.ok(home, ["base", "add", &file, "--view-of", "original", "--name", "small"]);
    assert_eq!((&added["view_of"]["base"], &added["view_of"]["checked"]), (&original["base"], &true.into()), "{added}");
    let error = added["view_of"]["farthest"]["error"].as_f64().expect("a number");
    assert!(error > 0.0 && error < 0.02, "{added}");
    let other = program.run(home, ["base", "add", &file, "--view-of", "tiny", "--name", "small"]);
    assert_eq!(other.code, 11, "{other:#?}");
    let itself =
        program.run(home, ["base", "add", &text(&fixture("peft/base")), "--view-of", "original", "--name", "itself"]);
    assert_eq!(itself.code, 2, "{itself:#?}");
}

#[test]
fn a_quantised_user_follows_and_never_folds() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (steward, home) = (root.path().join("steward"), root.path().join("follower"));
    let added = program.ok(&steward, ["base", "add", &text(&fixture("peft/base")), "--name", "original"]);
    let genesis: BaseId = id(&added["base"]);
    let folder = text(&fixture("peft/adapter"));
    let published = program.ok(&steward, ["publish", &folder, "--name", "skill", "--base", "original"]);
    let adapter: ManifestId = id(&published["manifest"]);
    let channel = forged::open(&steward, "helpers", genesis, None);
    let inputs = vec![(adapter, Weight::ONE)];
    let weights = forged::weights(&program, &steward, "original", &inputs);
    let draft = Draft {
        channel,
        height: 1,
        previous: None,
        change: Change::Release,
        genesis,
        taken: vec![adapter],
        revoked: Vec::new(),
        inputs,
        weights,
    };
    forged::version(&steward, &draft);

    let file = text(&fixture("gguf/tiny.gguf"));
    let view = program.ok(&home, ["base", "add", &file, "--view-of", &genesis.to_string(), "--name", "small"]);
    assert_eq!(view["view_of"]["checked"], false, "{view}");
    let steward = program.up(&steward, "view", &[]);
    let follower = program.up(&home, "view", &[&steward.address]);
    let followed = program.run(&home, ["channel", "follow", &channel.to_string()]);
    assert_eq!((followed.code, &followed.json["height"]), (0, &1.into()), "{followed:#?}");
    follower.stop();
    steward.stop();
    let prompt = |base: &str| {
        let answer = program.ok(&home, ["generate", "--base", base, "--max-new-tokens", "4", "a"]);
        answer["text"].as_str().expect("a text").to_owned()
    };
    prompt("helpers");
    prompt("small");
    assert_eq!(std::fs::read_dir(home.join("bases")).expect("there").count(), 0, "nothing was folded");
    for args in [vec!["verify", "helpers"], vec!["channel", "export", "helpers", "--out", "/nowhere/x"]] {
        let refused = program.run(&home, args);
        assert_eq!(refused.code, 3, "genesis itself is needed: {refused:#?}");
    }
}
