//! What a person sets up about the network: keys, lists, and what a node knows at its next start.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use potluck_tests::kit::Program;

use crate::program;

/// For slow machines.
const PATIENCE: Duration = Duration::from_secs(30);

const UP: [&str; 6] = ["up", "--stop-with-input", "--network", "own", "--listen", "/ip4/127.0.0.1/tcp/0"];

fn peers(program: &Program, home: &Path) -> u64 {
    program.ok(home, ["status"])["peers"].as_u64().expect("a number")
}

fn has_a_peer(program: &Program, home: &Path) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while peers(program, home) == 0 && Instant::now() < deadline {}
    peers(program, home) > 0
}

#[test]
fn nodes_with_one_swarm_key_meet_and_start_again_without_bootstrap() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = |n: usize| root.path().join(format!("home{n}"));
    let made = program.ok(&home(1), ["network", "new-key"]);
    assert_eq!(program.run(&home(1), ["network", "new-key"]).code, 9, "a key is not lost by a second command");
    assert_eq!(program.ok(&home(1), ["network", "show"])["fingerprint"], made["fingerprint"]);
    fs::create_dir_all(home(2)).expect("a folder");
    // With its permissions.
    fs::copy(home(1).join("swarm.key"), home(2).join("swarm.key")).expect("copied");

    let first = program.up_with(&home(1), &UP, &[]);
    fs::write(home(2).join("bootstrap"), format!("# the first\n{}\n", first.address)).expect("writable");
    let second = program.up_with(&home(2), &UP, &[]);
    assert!(has_a_peer(&program, &home(2)));
    let outside = program.up_with(&home(3), &[&UP[..], &["--bootstrap", &first.address]].concat(), &[]);
    second.stop();
    fs::remove_file(home(2).join("bootstrap")).expect("there");
    let _again = program.up_with(&home(2), &UP, &[]);
    assert!(has_a_peer(&program, &home(2)), "it was there before");
    assert_eq!(peers(&program, &home(3)), 0, "it has no key");
    drop(outside);
}

#[test]
fn what_a_person_wrote_wrongly_is_explained() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    let up = |text: &str, file: &str| {
        fs::create_dir_all(&home).expect("a folder");
        fs::write(home.join(file), text).expect("writable");
        let answer = program.run(&home, UP);
        fs::remove_file(home.join(file)).expect("there");
        answer
    };
    for (file, text, says) in
        [("bootstrap", "example.org:7740\n", "bootstrap line 1"), ("allow", "\nnobody\n", "allow line 2")]
    {
        let answer = up(text, file);
        assert!(answer.code == 2 && answer.stderr.contains(says), "{answer:#?}");
    }
    let exposed = up("/key/swarm/psk/1.0.0/\n", "swarm.key");
    assert!(exposed.code == 8 && exposed.stderr.contains("chmod 600"), "{exposed:#?}");
    assert_eq!(program.run(&home, [&UP[..], &["--allow", "me"]].concat()).code, 2);
    assert_eq!(program.run(&home, [&UP[..], &["--dht", "perhaps"]].concat()).code, 2);
}
