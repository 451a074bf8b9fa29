//! Silent peers, and announcements of what nobody has: they cost a moment, and withhold nothing.

use std::fs;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::BaseId;
use potluck_tests::bases;
use potluck_tests::forged;
use potluck_tests::kit::{Program, text};
use potluck_tests::silent::Silent;

use crate::channel_follow::{Scene, until};
use crate::program;

/// With the silent peer asked first, "genesis is the newest" was the answer, and exit code 0.
#[test]
fn a_silent_peer_withholds_no_version_and_what_cannot_be_had_is_an_error() {
    let scene = Scene::new("withheld", 1);
    scene.versions(1);
    let sequence = u64::MAX - 1;
    let newer = forged::announcement(&scene.steward(), scene.genesis, KindTag::Version, "helpers", sequence);
    let steward = scene.up("steward", &[]);
    let mirror = scene.up("mirror", &[&steward.address]);
    assert_eq!(scene.follow(&scene.home("mirror"), &[]).json["height"], 1);
    steward.stop();

    let silent = Silent::start("withheld", &mirror.address, &mirror.peer).expect("it starts");
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&silent.address().expect("it listens"), &mirror.address]);
    let followed = scene.follow(&home, &[]);
    assert_eq!((followed.code, &followed.json["height"]), (0, &1.into()), "{followed:#?}");

    // The steward's word that there is more, of which nobody has a byte.
    silent.announce(scene.genesis, newer).expect("it is sent");
    let refused = until("the announcement is heard of", || {
        let updated = scene.update(&home);
        (updated.code != 0).then_some(updated)
    });
    assert_eq!(refused.code, 3, "{refused:#?}");
    for says in ["a newer version was announced and could not be had", "potluck channel update helpers", "version 1"] {
        assert!(refused.stderr.contains(says), "`{says}`: {refused:#?}");
    }
    assert_eq!(scene.shown(&home).height, 1);
}

fn add(program: &Program, home: &std::path::Path, base: &str) -> potluck_tests::kit::Answer {
    program.run(home, ["base", "add", base, "--timeout", "20"])
}

/// Four such announcements were tried one after the other, ten seconds each, and nothing else was.
#[test]
fn publications_that_nobody_has_do_not_deny_a_base() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = |name: &str| root.path().join(name);
    let folder = home("original");
    bases::write(&folder, &["model.norm.weight"], 1);
    let honest = program.up(&home("honest"), "denied", &[]);
    let args = ["publish", "--base", &text(&folder), "--name", "small", "--licence", "MIT"].map(str::to_owned);
    let base = program.ok(&home("honest"), args)["base"].as_str().expect("an id").to_owned();
    let id: BaseId = base.parse().expect("an id");

    let silent = Silent::start("denied", &honest.address, &honest.peer).expect("it starts");
    for key in 0..24 {
        let liar = home(&format!("liar{key}"));
        program.make_home(&liar);
        silent.announce(id, forged::announcement(&liar, id, KindTag::Base, "cheap", 1)).expect("it is sent");
    }
    let _puller = program.up(&home("puller"), "denied", &[&honest.address, &silent.address().expect("it listens")]);
    until("all publications are heard of", || {
        let found = program.run(&home("puller"), ["search", "--kind", "base", "--base", &base]);
        (found.json["heard"].as_u64() == Some(25)).then_some(found)
    });
    let added = add(&program, &home("puller"), &base);
    assert_eq!((added.code, added.json["base"].as_str()), (0, Some(base.as_str())), "{added:#?}");
    assert!(fs::read_dir(home("puller").join("bases")).expect("there").count() > 0);

    // Without the honest one it is said what was announced and what could not be had.
    honest.stop();
    let nobody = "cd".repeat(32);
    let lonely: BaseId = nobody.parse().expect("an id");
    silent.announce(lonely, forged::announcement(&home("liar0"), lonely, KindTag::Base, "cheap", 2)).expect("sent");
    let refused = program.run(&home("puller"), ["base", "add", &nobody, "--timeout", "5"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("nobody handed out its manifest"), "{refused:#?}");
}
