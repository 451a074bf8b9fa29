//! What a follower is sent and never takes, and what is said about it.

use potluck_protocol::channel::{Change, Claim};
use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_tests::forged::{self, Draft, Weights};
use potluck_tests::kit::train_adapter;

use crate::channel_follow::{Scene, publish, until};

fn made_up(text: &str) -> ManifestId {
    ManifestId(Digest::of(text.as_bytes()))
}

#[test]
fn versions_that_do_not_belong_are_never_taken() {
    let scene = Scene::new("belongs", 2);
    let one = forged::version(&scene.steward(), &scene.draft(1, None));
    // Another key's, of the same channel, which fits in every other way.
    let stranger = scene.home("stranger");
    let foreign = forged::version(&stranger, &scene.draft(2, Some(one)));
    // The steward's own, of a recipe that does not follow from its change.
    let wrong = Draft { taken: Vec::new(), ..scene.draft(2, Some(one)) };
    let wrong = forged::version(&scene.steward(), &wrong);
    let steward = scene.up("steward", &[]);
    let _stranger = scene.up("stranger", &[&steward.address]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&steward.address]);
    let followed = scene.follow(&home, &[]);
    assert_eq!(followed.code, 4, "{followed:#?}");
    assert!(followed.stderr.contains("version 2 is refused") && followed.stderr.contains("recipe"), "{followed:#?}");
    let shown = scene.shown(&home);
    assert_eq!((shown.height, shown.versions[0].version), (1, one), "{shown:#?}");
    assert!(shown.broken.as_ref().is_some_and(|why| why.contains("recipe")), "{shown:#?}");
    for (id, why) in [(foreign, "signed by"), (wrong, "recipe")] {
        let verified = until("somebody has it", || {
            let verified = scene.program.run(&home, ["verify", &id.to_string()]);
            (verified.code != 3).then_some(verified)
        });
        assert_eq!(verified.code, 4, "{verified:#?}");
        assert!(verified.stderr.contains(why), "{why}: {verified:#?}");
    }
}

#[test]
fn an_adapter_that_is_gone_is_named_and_the_old_version_stays() {
    let scene = Scene::new("gone", 1);
    let one = forged::version(&scene.steward(), &scene.draft(1, None));
    let publisher = scene.home("publisher");
    train_adapter(&scene.program, &publisher, &scene.home("lost"), 9);
    let lost = publish(&scene.program, &publisher, &scene.home("lost"), "lost-skill");
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    // The publisher is seen once, and gone.
    let seen = scene.up("publisher", &[&follower.address]);
    let peer = seen.peer.clone();
    until("the adapter is heard of", || {
        let shown = scene.program.run(&home, ["show", &lost.to_string()]);
        (shown.code == 0).then_some(shown)
    });
    seen.stop();
    steward.stop();
    let mut draft = scene.draft(1, None);
    draft.inputs.push((lost, Weight::ONE));
    let two = Draft { height: 2, previous: Some(one), taken: vec![lost], ..draft };
    forged::version(&scene.steward(), &two);
    let _steward = scene.up("steward", &[&follower.address]);
    let failed = until("the next version is heard of", || {
        let updated = scene.update(&home);
        (updated.code != 0).then_some(updated)
    });
    assert_eq!(failed.code, 3, "{failed:#?}");
    for told in ["lost-skill", &lost.to_string(), &peer, "last seen", "stays in force"] {
        assert!(failed.stderr.contains(told), "{told}: {failed:#?}");
    }
    assert_eq!(scene.shown(&home).height, 1);
}

#[test]
fn a_channel_whose_genesis_nobody_has_is_not_followed() {
    let scene = Scene::new("genesis", 0);
    let nowhere = BaseId(Digest::of(b"nowhere"));
    let channel = forged::open(&scene.steward(), "nowhere", nowhere, None);
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&steward.address]);
    let failed = scene.program.run(&home, ["channel", "follow", &channel.to_string(), "--timeout", "5"]);
    assert_eq!(failed.code, 3, "{failed:#?}");
    assert!(failed.stderr.contains(&nowhere.to_string()) && failed.stderr.contains("base add"), "{failed:#?}");
    assert_eq!(scene.program.ok(&home, ["channel", "list"])["channels"].as_array().map(Vec::len), Some(0));
    let adapter = scene.program.run(&home, ["channel", "follow", &made_up("none").to_string(), "--timeout", "1"]);
    assert_eq!(adapter.code, 3, "{adapter:#?}");
}

