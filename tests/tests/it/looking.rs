//! Looking leaves nothing behind: a verb that only looks, on a machine that never ran potluck, makes no home and no key.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use potluck_tests::kit::{Program, answer, text};
use serde_json::Value;

use crate::program;

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Every verb that only looks, with the code that it ends with where there is nothing to look at.
fn verbs(rows: &str) -> Vec<(Vec<&str>, i32)> {
    vec![
        (vec!["status"], 0),
        (vec!["peers"], 5),
        (vec!["base", "list"], 0),
        (vec!["base", "show", "tiny"], 0),
        (vec!["base", "show", "nothing"], 3),
        (vec!["channel", "list"], 0),
        (vec!["search"], 5),
        (vec!["show", ID], 3),
        (vec!["verify", ID], 3),
        (vec!["store", "stat"], 0),
        (vec!["store", "verify"], 0),
        (vec!["network", "show"], 0),
        (vec!["data", "check", rows, "--base", "tiny"], 0),
        (vec!["eval", "--base", "tiny", "--data", rows], 0),
        (vec!["generate", "--base", "tiny", "--max-new-tokens", "1", "a"], 0),
        (vec!["generate", "--base", "tiny", "--adapter", "nobody", "a"], 3),
    ]
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// As a person sees it.
fn said(program: &Program, home: &Path, verb: &str) -> String {
    let bare = program.command(home, [""; 0]);
    let mut command = std::process::Command::new(bare.get_program());
    answer(command.arg("--home").arg(home).arg(verb).output().expect("it starts")).stdout
}

#[test]
fn verbs_that_only_look_make_no_home() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, empty, rows) = (root.path().join("home"), root.path().join("empty"), root.path().join("rows.jsonl"));
    fs::create_dir(&empty).expect("new");
    fs::write(&rows, "{\"prompt\":\"a\",\"completion\":\"b\"}\n").expect("writable");
    for (verb, code) in verbs(&text(&rows)) {
        for home in [&home, &empty] {
            let answer = program.run(home, &verb);
            assert_eq!(answer.code, code, "{verb:?}: {answer:#?}");
            assert!(answer.json.is_object(), "{verb:?}: {answer:#?}");
        }
        assert!(!home.exists(), "{verb:?} made a home");
        assert_eq!(fs::read_dir(&empty).expect("there").count(), 0, "{verb:?} made a home");
    }
}

#[test]
fn the_status_of_no_home_says_so_in_the_shape_of_any_other() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    let none = program.ok(&home, ["status"]);
    assert!(none["peer"].is_null() && none["home"] == text(&home) && none["running"] == false, "{none}");
    assert_eq!(
        said(&program, &home, "status").lines().next(),
        Some(&*format!("no home yet at {}: the first command that stores something creates it", text(&home)))
    );
    program.make_home(&home);
    let made = program.ok(&home, ["status"]);
    assert!(made["peer"].is_string(), "{made}");
    assert_eq!(keys(&none), keys(&made));
}
