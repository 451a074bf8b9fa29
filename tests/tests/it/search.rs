//! Searching what others offer, by every condition, and when nobody answers for what was heard.

use std::path::{Path, PathBuf};

use potluck_tests::bases;
use potluck_tests::kit::{Program, text, train_adapter};
use serde_json::Value;

use crate::program;

struct Bench {
    program: Program,
    root: tempfile::TempDir,
}

impl Bench {
    fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn search(&self, args: &[&str]) -> Value {
        self.program.ok(&self.home("two"), ["search"].iter().chain(args))
    }

    /// Names of what is found, in their order.
    fn names(&self, args: &[&str]) -> Vec<String> {
        let found = self.search(args);
        let results = found["results"].as_array().expect("a list");
        results.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    }
}

/// Waits until the other home has heard of these.
fn hear(bench: &Bench, count: usize) {
    let heard = || bench.search(&[])["heard"].as_u64();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while heard() < Some(count as u64) && std::time::Instant::now() < deadline {}
    assert_eq!(heard(), Some(count as u64));
}

fn publish(bench: &Bench, folder: &Path, name: &str, more: &[&str]) -> Value {
    let folder = text(folder);
    let args = ["publish", &folder, "--name", name].into_iter().chain(more.iter().copied());
    bench.program.ok(&bench.home("one"), args)
}

#[test]
fn offers_are_found_by_every_condition() {
    let bench = Bench { program: program(), root: tempfile::tempdir().expect("a folder") };
    let (adapter, base) = (bench.root.path().join("adapter"), bench.root.path().join("base"));
    train_adapter(&bench.program, &bench.home("one"), &adapter, 3);
    bases::write(&base, &["model.norm.weight"], 1);
    let first = bench.program.up(&bench.home("one"), "search", &[]);
    let rows = format!("loud={}", text(&adapter.with_extension("jsonl")));
    let sql = ["--licence", "Apache-2.0", "--description", "Writes SQL\u{1b}[2J for Postgres", "--evaluate", &rows];
    let id = publish(&bench, &adapter, "sql-helper", &sql)["manifest"].clone();
    publish(&bench, &adapter, "dates", &["--licence", "MIT"]);
    let published = ["publish", "--base", &text(&base), "--name", "small", "--licence", "MIT"].map(str::to_owned);
    let published = bench.program.ok(&bench.home("one"), published);
    let base = published["base"].as_str().expect("an id");

    let second = bench.program.up(&bench.home("two"), "search", &[&first.address]);
    // Of one of them nobody here follows the base.
    hear(&bench, 3);
    assert_eq!(bench.names(&["--kind", "base"]), ["small"]);
    assert_eq!(bench.names(&["postgres", "writes"]), ["sql-helper"]);
    assert_eq!(bench.names(&["DATES"]), ["dates"]);
    let mut mit = bench.names(&["--licence", "mit"]);
    mit.sort();
    assert_eq!(mit, ["dates", "small"]);
    assert_eq!(bench.names(&["--rank", "4"]).len(), 2);
    assert_eq!(bench.names(&["--rank", "5..64"]), [""; 0]);
    assert_eq!(bench.names(&["--eval", "loud>=0"]), ["sql-helper"]);
    assert_eq!(bench.names(&["--eval", "quiet>=0"]), [""; 0]);
    assert_eq!(bench.names(&["--publisher", &first.peer]).len(), 3);
    assert_eq!(bench.names(&["--publisher", &second.peer]), [""; 0]);
    assert_eq!(bench.names(&["--base", "tiny", "--kind", "adapter"]).len(), 2);
    // From now on it is followed, and the start of its id is enough.
    assert_eq!(bench.names(&["--base", &base[..12]]), ["small"]);
    assert_eq!(bench.names(&["--kind", "base"]), ["small"]);
    let limited = bench.search(&["--limit", "1"]);
    assert_eq!((limited["results"].as_array().map(Vec::len), limited["more"].as_u64()), (Some(1), Some(2)));

    let one = bench.search(&["sql-helper"])["results"][0].clone();
    assert_eq!((&one["manifest"], &one["here"], &one["details"]["rank"]), (&id, &Value::from(false), &Value::from(4)));
    assert_eq!(one["details"]["evaluations"][0]["suite"], "loud");
    bench.program.ok(&bench.home("two"), ["pull", id.as_str().expect("an id")]);
    assert_eq!(bench.search(&["sql-helper"])["results"][0]["here"], true);

    // For people: no control character of a stranger's reaches the terminal.
    let mut shown = std::process::Command::new(bench.program.command(&bench.home("two"), ["x"]).get_program());
    let shown = shown.arg("--home").arg(bench.home("two")).arg("search").output().expect("it starts");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("small: potluck base add {}", &base[..12])), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn what_nobody_answers_for_is_shown_by_its_announcement() {
    let bench = Bench { program: program(), root: tempfile::tempdir().expect("a folder") };
    let adapter = bench.root.path().join("adapter");
    train_adapter(&bench.program, &bench.home("one"), &adapter, 3);
    let first = bench.program.up(&bench.home("one"), "silent", &[]);
    let id = publish(&bench, &adapter, "sql-helper", &[])["manifest"].as_str().expect("an id").to_owned();
    let second = bench.program.up(&bench.home("two"), "silent", &[&first.address]);
    let heard = |home: &str| {
        let found = bench.program.ok(&bench.home(home), ["search"]);
        found["heard"].as_u64() == Some(1)
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !heard("two") && std::time::Instant::now() < deadline {}
    first.stop();
    // Started anew it knows what was announced, and nobody is left who holds the manifest.
    second.stop();
    let _second = bench.program.up(&bench.home("two"), "silent", &[]);
    let found = bench.search(&[]);
    assert_eq!((&found["results"][0]["manifest"], &found["results"][0]["details"]), (&Value::from(id), &Value::Null));
    let found = bench.search(&["--rank", "4"]);
    assert_eq!(
        (found["results"].as_array().map(Vec::len), found["unanswered"].as_u64()),
        (Some(0), Some(1)),
        "{found}"
    );
}
