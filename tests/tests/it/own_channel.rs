//! A steward's own channel: warned of few rows when it is opened, and not let go by a slip.

use std::fs;

use potluck_tests::kit::{Program, answer, text};

use crate::program;

/// A home, and a channel on `tiny` with so many rows in so many shards; what opening it said to a person.
fn open(program: &Program, root: &std::path::Path, rows: usize, shards: &str) -> String {
    let file = root.join(format!("{rows}.jsonl"));
    let row = |n: usize| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{n}\"}}\n");
    fs::write(&file, (0..rows).map(row).collect::<String>()).expect("writable");
    let bare = program.command(root, [""; 0]);
    let mut command = std::process::Command::new(bare.get_program());
    let name = format!("with-{rows}");
    command.arg("--home").arg(root.join("home")).args([
        "channel",
        "open",
        &name,
        "--genesis",
        "tiny",
        "--shards",
        shards,
    ]);
    let opened = answer(command.args(["--improve", &format!("say={}", text(&file))]).output().expect("it starts"));
    assert_eq!(opened.code, 0, "{opened:#?}");
    opened.stdout
}

#[test]
fn few_rows_for_a_release_are_warned_of() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let few = open(&program, root.path(), 30, "4");
    assert!(few.contains("warning: 7 rows of say judge a release"), "{few}");
    let many = open(&program, root.path(), 64, "2");
    assert!(!many.contains("warning") && many.contains("64 rows to improve, 32 a release"), "{many}");
}

#[test]
fn a_steward_lets_his_channel_go_only_by_force() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    open(&program, root.path(), 8, "2");
    let channels = || program.ok(&home, ["channel", "list"])["channels"].as_array().expect("a list").clone();
    let id = channels()[0]["channel"].as_str().expect("an id").to_owned();
    let refused = program.run(&home, ["channel", "unfollow", "with-8"]);
    assert_eq!(refused.code, 2, "{refused:#?}");
    let hint = refused.json["error"]["hint"].as_str().expect("a hint");
    assert!(
        hint.contains("channel unfollow with-8 --force") && hint.contains(&format!("channel follow {id}")),
        "{hint}"
    );
    assert_eq!(channels().len(), 1);
    program.ok(&home, ["channel", "unfollow", "with-8", "--force"]);
    assert_eq!(channels().len(), 0);
    // What the hint says holds.
    let up = program.up(&home, "own", &[]);
    program.ok(&home, ["channel", "follow", &id, "--timeout", "5"]);
    up.stop();
    assert_eq!(channels()[0]["own"], true);
}
