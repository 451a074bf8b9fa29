//! Ports and addresses: a port is one daemon's, an address that can never be of use is refused, one that fails is said once.

use std::fs;
use std::path::Path;

use libp2p::PeerId;
use potluck_tests::kit::Program;
use serde_json::Value;

use crate::channel_follow::until;
use crate::program;

const UP: [&str; 6] = ["up", "--stop-with-input", "--network", "listening", "--listen", "/ip4/127.0.0.1/tcp/0"];

/// Where a daemon listens, without its name.
fn place(address: &str) -> &str {
    address.split("/p2p/").next().expect("it begins with the place")
}

#[test]
fn a_port_that_another_daemon_has_is_refused() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let up = program.up(&first, "listening", &[]);
    let taken = place(&up.address).to_owned();
    for listen in [taken.clone(), taken.replace("127.0.0.1", "0.0.0.0")] {
        let refused = program.run(&second, ["up", "--network", "listening", "--no-upnp", "--listen", &listen]);
        assert_eq!(refused.code, 9, "{refused:#?}");
        assert!(refused.stderr.contains("cannot listen on") && refused.stderr.contains("address already in use"));
    }
    up.stop();
    let again =
        program.up_with(&second, &["up", "--stop-with-input", "--network", "listening", "--listen", &taken], &[]);
    assert_eq!(place(&again.address), taken, "it is free now");
}

#[test]
fn addresses_that_can_never_be_dialled_are_usage_errors() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    let id = PeerId::random();
    for (address, why) in [
        ("/ip4/127.0.0.1/tcp/17934/ws".to_owned(), "`/ws`"),
        ("/ip4/127.0.0.1".to_owned(), "no port"),
        (format!("/p2p/{id}"), "no place"),
        ("127.0.0.1:7740".to_owned(), "not a multiaddress"),
    ] {
        let refused = program.run(&home, UP.iter().chain(&["--bootstrap", &address]));
        assert_eq!(refused.code, 2, "{refused:#?}");
        assert!(refused.stderr.contains(&address) && refused.stderr.contains(why), "{refused:#?}");
        fs::create_dir_all(&home).expect("a folder");
        fs::write(home.join("bootstrap"), format!("# ours\n{address}\n")).expect("writable");
        let refused = program.run(&home, UP);
        assert_eq!(refused.code, 2, "{refused:#?}");
        assert!(refused.stderr.contains("bootstrap line 2") && refused.stderr.contains(&address), "{refused:#?}");
        fs::remove_file(home.join("bootstrap")).expect("there");
    }
}

/// What `status` says of the first bootstrap address, once it is in that state.
fn state(program: &Program, home: &Path, wanted: &str) -> Value {
    let asked = || Some(program.run(home, ["status"])).filter(|one| one.json["bootstrap"][0]["state"] == wanted);
    until(wanted, asked).json["bootstrap"][0].clone()
}

#[test]
fn a_bootstrap_peer_that_cannot_be_reached_is_said_once_and_once_more_when_it_can() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    let log = root.path().join("log");
    let up = program.up(&first, "listening", &[]);
    let address = up.address.clone();
    up.stop();
    let waiting = program.up_logged(&second, &[&UP[..], &["--bootstrap", &address]].concat(), &log);
    let fails = state(&program, &second, "fails");
    assert!(fails["reason"].as_str().is_some_and(|reason| reason.contains("refused")), "{fails}");
    let back = ["up", "--stop-with-input", "--network", "listening", "--listen", place(&address)];
    let _back = program.up_with(&first, &back, &[]);
    state(&program, &second, "works");
    waiting.stop();
    let log = fs::read_to_string(&log).expect("there");
    assert_eq!(log.matches("cannot be reached").count(), 1, "{log}");
    assert_eq!(log.matches("is reached now").count(), 1, "{log}");
    assert!(!log.contains('\u{1b}'), "colours are for terminals: {log}");
}

#[test]
fn who_answers_instead_of_a_bootstrap_peer_is_named() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    let up = program.up(&first, "listening", &[]);
    let other = format!("{}/p2p/{}", place(&up.address), PeerId::random());
    let _looking = program.up(&second, "listening", &[&other]);
    let fails = state(&program, &second, "fails");
    assert!(fails["reason"].as_str().is_some_and(|reason| reason.contains(&up.peer)), "{fails}");
}

/// Two daemons of one key, one of which is told where the other is.
#[test]
fn a_twin_at_a_bootstrap_address_is_noticed_and_nothing_is_published() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let [home, copy] = ["home", "copy"].map(|name| root.path().join(name));
    let adapter = root.path().join("adapter");
    potluck_tests::kit::train_adapter(&program, &home, &adapter, 3);
    potluck_tests::kit::copy_folder(&home, &copy);
    let up = program.up(&home, "listening", &[]);
    let _twin = program.up(&copy, "listening", &[place(&up.address)]);
    let noticed = until("the twin is noticed", || {
        Some(program.run(&copy, ["status"])).filter(|status| status.json["twin"].is_string())
    });
    assert_eq!(noticed.json["peer"], up.peer, "one key");
    let adapter = potluck_tests::kit::text(&adapter);
    let refused = program.run(&copy, ["publish", &adapter, "--base", "tiny", "--name", "x"]);
    assert!(refused.code == 9 && refused.stderr.contains("with this node's key"), "{refused:#?}");
}
