//! One home, one owner: a second daemon, commands beside a daemon, and what a killed one leaves behind.

use potluck_tests::kit::{text, train_adapter};

use crate::program;

#[test]
fn a_second_daemon_on_the_same_home_is_told_who_holds_it() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let first = program.up(root.path(), "second", &[]);
    let second = program.run(root.path(), ["up", "--network", "second", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(second.code, 9, "{second:#?}");
    assert!(second.stderr.contains(&format!("process {}", first.pid())), "{second:#?}");
    assert_eq!(program.ok(root.path(), ["status"])["running"], true, "the first one is well");
}

#[test]
fn commands_work_with_and_without_a_daemon() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    train_adapter(&program, &home, &root.path().join("adapter"), 2);
    let offline = program.ok(&home, ["publish", &text(&root.path().join("adapter")), "--name", "two"]);
    assert_eq!(offline["announced"], false);
    let id = offline["manifest"].as_str().expect("an id");

    let up = program.up(&home, "both", &[]);
    for reference in ["two", id, &id[..10]] {
        assert_eq!(program.ok(&home, ["show", reference])["manifest"], id);
    }
    assert_eq!(program.ok(&home, ["peers"])["peers"].as_array().map(Vec::len), Some(0));
    up.stop();
    assert_eq!(program.ok(&home, ["status"])["running"], false);
    assert_eq!(program.ok(&home, ["show", "two"])["manifest"], id);
    assert_eq!(program.run(&home, ["peers"]).code, 5);
}

#[test]
fn a_killed_daemon_leaves_nothing_in_the_way() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let mut first = program.up(root.path(), "killed", &[]);
    first.kill();
    assert_eq!(program.ok(root.path(), ["status"])["running"], false);
    let second = program.up(root.path(), "killed", &[]);
    assert_eq!(second.peer, first.peer, "the same home is the same peer");
    assert_eq!(program.ok(root.path(), ["status"])["running"], true);
}

#[test]
fn a_home_with_a_long_path_has_a_socket_too() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("a-folder-with-a-very-long-name".repeat(6));
    let _up = program.up(&home, "long", &[]);
    assert_eq!(program.ok(&home, ["status"])["running"], true);
}
