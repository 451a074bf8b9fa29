//! `potluck train` as a process: watched, refused; what it leaves and what it does not. Stopping it: `stopping.rs`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use potluck_tests::kit::{Answer, Program, text};
use potluck_tests::processes::signal;
use serde_json::Value;

use crate::program;

struct Bench {
    program: Program,
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { program: program(), root: tempfile::tempdir().expect("a folder") };
        let rows = |from: usize, to: usize| -> String {
            (from..to).map(|n| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{}\"}}\n", n * 7 % 100)).collect()
        };
        fs::write(bench.path("rows.jsonl"), rows(0, 40)).expect("writable");
        fs::write(bench.path("held-out.jsonl"), rows(40, 48)).expect("writable");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The arguments of a run into a folder, with others behind them.
    fn args(&self, out: &str, others: &[&str]) -> Vec<String> {
        let [data, out] = ["rows.jsonl", out].map(|name| text(&self.path(name)));
        let args = ["train", "--base", "tiny", "--data", &data, "--out", &out];
        args.iter().chain(others).map(|&arg| arg.to_owned()).collect()
    }

    fn train(&self, out: &str, others: &[&str]) -> Answer {
        self.program.run(&self.path("home"), self.args(out, others))
    }

    /// BLAKE3 of a run's factors.
    fn factors(&self, out: &str) -> blake3::Hash {
        blake3::hash(&fs::read(self.path(out).join("adapter_model.safetensors")).expect("an adapter"))
    }
}

/// Lines of a run's metrics, as far as they are whole.
fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// SIGKILL for the command and its worker, once its metrics have so many lines.
fn kill_after(mut command: Command, metrics: &Path, lines_before: usize) {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("the program starts");
    let limit = Instant::now() + Duration::from_secs(60);
    while lines(metrics) < lines_before && child.try_wait().expect("our child").is_none() {
        assert!(Instant::now() < limit, "no step in a minute");
        // Another process's file cannot be awaited.
        std::thread::sleep(Duration::from_millis(1));
    }
    signal("KILL", &format!("-{}", child.id()));
    child.wait().expect("our child");
}

#[test]
fn a_run_can_be_repeated_from_its_settings_and_gone_on_from() {
    let bench = Bench::new();
    let first =
        bench.train("first", &["--max-steps", "4", "--use-rslora", "--layers-to-transform", "0-1", "--seed", "7"]);
    assert_eq!(first.code, 0, "{first:#?}");
    let settings = text(&bench.path("first/training.json"));
    let [data, out] = ["rows.jsonl", "again"].map(|name| text(&bench.path(name)));
    let again = ["train", "--base", "tiny", "--data", &data, "--out", &out, "--config", &settings];
    bench.program.ok(&bench.path("home"), again);
    assert_eq!(bench.factors("again"), bench.factors("first"));
    let record: Value =
        serde_json::from_slice(&fs::read(bench.path("again/potluck.json")).expect("a record")).expect("JSON");
    assert_eq!((record["steps"].as_u64(), record["version"].is_string()), (Some(4), true));

    let from = text(&bench.path("first"));
    let [data, out] = ["rows.jsonl", "more"].map(|name| text(&bench.path(name)));
    let more = [
        "train",
        "--base",
        "tiny",
        "--data",
        &data,
        "--out",
        &out,
        "--from",
        &from,
        "--train",
        "a",
        "--max-steps",
        "3",
    ];
    bench.program.ok(&bench.path("home"), more);
    assert_ne!(bench.factors("more"), bench.factors("first"));
}

#[track_caller]
fn refused(answer: &Answer, code: i32, says: &[&str]) {
    assert_eq!(answer.code, code, "{answer:#?}");
    for says in says {
        assert!(answer.stderr.contains(says), "`{says}` is not in {answer:#?}");
    }
    assert!(!answer.stderr.contains("panicked"), "{answer:#?}");
}

#[test]
fn what_cannot_be_trained_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let held_out = text(&bench.path("held-out.jsonl"));
    refused(&bench.train("x", &["--target-modules", "nothing"]), 2, &["`nothing`", "q_proj"]);
    refused(&bench.train("x", &["--target-modules", "(?=x)"]), 2, &["no regular expression"]);
    refused(&bench.train("x", &["--layers-to-transform", "99"]), 2, &["layer 99"]);
    refused(&bench.train("x", &["--train", "a"]), 2, &["--from REF"]);
    refused(&bench.train("x", &["--eval-every", "2"]), 2, &["--held-out"]);
    refused(&bench.train("x", &["--held-out", &held_out, "--keep", "best"]), 2, &["--eval-every"]);
    refused(&bench.train("x", &["--from", "nobody"]), 3, &["nobody"]);
    fs::write(bench.path("wrong.json"), "{\"rank\": 4}").expect("writable");
    let [data, out, wrong] = ["rows.jsonl", "x", "wrong.json"].map(|name| text(&bench.path(name)));
    let answer = ["train", "--base", "tiny", "--data", &data, "--out", &out, "--config", &wrong];
    refused(&bench.program.run(&bench.path("home"), answer), 2, &["wrong.json", "rank", "training.json"]);
    assert!(!bench.path("x").exists() && !bench.path("x.run").exists());
}

#[test]
fn a_run_that_is_all_warm_up_is_remarked_on() {
    let bench = Bench::new();
    for (steps, warmup, remarked) in [("2", "2", true), ("2", "10", true), ("2", "1", false), ("2", "0", false)] {
        let out = format!("{steps}-{warmup}");
        let trained = bench.train(&out, &["--max-steps", steps, "--warmup-steps", warmup]);
        assert_eq!(trained.code, 0, "{trained:#?}");
        let says = format!("all {steps} steps are warm-up (--warmup-steps {warmup})");
        assert_eq!(trained.stderr.contains(&says), remarked, "{trained:#?}");
    }
}

/// A rate that breaks everything: the step and the rows are named, and no broken state is kept.
#[test]
fn a_loss_that_is_not_finite_names_the_step_and_the_rows() {
    let bench = Bench::new();
    let answer = bench.train("x", &["--learning-rate", "1e30", "--warmup-steps", "0", "--checkpoint-every", "1"]);
    refused(&answer, 4, &["step 2", "rows.jsonl:", "--learning-rate"]);
    assert!(!bench.path("x").exists());
    assert!(!bench.path("x.run/last.checkpoint").exists());
    assert_eq!(lines(&bench.path("x.run/metrics.jsonl")), 1);
}

#[test]
fn the_state_of_another_run_is_refused_with_what_differs() {
    let bench = Bench::new();
    let command = bench.program.command(&bench.path("home"), bench.args("x", &["--checkpoint-every", "1"]));
    kill_after(command, &bench.path("x.run/metrics.jsonl"), 3);
    let kept = fs::read(bench.path("x.run/last.checkpoint")).expect("a checkpoint");
    refused(
        &bench.train("x", &["--weight-decay", "0.5"]),
        9,
        &["other settings (--weight-decay: 0.0 there, 0.5 here)", "remove"],
    );
    fs::write(bench.path("rows.jsonl"), "{\"prompt\":\"p\",\"completion\":\"c\"}\n").expect("writable");
    refused(&bench.train("x", &["--checkpoint-every", "1"]), 9, &["other data"]);
    assert_eq!(fs::read(bench.path("x.run/last.checkpoint")).expect("still there"), kept);
    fs::write(bench.path("x.run/last.checkpoint"), &kept[..kept.len() / 2]).expect("writable");
    refused(&bench.train("x", &["--checkpoint-every", "1"]), 9, &["damaged", "remove"]);
}