#[test]
fn a_proof_that_does_not_hold_is_ignored() {
    let scene = Scene::new("lying-prover", 2);
    let made = scene.versions(2);
    let prover = scene.home("prover");
    let digest = FoldDigest(Digest::of(b"says who"));
    let lies = [
        Claim::Mismatch { version: made[1], digest },
        Claim::Mismatch { version: made_up("no version"), digest },
        Claim::Equivocation { first: made[0], second: made[1] },
    ];
    for claim in lies {
        forged::proof(&prover, scene.genesis, scene.channel, claim);
    }
    let steward = scene.up("steward", &[]);
    let _prover = scene.up("prover", &[&steward.address]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&steward.address]);
    for _ in 0..2 {
        let followed = scene.follow(&home, &["--timeout", "5"]);
        assert_eq!((followed.code, &followed.json["height"]), (0, &2.into()), "{followed:#?}");
    }
    assert_eq!(scene.shown(&home).halted, None);
}

#[test]
fn an_adapter_of_another_base_makes_no_version() {
    let scene = Scene::new("other-base", 1);
    let one = forged::version(&scene.steward(), &scene.draft(1, None));
    // A second channel on the same genesis, whose version the adapter is for.
    let weights = Weights { digest: FoldDigest(Digest::of(b"x")), base: BaseId(Digest::of(b"another base")) };
    let inputs = scene.draft(1, None).inputs;
    let foreign = Draft {
        channel: forged::open(&scene.steward(), "elsewhere", weights.base, None),
        genesis: weights.base,
        weights,
        inputs: inputs.clone(),
        ..scene.draft(1, None)
    };
    forged::version(&scene.steward(), &foreign);
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let _follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    // The channel that it is not for: its genesis is unknown, so nothing of it is taken.
    let elsewhere = scene.program.run(&home, ["channel", "follow", &foreign.channel.to_string(), "--timeout", "5"]);
    assert_eq!(elsewhere.code, 3, "{elsewhere:#?}");
    let shown = scene.shown(&home);
    assert_eq!((shown.versions[0].version, shown.versions[0].change), (one, Change::Release));
}

#[test]
fn a_record_with_one_wrong_byte_is_set_aside_and_fetched_again() {
    let scene = Scene::new("one-byte", 1);
    let made = scene.versions(1);
    let steward = scene.up("steward", &[]);
    let home = scene.home("follower");
    let follower = scene.up("follower", &[&steward.address]);
    assert_eq!(scene.follow(&home, &[]).code, 0);
    follower.stop();
    let path = home.join("manifests").join(made[0].to_string());
    let mut bytes = std::fs::read(&path).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let refused = scene.program.run(&home, ["eval", "--base", "helpers", "--data", "/nowhere.jsonl"]);
    assert_ne!(refused.code, 0, "{refused:#?}");
    assert!(!path.exists(), "it is in quarantine");
    let _follower = scene.up("follower", &[&steward.address]);
    let updated = until("it is fetched again", || {
        let updated = scene.update(&home);
        (updated.code == 0).then_some(updated)
    });
    assert_eq!(updated.json["height"], 1, "{updated:#?}");
    assert_eq!(scene.program.ok(&home, ["verify", &made[0].to_string()])["kind"], "version");
}

/// F5: whoever proposes what does not exist costs a release a moment, and the next one nothing.
#[test]
fn proposals_of_adapters_that_nobody_has_are_missed_together_and_rest_until_later() {
    const MADE_UP: u64 = 8;
    let scene = Scene::new("no-adapters", 0);
    scene.take_as_own();
    let stranger = scene.home("stranger");
    scene.program.make_home(&stranger);
    for n in 0..MADE_UP {
        forged::proposal(&stranger, scene.genesis, scene.channel, made_up(&format!("adapter {n}")));
    }
    let steward = scene.up("steward", &[]);
    let _stranger = scene.up("stranger", &[&steward.address]);
    let release = || scene.program.run(&scene.steward(), ["channel", "release", "helpers", "--timeout", "8"]);
    let mut missed = 0;
    let rested = until("all are heard of, looked for, and left alone", || {
        let answer = release();
        missed += answer.json["missing"].as_u64().unwrap_or_default();
        (answer.json["later"] == MADE_UP).then_some(answer)
    });
    assert_eq!((rested.code, &rested.json["released"]), (0, &false.into()), "{rested:#?}");
    assert_eq!(rested.json["missing"], 0, "they are not looked for again: {rested:#?}");
    assert_eq!(rested.json["verdicts"].as_array().map(Vec::len), Some(0), "{rested:#?}");
    assert!(missed >= MADE_UP, "it is said how many could not be had: {missed}");
}
