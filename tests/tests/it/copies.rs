//! Copies and restores: a home that was put back, run twice or killed while it published harms nobody and signs nothing
//! twice.

use potluck_tests::forged;
use potluck_tests::kit::{Answer, copy_folder};
use potluck_tests::soak::copies;

use crate::channel_follow::{Scene, until};
use crate::program;

/// The soak of that name, in short.
#[test]
fn copied_restored_and_killed_homes_are_nobodys_enemies_and_sign_nothing_twice() {
    let figures = copies::rounds(&program(), 1, 2).expect("every round holds");
    assert_eq!((&figures["rounds_of_each"], &figures["twins_noticed"]), (&2.into(), &2.into()), "{figures}");
}

#[test]
fn a_steward_whose_home_was_restored_goes_on_from_what_it_had_signed() {
    let scene = Scene::new("restored-steward", 2);
    let (home, backup, follower) = (scene.steward(), scene.home("backup"), scene.home("follower"));
    scene.take_as_own();
    copy_folder(&home, &backup);
    let made = scene.versions(2);
    let steward = scene.up("steward", &[]);
    let follows = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&follower, &[]).json["height"], 2);
    steward.stop();
    std::fs::remove_dir_all(&home).expect("there");
    std::fs::rename(&backup, &home).expect("there");

    // Alone it cannot know, and does not know of any version.
    assert_eq!(scene.shown(&home).height, 0);
    let _steward = scene.up("steward", &[&follows.address]);
    let adapter = scene.adapters[0].to_string();
    let revoked = scene.program.ok(&home, ["channel", "revoke", "helpers", &adapter]);
    assert_eq!((revoked["height"].as_u64(), revoked["adapters"].as_u64()), (Some(3), Some(1)), "{revoked}");
    let taken = until("the third version", || Some(scene.update(&follower)).filter(|one| one.json["height"] == 3));
    assert_eq!(taken.json["version"], revoked["version"], "it is not halted: no height was signed twice");
    let second: potluck_protocol::id::ManifestId = forged::id(&revoked["version"]);
    assert!(!made.contains(&second));
}

/// A steward with version 1 in force, whom a follower knows, and a copy of the home as it is then. Nothing runs.
fn copied_at_version_1(network: &str) -> Scene {
    let scene = Scene::new(network, 1);
    scene.take_as_own();
    scene.versions(1);
    let steward = scene.up("steward", &[]);
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&scene.home("follower"), &[]).json["height"], 1);
    // The steward has seen the follower: otherwise its home would not say that anybody is to be asked.
    until("the follower is there", || {
        let peers = scene.program.run(&scene.steward(), ["peers"]);
        (!peers.json["peers"].as_array().expect("a list").is_empty()).then_some(peers)
    });
    // The steward goes first: who is here then is remembered.
    steward.stop();
    follower.stop();
    copy_folder(&scene.steward(), &scene.home("backup"));
    scene
}

impl Scene {
    /// The steward's home becomes what its copy is.
    fn restore(&self) {
        std::fs::remove_dir_all(self.steward()).expect("there");
        copy_folder(&self.home("backup"), &self.steward());
    }

    fn revoke(&self) -> Answer {
        self.program.run(&self.steward(), ["channel", "revoke", "helpers", &self.adapters[0].to_string()])
    }

    fn rollback_for_all(&self) -> Answer {
        self.program.run(&self.steward(), ["channel", "rollback", "helpers", "--to", "0", "--publish"])
    }
}

/// F19, step by step as the review did it: the copy would sign another version 2, and end the channel for everybody.
#[test]
fn a_restored_steward_rolls_back_on_top_of_what_it_had_signed_and_the_channel_goes_on() {
    let scene = copied_at_version_1("restored-rollback");
    let follower = scene.home("follower");
    let steward = scene.up("steward", &[]);
    let follows = scene.up("follower", &[&steward.address]);
    let revoked = until("the revocation, once a peer is there", || Some(scene.revoke()).filter(|one| one.code == 0));
    assert_eq!(revoked.json["height"], 2, "{revoked:#?}");
    until("the follower has version 2", || Some(scene.update(&follower)).filter(|one| one.json["height"] == 2));
    steward.stop();
    scene.restore();

    // Alone it cannot know what it has signed, and signs nothing.
    let alone = scene.rollback_for_all();
    assert_eq!(alone.code, 5, "{alone:#?}");
    assert!(alone.stderr.contains("nothing was signed") && alone.stderr.contains("--offline"), "{alone:#?}");
    let _steward = scene.up("steward", &[&follows.address]);
    let back = until("a peer is there", || Some(scene.rollback_for_all()).filter(|one| one.code == 0));
    assert_eq!((&back.json["height"], &back.json["back_to"]), (&3.into(), &0.into()), "{back:#?}");
    let taken = until("the third version", || Some(scene.update(&follower)).filter(|one| one.json["height"] != 2));
    assert_eq!((taken.code, &taken.json["version"]), (0, &back.json["version"]), "not halted: {taken:#?}");
    for home in [&follower, &scene.steward()] {
        let shown = scene.shown(home);
        assert_eq!((shown.height, shown.halted.is_none()), (3, true), "{shown:#?}");
    }
}

/// A version of its own that it hears of and cannot have may be the one that it is about to sign another of.
#[test]
fn a_restored_steward_signs_nothing_while_an_own_version_is_announced_that_nobody_hands_out() {
    let scene = copied_at_version_1("restored-unobtained");
    let steward = scene.up("steward", &[]);
    let bystander = scene.up("bystander", &[&steward.address]);
    let revoked = until("the revocation, once a peer is there", || Some(scene.revoke()).filter(|one| one.code == 0));
    let second = revoked.json["version"].as_str().expect("an id").to_owned();
    // It hears the announcement, since it knows the base, and follows no channel.
    until("the bystander hears of it", || {
        Some(scene.program.run(&scene.home("bystander"), ["show", &second])).filter(|one| one.code == 0)
    });
    steward.stop();
    scene.restore();
    let _steward = scene.up("steward", &[&bystander.address]);
    let refused = until("the own version is heard of", || {
        Some(scene.rollback_for_all()).filter(|one| one.stderr.contains(&second))
    });
    assert_eq!(refused.code, 5, "{refused:#?}");
    assert!(refused.stderr.contains("nothing was signed"), "{refused:#?}");
    assert!(scene.shown(&scene.steward()).height < 2, "nothing was signed");
}

/// F18(c): the state of a steward is never begun anew in silence.
#[test]
fn a_home_without_its_state_log_is_refused_by_every_verb_and_says_what_to_type() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    program.make_home(&home);
    let log = home.join("state.log");
    let whole = std::fs::read(&log).expect("there");
    std::fs::remove_file(&log).expect("there");
    for verb in [&["status"][..], &["store", "verify"], &["store", "rebuild"], &["channel", "list"], &["up"]] {
        let refused = program.run(&home, verb);
        assert_eq!(refused.code, 4, "{verb:?}: {refused:#?}");
        assert!(refused.stderr.contains("state.log is missing"), "{verb:?}: {refused:#?}");
        assert!(refused.stderr.contains("potluck store rebuild --salvage-state"), "{verb:?}: {refused:#?}");
        assert!(!log.exists(), "{verb:?}: nothing came in its place");
    }
    std::fs::write(&log, whole).expect("writable");
    program.ok(&home, ["store", "verify"]);
    std::fs::remove_file(&log).expect("there");
    program.ok(&home, ["store", "rebuild", "--salvage-state"]);
    program.ok(&home, ["store", "verify"]);
}
