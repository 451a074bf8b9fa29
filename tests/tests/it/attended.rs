//! A daemon answers small questions whatever else it does, one that does not is told of, and every signal ends it in order.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};

use potluck_tests::kit::Program;

use crate::channel_follow::until;
use crate::program;

/// Looks for what nobody has, for ever; what it says goes to a file.
fn looks_for_ever(program: &Program, home: &Path, log: &Path) -> Child {
    let nothing = "ab".repeat(32);
    // The longest that can be typed.
    let mut command = program.command(home, ["base", "add", &nothing, "--timeout", "18446744073709551615"]);
    let log = File::options().create(true).append(true).open(log).expect("writable");
    command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts")
}

fn says(log: &Path, what: &str) {
    let start = std::time::Instant::now();
    while !fs::read_to_string(log).expect("there").contains(what) {
        assert!(start.elapsed().as_secs() < 60, "{what}: {}", fs::read_to_string(log).expect("there"));
    }
}

#[test]
fn small_questions_are_answered_beside_any_number_of_long_requests() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, log) = (root.path().join("home"), root.path().join("log"));
    let up = program.up(&home, "attended", &[]);
    let mut long: Vec<Child> = (0..40).map(|_| looks_for_ever(&program, &home, &log)).collect();
    says(&log, "waiting: 32 other requests");
    assert_eq!(program.ok(&home, ["status"])["running"], true);
    assert_eq!(program.run(&home, ["peers"]).code, 0);
    for child in &mut long {
        assert_eq!(child.try_wait().expect("our child"), None, "it waits as long as it was told to");
        child.kill().expect("it runs");
        child.wait().expect("our child");
    }
    until("the places are free again", || {
        Some(program.run(&home, ["base", "show", "tiny"])).filter(|one| one.code == 0)
    });
    up.stop();
}

#[test]
fn a_daemon_that_does_not_answer_is_told_of() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, log) = (root.path().join("home"), root.path().join("log"));
    let up = program.up(&home, "attended", &[]);
    let mut long = looks_for_ever(&program, &home, &log);
    says(&log, "looking for base");
    up.signal("STOP");
    let status = program.run(&home, ["status"]);
    assert_eq!(status.code, 5, "{status:#?}");
    assert!(status.stderr.contains(&format!("(process {}) does not answer", up.pid())), "{status:#?}");
    // Who waits for something long is told as well, and goes on when the daemon does.
    says(&log, "has not answered for");
    up.signal("CONT");
    assert_eq!(program.ok(&home, ["status"])["running"], true);
    assert_eq!(long.try_wait().expect("our child"), None);
    long.kill().expect("it runs");
    long.wait().expect("our child");
}

#[test]
fn every_signal_that_ends_a_daemon_ends_it_in_order() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let mut up = program.up(root.path(), "attended", &[]);
        assert!(root.path().join("daemon.sock").exists());
        up.signal(signal);
        assert_eq!(up.ended(), Some(0), "{signal}");
        assert!(!root.path().join("daemon.sock").exists(), "{signal}: the socket is removed when it ends in order");
    }
}
