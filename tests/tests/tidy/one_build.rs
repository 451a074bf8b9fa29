//! `cargo run --release` and `cargo test --release --workspace` share one build: see docs/decisions/0004-one-build.md.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::sources;

/// Each package with its features, as cargo would build it.
fn features(selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p}\t{f}"])
        .args(selection)
        .current_dir(sources::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let mut packages = BTreeMap::<String, BTreeSet<String>>::new();
    for (package, features) in text.lines().filter_map(|line| line.split_once('\t')) {
        let features = features.trim_end_matches(" (*)").split(',').filter(|feature| !feature.is_empty());
        packages.entry(package.to_owned()).or_default().extend(features.map(str::to_owned));
    }
    packages
}

#[test]
fn the_tests_switch_on_no_feature_that_the_program_lacks() {
    let program = features(&["--package", "potluck-node", "--edges", "normal,build"]);
    let tests = features(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(program.keys().any(|package| package.starts_with("potluck-node ")));
    for (package, features) in &program {
        let more: Vec<_> = tests[package].difference(features).collect();
        assert!(more.is_empty(), "{package} would be built twice: the tests switch on {more:?} too");
    }
}
