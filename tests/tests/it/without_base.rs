//! Pulling an adapter whose base is not here: refused before a byte comes, or, if a person wants it so, a PEFT folder that
//! was not held against its base, and nothing else.

use std::fs;
use std::path::Path;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::{BaseId, Digest};
use potluck_tests::bases;
use potluck_tests::kit::{Answer, text, train_adapter};
use potluck_tests::planted::{adapter_of, cut_otherwise, plant};

use crate::program;

const MODEL: &str = "adapter_model.safetensors";

#[test]
fn an_adapter_without_its_base_is_a_folder_and_no_more() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| text(&root.path().join(name));
    let [one, two] = ["one", "two"].map(|name| root.path().join(name));
    bases::write(&root.path().join("base"), &["model.norm.weight"], 1);
    let (data, base) = (path("rows.jsonl"), path("base"));
    fs::write(&data, "{\"prompt\":\"a\",\"completion\":\"b\"}\n").expect("writable");
    let train = ["train", "--base", &base, "--data", &data, "--out", &path("own"), "--max-steps", "1", "--r", "2"];
    program.ok(&one, train);
    let publisher = program.up(&one, "without", &[]);
    let published = program.ok(&one, ["publish", &path("own"), "--name", "own"]);
    let id = published["manifest"].as_str().expect("an id").to_owned();
    let _puller = program.up(&two, "without", &[&publisher.address]);
    let run = |args: &[&str]| -> Answer { program.run(&two, args) };

    let refused = run(&["pull", &id]);
    assert_eq!(refused.code, 11, "{refused:#?}");
    let hint = refused.json["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("potluck base add PATH") && hint.contains("--without-base --out DIR"), "{hint}");
    assert_eq!(program.ok(&two, ["store", "stat"])["shard_bytes"], 0, "nothing was fetched for it");
    assert_eq!(run(&["pull", &id, "--without-base"]).code, 2, "it needs a folder of the person's");

    let out = path("out");
    let pulled = run(&["pull", &id, "--without-base", "--out", &out]);
    assert_eq!(pulled.code, 0, "{pulled:#?}");
    assert_eq!(pulled.json["not_held_against"], published["base"], "{pulled:#?}");
    let exported = one.join("adapters").join(&id);
    program.ok(&one, ["generate", "--base", &base, "--adapter", "own", "--max-new-tokens", "1", "a"]);
    for file in [MODEL, "adapter_config.json"] {
        let bytes = |folder: &Path| fs::read(folder.join(file)).expect("there");
        assert_eq!(bytes(Path::new(&out)), bytes(&exported), "{file}");
    }
    // Here it stays what it is: not checked.
    assert_eq!(run(&["generate", "--base", "tiny", "--adapter", &id, "a"]).code, 3);
    assert_eq!(run(&["merge", "--base", "tiny", &id, &id, "--out", &path("merged")]).code, 3);
    assert_eq!(run(&["verify", &id]).code, 11);

    program.ok(&two, ["base", "add", &base]);
    let checked = run(&["pull", &id, "--out", &path("checked")]);
    assert_eq!((checked.code, checked.json["not_held_against"].is_null()), (0, true), "{checked:#?}");
    assert_eq!(checked.json["fetched_bytes"], 0, "what came before is here");
}

/// Whole, signed and not cut by the rule: its publisher's fault, which needs no base to be seen.
#[test]
fn a_cut_that_is_not_the_rules_is_seen_without_the_base() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, folder) = (root.path().join("home"), root.path().join("adapter"));
    train_adapter(&program, &home, &folder, 3);
    let (publisher, base) = (Keypair::generate(), BaseId(Digest::of(b"a base that is not here")));
    let mut manifest = adapter_of(&home, &folder, base, &publisher);
    let good = plant(&home, &manifest, &publisher, false).to_string();
    cut_otherwise(&home, &folder, &mut manifest);
    let bad = plant(&home, &manifest, &publisher, false).to_string();
    let pull = |id: &str, out: &str| {
        let out = text(&root.path().join(out));
        program
            .run(&home, ["pull", id, "--without-base", "--out", &out, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp"])
    };
    let taken = pull(&good, "good");
    assert_eq!((taken.code, taken.json["not_held_against"].clone()), (0, base.to_string().into()), "{taken:#?}");
    let noted = fs::read_to_string(root.path().join("good/potluck.json")).expect("its note");
    assert!(noted.contains(&base.to_string()), "{noted}");
    let refused = pull(&bad, "bad");
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.stderr.contains("is not cut by the rule"), "{refused:#?}");
    assert!(!root.path().join("bad").exists());
}

/// The flag is a leave, not an order: where the base is here, the adapter is held against it as always.
#[test]
fn a_base_that_is_here_is_used() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    train_adapter(&program, &home, &root.path().join("adapter"), 3);
    let published = program.ok(&home, ["publish", &text(&root.path().join("adapter")), "--name", "three"]);
    let up = program.up(&home, "leave", &[]);
    let id = published["manifest"].as_str().expect("an id");
    let pulled = program.ok(&home, ["pull", id, "--without-base", "--out", &text(&root.path().join("out"))]);
    assert!(pulled["not_held_against"].is_null(), "{pulled}");
    up.stop();
}
