//! A base that is given by its path needs no `base add`: the home remembers where it lies, under its id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use potluck_tests::bases;
use potluck_tests::kit::{Answer, Program, answer, text};
use serde_json::Value;

use crate::program;

/// A folder with a blank in its name, a base and rows in it.
struct Bench {
    program: Program,
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { program: program(), root: tempfile::tempdir().expect("a folder") };
        bases::write(&bench.path("my base"), &["model.norm.weight"], 1);
        fs::create_dir(bench.path("my work")).expect("new");
        fs::write(bench.path("rows.jsonl"), "{\"prompt\":\"a\",\"completion\":\"b\"}\n").expect("writable");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, home: &str, args: &[&str]) -> Answer {
        self.program.run(&self.path(home), args)
    }

    fn train(&self, out: &str) -> Answer {
        let [base, rows, out] = ["my base", "rows.jsonl", out].map(|name| text(&self.path(name)));
        self.run("home", &["train", "--base", &base, "--data", &rows, "--out", &out, "--max-steps", "1", "--r", "2"])
    }

    /// What a home knows besides `tiny`.
    fn bases(&self, home: &str) -> Vec<Value> {
        let listed = self.program.ok(&self.path(home), ["base", "list"]);
        listed["bases"].as_array().expect("a list").iter().skip(1).cloned().collect()
    }

    /// As a person runs it: without `--json`, in that folder, by its name on the path.
    fn typed(&self, line: &str) -> Answer {
        let bin = self.path("bin");
        let program = self.program.command(&bin, [""; 0]);
        if !bin.exists() {
            fs::create_dir(&bin).expect("new");
            std::os::unix::fs::symlink(program.get_program(), bin.join("potluck")).expect("writable");
        }
        let path = format!("{}:{}", text(&bin), std::env::var("PATH").expect("a path"));
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.path("my work")).env("PATH", path).stdin(Stdio::null());
        answer(shell.env_remove("POTLUCK_HOME").env_remove("POTLUCK_FAILPOINT").output().expect("a shell"))
    }
}

/// What `train` says comes next works as it stands there, blanks and all.
#[test]
fn the_next_lines_of_a_run_work_as_printed() {
    let bench = Bench::new();
    let home = text(&bench.path("a home"));
    let trained = bench.typed(&format!(
        "potluck --home '{home}' train --base '../my base' --data ../rows.jsonl --out 'my adapter' --max-steps 1 --r 2"
    ));
    assert_eq!(trained.code, 0, "{trained:#?}");
    let next: Vec<_> = trained.stdout.lines().filter_map(|line| line.strip_prefix("next: ")).collect();
    assert_eq!(next.len(), 2, "{trained:#?}");
    for line in next {
        let done = bench.typed(line);
        assert_eq!(done.code, 0, "{line}: {done:#?}");
    }
    let asked = bench.typed(&format!("potluck --home '{home}' generate --base '../my base' --adapter NAME hello"));
    assert_eq!(asked.code, 0, "{asked:#?}");
}

#[test]
fn a_base_of_a_run_is_known_to_publish_and_read_once() {
    let bench = Bench::new();
    let first = bench.train("one");
    assert_eq!(first.code, 0, "{first:#?}");
    assert!(first.stderr.contains("whole, to know which base it is"), "{first:#?}");
    let known = bench.bases("home");
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!((&known[0]["name"], &known[0]["place"]), (&"my-base".into(), &text(&bench.path("my base")).into()));
    let again = bench.train("two");
    assert!(again.code == 0 && !again.stderr.contains("to know which base it is"), "{again:#?}");
    let published = bench.run("home", &["publish", &text(&bench.path("one")), "--name", "one"]);
    assert_eq!((published.code, &published.json["base"]), (0, &known[0]["base"]), "{published:#?}");
    assert_eq!(bench.bases("home"), known);
}

/// The base lies elsewhere, or the home is another one: what is asked for is where it lies, by the same verb.
#[test]
fn a_base_that_is_not_found_is_asked_for_and_remembered_then() {
    let bench = Bench::new();
    let trained = bench.train("one");
    assert_eq!(trained.code, 0, "{trained:#?}");
    let (one, moved) = (text(&bench.path("one")), text(&bench.path("moved")));
    fs::rename(bench.path("my base"), &moved).expect("ours");
    for (home, says) in [("home", "and is gone"), ("other home", "is not known in this home")] {
        let refused = bench.run(home, &["publish", &one, "--name", "x"]);
        assert_eq!(refused.code, 3, "{refused:#?}");
        let hint = refused.json["error"]["hint"].as_str().expect("a hint");
        assert!(refused.stderr.contains(says), "{refused:#?}");
        assert!(hint.contains("potluck publish") && hint.contains("--base PATH") && !hint.contains("pull"), "{hint}");
        let published = bench.run(home, &["publish", &one, "--name", "x", "--base", &moved]);
        assert_eq!(published.code, 0, "{published:#?}");
        assert_eq!(published.stderr.matches("to know which base it is").count(), 1, "read once: {published:#?}");
        let known = bench.bases(home);
        assert_eq!((known.len(), &known[0]["place"]), (1, &moved.clone().into()), "{known:?}");
    }
}

/// Nobody's name is taken away, and what changed is another base.
#[test]
fn a_remembered_base_takes_no_name_and_is_noticed_when_it_changes() {
    let bench = Bench::new();
    bases::write(&bench.path("elsewhere/my-base"), &["model.norm.weight"], 2);
    let other = text(&bench.path("elsewhere/my-base"));
    assert_eq!(bench.run("home", &["base", "add", &other]).code, 0);
    assert_eq!(bench.train("one").code, 0);
    let known = bench.bases("home");
    let of = |place: &str| known.iter().find(|base| base["place"] == place).expect("known");
    let own = text(&bench.path("my base"));
    assert_eq!(of(&other)["name"], "my-base");
    assert_ne!(of(&own)["name"], "my-base");
    bases::write(&bench.path("my base"), &["model.norm.weight"], 3);
    let published = bench.run("home", &["publish", &text(&bench.path("one")), "--name", "x", "--base", &own]);
    assert_eq!(published.code, 11, "{published:#?}");
    assert!(published.stderr.contains("is for base"), "{published:#?}");
}

/// The list says what `base show` says, also of what is remembered, and nothing untrue of what is gone.
#[test]
fn the_list_says_of_every_base_what_it_is() {
    let bench = Bench::new();
    assert_eq!(bench.train("one").code, 0);
    let list = || bench.program.ok(&bench.path("home"), ["base", "list"]);
    let listed = list();
    for base in listed["bases"].as_array().expect("a list") {
        let shown = bench.program.ok(&bench.path("home"), ["base", "show", base["name"].as_str().expect("a name")]);
        for field in ["base", "place", "architecture", "parameters"] {
            assert_eq!(base[field], shown[field], "{field} of {base}");
        }
        assert!(base["parameters"].as_u64() > Some(1000), "{base}");
    }
    fs::remove_file(Path::new(&bench.path("my base")).join("model.safetensors")).expect("ours");
    let gone = &list()["bases"][1];
    assert!(gone["architecture"].is_null() && gone["parameters"].is_null(), "{gone}");
}
