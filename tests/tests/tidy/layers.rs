//! Who may depend on whom.
//!
//! ```text
//! protocol <- trainer <- node <- tests
//! protocol <- node
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::sources;

/// Each crate with those of ours that it may name.
const EDGES: [(&str, &[&str]); 4] = [
    ("potluck-protocol", &[]),
    ("potluck-trainer", &["potluck-protocol"]),
    ("potluck-node", &["potluck-protocol", "potluck-trainer"]),
    ("potluck-tests", &["potluck-node", "potluck-protocol", "potluck-trainer"]),
];

/// What a crate must not name, at its beginning: `libp2p` forbids `libp2p-swarm` too.
const FORBIDDEN: [(&str, &[&str], &[&str]); 3] = [
    (
        "potluck-protocol",
        &["tokio", "async", "futures", "libp2p", "candle", "sled", "memmap2", "tempfile", "rand", "getrandom", "clap"],
        &["libp2p-identity"],
    ),
    (
        "potluck-trainer",
        &["tokio", "async", "futures", "libp2p", "sled", "interprocess", "directories", "clap", "rand", "getrandom"],
        &[],
    ),
    ("potluck-node", &["candle", "gemm"], &[]),
];

/// Dependencies of each crate by its manifest, whatever their kind.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(sources::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a name").to_owned();
    let of = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().expect("a list").iter();
        (text(&package["name"]), dependencies.map(|dependency| text(&dependency["name"])).collect())
    };
    metadata["packages"].as_array().expect("a list").iter().map(of).collect()
}

#[test]
fn the_crates_depend_on_each_other_in_one_direction() {
    let manifests = manifests();
    let crates: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    assert_eq!(crates, EDGES.iter().map(|(name, _)| *name).collect(), "the crates of the workspace");
    for (name, allowed) in EDGES {
        let ours = manifests[name].iter().filter(|other| other.starts_with("potluck"));
        let wrong: Vec<_> = ours.filter(|other| !allowed.contains(&other.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}: docs/architecture.md says who may");
    }
}

#[test]
fn no_crate_names_what_belongs_elsewhere() {
    let manifests = manifests();
    for (name, forbidden, except) in FORBIDDEN {
        let named = manifests[name].iter().filter(|other| !except.contains(&other.as_str()));
        let wrong: Vec<_> = named.filter(|other| forbidden.iter().any(|start| other.starts_with(start))).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

/// The manifests cannot forbid the standard library.
#[test]
fn protocol_and_trainer_stay_away_from_the_world() {
    let pure = ["std::fs", "std::net", "std::env", "std::process", "std::thread", "std::time", "SystemTime", "Instant"];
    let blocking = ["std::net", "std::env", "process::Command", "async fn", ".await"];
    for source in sources::all() {
        let banned: &[&str] = match source.path.split('/').next() {
            Some("protocol") => &pure,
            Some("trainer") => &blocking,
            _ => &[],
        };
        for (line, code) in &source.code {
            let found = banned.iter().find(|word| code.contains(**word));
            assert!(found.is_none(), "{}:{line}: {:?} does not belong in this crate", source.path, found);
        }
    }
}

/// Opening one maps its files, and whoever cuts a mapped file short ends the process: the worker's, never the daemon's.
#[test]
fn the_daemon_opens_no_model() {
    for source in sources::all() {
        if !source.path.starts_with("node/src/") || source.path.starts_with("node/src/worker/jobs/") {
            continue;
        }
        // Of the worker's jobs the daemon calls two functions that open nothing of a person's.
        let harmless = ["worker::jobs::describe_tiny;", "worker::jobs::rows::measured_length;"];
        let opens = |code: &str| code.contains("Base::open") || code.contains("worker::jobs::");
        let wrong = |code: &str| opens(code) && !harmless.iter().any(|call| code.ends_with(call));
        let opened = source.code.iter().find(|(_, code)| wrong(code.trim_end()));
        assert!(opened.is_none(), "{}: {:?}: ask the worker, or `app/shapes.rs`", source.path, opened);
    }
}

/// An exit code is for scripts. What is decided by one inside is decided by the error that it was made of.
#[test]
fn no_part_decides_by_an_exit_code() {
    for source in sources::all() {
        if !source.path.starts_with("node/src/app/") || source.path == "node/src/app/failures.rs" {
            continue;
        }
        let asks =
            |code: &str| ["kind == Kind::", "kind != Kind::", "failure.kind"].iter().any(|way| code.contains(way));
        let decided = source.code.iter().find(|(_, code)| asks(code));
        assert!(decided.is_none(), "{}: {:?}: match on an error of `app/errors.rs`", source.path, decided);
    }
}
