//! `potluck merge` without a fold, and `potluck bench merge`: what comes out, and what is refused with which code.

use std::fs;
use std::path::PathBuf;

use potluck_tests::kit::{Answer, Program, text};
use potluck_trainer::bench::merge::make;
use potluck_trainer::peft;
use serde_json::Value;

use crate::program;

/// A home, and adapters for `tiny` that nobody trained.
struct Bench {
    program: Program,
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { program: program(), root: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn adapter(&self, name: &str, rank: usize, seed: u64) -> String {
        let base = potluck_trainer::tiny::base().expect("the base inside the program");
        make(&self.path(name), base.architecture(), rank, seed).expect("writable");
        text(&self.path(name))
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.path("home"), args)
    }

    /// Merges on `tiny` into a folder of that name.
    fn merge(&self, out: &str, args: &[&str]) -> Answer {
        let out = text(&self.path(out));
        self.run(&[&["merge", "--base", "tiny", "--out", &out], args].concat())
    }

    /// The same refused: nothing is written.
    #[track_caller]
    fn refused(&self, code: i32, says: &str, args: &[&str]) {
        let answer = self.merge("refused", args);
        assert_eq!(answer.code, code, "{answer:#?}");
        assert!(answer.stderr.contains(says), "`{says}` is not in {answer:#?}");
        let names = fs::read_dir(self.root.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("refused")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn number(answer: &Answer, field: &str) -> f64 {
    answer.json[field].as_f64().unwrap_or_else(|| panic!("`{field}` of {answer:#?}"))
}

#[test]
fn every_method_makes_an_adapter_of_its_rank() {
    let bench = Bench::new();
    let (a, b) = (bench.adapter("a", 4, 1), bench.adapter("b", 2, 2));
    let b = format!("{b}@0.5");
    let base = potluck_trainer::tiny::base().expect("a base");
    let cases: [(&str, &[&str], usize); 4] = [
        ("sum", &[], 6),
        ("refit", &["--rank", "3"], 3),
        ("ties", &["--density", "0.3", "--lambda", "0.8"], 4),
        ("dare", &["--density", "0.5", "--seed", "7", "--rank", "5"], 5),
    ];
    for (method, flags, rank) in cases {
        let answer = bench.merge(method, &[&["--method", method, &a, &b], flags].concat());
        assert_eq!(answer.code, 0, "{answer:#?}");
        assert_eq!((&answer.json["schema"], &answer.json["method"]), (&"potluck.merge/2".into(), &method.into()));
        assert_eq!((&answer.json["rank"], &answer.json["weights"]), (&rank.into(), &serde_json::json!([1.0, 0.5])));
        assert_eq!(number(&answer, "kept_energy") < 1.0, method != "sum", "{answer:#?}");
        let merged = peft::read(&bench.path(method), base.architecture()).expect("an adapter of tiny");
        assert_eq!(merged.config.r, rank);
    }
    let again = bench.merge("sum", &[&a]);
    assert_eq!(again.code, 9, "an adapter that is there is not overwritten: {again:#?}");
    assert!(!again.stderr.contains("merging"), "refused before anything is merged: {again:#?}");
}

/// Rows of the first adapter's own making would need training; any rows show that the loss falls or stays.
#[test]
fn weights_are_chosen_by_the_loss_on_rows() {
    let bench = Bench::new();
    let (a, b) = (bench.adapter("a", 2, 1), bench.adapter("b", 2, 2));
    let rows = bench.path("rows.jsonl");
    fs::write(&rows, "{\"prompt\":\"one and\",\"completion\":\" two\"}\n".repeat(4)).expect("writable");
    let answer = bench.merge("merged", &["--weights-by", &text(&rows), &a, &b]);
    assert_eq!(answer.code, 0, "{answer:#?}");
    let chosen = &answer.json["chosen"];
    let figure = |field: &str| chosen[field].as_f64().unwrap_or_else(|| panic!("`{field}` of {chosen}"));
    assert!(figure("loss") <= figure("given_loss"), "{chosen}");
    assert!((2.0..=34.0).contains(&figure("evaluations")), "{chosen}");
    assert_eq!(answer.json["weights"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_cannot_be_merged_is_refused_and_nothing_is_written() {
    let bench = Bench::new();
    let a = bench.adapter("a", 4, 1);
    bench.refused(2, "required", &[]);
    bench.refused(2, "rank 0", &["--method", "refit", "--rank", "0", &a]);
    bench.refused(2, "rank 1025", &["--method", "refit", "--rank", "1025", &a]);
    bench.refused(2, "--rank can be used only with", &["--rank", "4", &a]);
    bench.refused(2, "density", &["--method", "ties", "--density", "1.5", &a]);
    bench.refused(2, "beyond 1024", &[&format!("{a}@2000")]);
    bench.refused(2, "no other method", &["--fold", "--method", "dare", &a]);
    bench.refused(3, "adapter_config.json", &[&text(&bench.path("nowhere"))]);
    bench.refused(3, "no adapter", &["nobody-published-this"]);
    bench.refused(4, "not finite", &[&damaged(&bench, "nan", f32::NAN)]);
    bench.refused(4, "not finite", &[&format!("{}@1000", damaged(&bench, "huge", f32::MAX))]);
    let other = bench.adapter("other", 2, 3);
    let record = format!(
        r#"{{"base":"x","base_id":"{}","steps":1,"tokens":1,"seed":0,"learning_rate":0.1,"data":"{}"}}"#,
        "11".repeat(32),
        "22".repeat(32)
    );
    fs::write(bench.path("other/potluck.json"), record).expect("writable");
    bench.refused(11, &format!("is for base {} (x), not ", "11".repeat(6)), &[&a, &other]);
    let mut wide = potluck_trainer::tiny::base().expect("a base").architecture().clone();
    wide.hidden_size *= 2;
    make(&bench.path("wide"), &wide, 2, 1).expect("writable");
    bench.refused(11, "this base needs", &[&a, &text(&bench.path("wide"))]);
}

/// An adapter whose last value of B is that one.
fn damaged(bench: &Bench, name: &str, value: f32) -> String {
    let folder = bench.adapter(name, 2, 4);
    let path = bench.path(name).join(peft::MODEL_FILE);
    let mut bytes = fs::read(&path).expect("a file");
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&value.to_le_bytes());
    fs::write(path, bytes).expect("writable");
    folder
}

#[test]
fn a_benchmark_has_one_digest_on_any_number_of_threads() {
    let bench = Bench::new();
    for method in [&["--method", "sum"][..], &["--method", "refit", "--rank-out", "3"], &["--method", "dare"]] {
        let run = |threads: &str| {
            let args = ["bench", "merge", "--base", "tiny", "--adapters", "3", "--rank", "4", "--threads", threads];
            let answer = bench.run(&[&args[..], method].concat());
            assert_eq!((answer.code, &answer.json["schema"]), (0, &"potluck.bench.merge/1".into()), "{answer:#?}");
            assert!(number(&answer, "seconds") > 0.0 && number(&answer, "kept_energy") > 0.0, "{answer:#?}");
            answer
        };
        let one = run("1");
        let exact = method == ["--method", "sum"];
        assert_eq!(number(&one, "error") < 1e-6, exact, "{one:#?}");
        for threads in ["2", "3"] {
            assert_eq!(run(threads).json["digest"], one.json["digest"], "{method:?} on {threads}");
        }
    }
}

/// The bound does not depend on the number of layers, as one module is merged after the other: one shows it.
#[cfg(target_os = "linux")]
#[test]
fn eight_adapters_of_a_7b_shape_take_less_than_150_mb() {
    let bench = Bench::new();
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama-2-7b/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(fixture).expect("the fixture")).expect("JSON");
    config["num_hidden_layers"] = 1.into();
    fs::write(bench.path("config.json"), config.to_string()).expect("writable");
    for method in [&["--method", "sum"][..], &["--method", "refit"]] {
        let shape = text(&bench.path("config.json"));
        let args = ["bench", "merge", "--shape", &shape, "--adapters", "8", "--rank", "16", "--threads", "2"];
        let answer = bench.run(&[&args[..], method].concat());
        assert_eq!(answer.code, 0, "{answer:#?}");
        assert!(number(&answer, "peak_rss_mb") < 150.0, "{answer:#?}");
    }
}
