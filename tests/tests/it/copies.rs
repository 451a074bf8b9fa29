//! Copies and restores: a home that was put back, run twice or killed while it published harms nobody and signs nothing
//! twice.

use potluck_node::home::Home;
use potluck_node::store::{ChannelRecord, Store};
use potluck_tests::forged;
use potluck_tests::kit::copy_folder;
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
    let record = ChannelRecord {
        id: scene.channel,
        name: "helpers".parse().expect("a name"),
        current: None,
        held: false,
        audit: false,
        halted: None,
    };
    Store::open(&Home::open(&home).expect("free")).expect("whole").set_channel(record).expect("room");
    copy_folder(&home, &backup);
    let made = scene.versions(2);
    let steward = scene.up("steward", &[]);
    let follows = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&follower, &[]).json["height"], 2);
    steward.stop();
    std::fs::remove_dir_all(&home).expect("there");
    std::fs::rename(&backup, &home).expect("there");

    // Alone it cannot know, and does not know of any version.
    assert_eq!(scene.shown(&home)["height"], 0);
    let _steward = scene.up("steward", &[&follows.address]);
    let adapter = scene.adapters[0].to_string();
    let revoked = scene.program.ok(&home, ["channel", "revoke", "helpers", &adapter]);
    assert_eq!((revoked["height"].as_u64(), revoked["adapters"].as_u64()), (Some(3), Some(1)), "{revoked}");
    let taken = until("the third version", || Some(scene.update(&follower)).filter(|one| one.json["height"] == 3));
    assert_eq!(taken.json["version"], revoked["version"], "it is not halted: no height was signed twice");
    let second: potluck_protocol::id::ManifestId = forged::id(&revoked["version"]);
    assert!(!made.contains(&second));
}
