//! Nodes that were started by hand: publish, pull, lose the publisher, pull again; and what happens to a merge when
//! shards are withheld.

use std::fs;
use std::path::Path;

use potluck_tests::kit::{Program, text, train_adapter};

use crate::program;

/// Publishes an adapter from a running home; its id.
fn publish(program: &Program, home: &Path, folder: &Path, name: &str) -> String {
    let published = program.ok(home, ["publish", &text(folder), "--name", name, "--licence", "Apache-2.0"]);
    published["manifest"].as_str().expect("an id").to_owned()
}

#[test]
fn an_adapter_outlives_its_publisher() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = |n: usize| root.path().join(format!("home{n}"));
    train_adapter(&program, &home(1), &root.path().join("adapter"), 7);

    let first = program.up(&home(1), "outlive", &[]);
    let second = program.up(&home(2), "outlive", &[&first.address]);
    let third = program.up(&home(3), "outlive", &[&first.address, &second.address]);
    let id = publish(&program, &home(1), &root.path().join("adapter"), "seven");

    for home in [home(2), home(3)] {
        let pulled = program.ok(&home, ["pull", &id]);
        assert!(pulled["fetched_bytes"].as_u64() > Some(0), "{pulled}");
        assert!(Path::new(pulled["folder"].as_str().expect("a path")).join("adapter_model.safetensors").is_file());
    }
    first.stop();

    let fourth = program.up(&home(4), "outlive", &[&second.address]);
    let out = root.path().join("out");
    let pulled = program.ok(&home(4), ["pull", &id, "--out", &text(&out)]);
    let from: Vec<_> = pulled["fetched_from"].as_array().expect("a list").iter().map(|from| &from["peer"]).collect();
    assert!(!from.is_empty() && from.iter().all(|peer| **peer == second.peer || **peer == third.peer), "{pulled}");
    let model = |folder: &Path| fs::read(folder.join("adapter_model.safetensors")).expect("there");
    assert_eq!(model(&out), model(Path::new(program.ok(&home(2), ["pull", &id])["folder"].as_str().expect("a path"))));
    assert_eq!(program.ok(&home(4), ["verify", &id])["manifest"], id.as_str());
    drop(fourth);
}

#[test]
fn a_withheld_shard_makes_the_merge_fail() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    for (home, seed, name) in [(&one, 3, "three"), (&two, 5, "five")] {
        train_adapter(&program, home, &root.path().join(name), seed);
    }
    let own = publish(&program, &two, &root.path().join("five"), "five");
    let withheld = publish(&program, &one, &root.path().join("three"), "three");
    remove_largest_shard(&one);

    let first = program.up(&one, "withheld", &[]);
    let _second = program.up(&two, "withheld", &[&first.address]);
    let pulled = program.run(&two, ["pull", &withheld, "--timeout", "5"]);
    assert_eq!(pulled.code, 6, "{pulled:#?}");

    let out = root.path().join("merged");
    let merge = |adapters: &[&str]| {
        let out = text(&out);
        let args: Vec<_> = ["merge", "--base", "tiny", "--fold", "--out", &out]
            .iter()
            .chain(adapters)
            .map(|arg| arg.to_string())
            .collect();
        program.run(&two, args)
    };
    let failed = merge(&[&own, &withheld]);
    assert_eq!(failed.code, 3, "{failed:#?}");
    assert!(failed.stderr.contains("potluck pull"), "{failed:#?}");
    assert!(!out.exists(), "nothing is written under the final name");
    // What is missing is the withheld adapter and nothing else.
    assert_eq!(merge(&[&own]).code, 0);
}

/// The content of an adapter is larger than its tables and settings.
fn remove_largest_shard(home: &Path) {
    let folders = fs::read_dir(home.join("shards")).expect("a store").map(|entry| entry.expect("readable").path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).expect("readable"));
    let largest =
        files.map(|entry| entry.expect("readable")).max_by_key(|entry| entry.metadata().expect("readable").len());
    fs::remove_file(largest.expect("a shard").path()).expect("ours");
}
