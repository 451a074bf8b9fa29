//! What people and disks hand in that is wrong, at the command line: a clear error with its exit code, nothing written
//! under a final name, no panic. The parsers' own attacks stand beside the parsers.

use std::fs;
use std::path::{Path, PathBuf};

use potluck_tests::kit::{Answer, Program, text, train_adapter};

use crate::program;

/// A command that must fail with a code, name a cause, and say what to do.
#[track_caller]
fn refused(answer: &Answer, code: i32, says: &str) {
    assert_eq!(answer.code, code, "{answer:#?}");
    assert!(answer.stderr.contains(says), "`{says}` is not in {answer:#?}");
    assert!(!answer.stderr.contains("panicked"), "{answer:#?}");
    assert_eq!(answer.json["schema"], "potluck.error/1");
    assert_eq!(answer.json["code"], code);
}

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

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.path("home"), args)
    }

    fn train(&self, rows: &[u8]) -> Answer {
        let data = self.path("rows.jsonl");
        fs::write(&data, rows).expect("writable");
        let out = self.path("out");
        let answer =
            self.run(&["train", "--base", "tiny", "--data", &text(&data), "--out", &text(&out), "--max-steps", "2"]);
        assert!(answer.code == 0 || !out.join("adapter_model.safetensors").exists(), "nothing under the final name");
        answer
    }

    /// A PEFT folder that this program wrote.
    fn adapter(&self) -> PathBuf {
        let folder = self.path("adapter");
        train_adapter(&self.program, &self.path("home"), &folder, 3);
        folder
    }

    fn publish(&self, folder: &Path) -> Answer {
        let answer = self.run(&["publish", &text(folder), "--name", "x", "--base", "tiny"]);
        let manifests = fs::read_dir(self.path("home/manifests")).map_or(0, Iterator::count);
        assert_eq!(manifests, usize::from(answer.code == 0), "a manifest is there if and only if it was published");
        answer
    }
}

#[test]
fn rows_that_are_no_rows_are_named_by_file_and_line() {
    let bench = Bench::new();
    let good = "{\"prompt\":\"a\",\"completion\":\"b\"}\n";
    let cases: [(Vec<u8>, &str); 6] = [
        (format!("{good}{{\"prompt\":\"a\"\n").into_bytes(), "rows.jsonl:2"),
        (format!("{good}{good}{{\"prompt\":\"a\"}}\n").into_bytes(), "rows.jsonl:3"),
        (format!("{good}[1,2]\n").into_bytes(), "rows.jsonl:2"),
        (format!("{good}{{\"prompt\":1,\"completion\":\"b\"}}\n").into_bytes(), "rows.jsonl:2"),
        ([good.as_bytes(), b"{\"prompt\":\"\xff\",\"completion\":\"b\"}\n"].concat(), "rows.jsonl:2"),
        (Vec::new(), "rows.jsonl"),
    ];
    for (rows, says) in cases {
        refused(&bench.train(&rows), 2, says);
    }
}

#[test]
fn a_row_over_the_length_is_named() {
    let bench = Bench::new();
    let long = format!("{{\"prompt\":\"{}\",\"completion\":\"b\"}}\n", "long ".repeat(1000));
    refused(&bench.train(long.as_bytes()), 2, "rows.jsonl:1");
}

#[test]
fn files_that_are_not_there_are_not_found() {
    let bench = Bench::new();
    let (gone, out) = (text(&bench.path("gone.jsonl")), text(&bench.path("out")));
    refused(&bench.run(&["train", "--base", "tiny", "--data", &gone, "--out", &out]), 3, "gone.jsonl");
    refused(&bench.run(&["eval", "--base", &text(&bench.path("none.gguf")), "--data", &gone]), 3, "none.gguf");
    refused(&bench.run(&["eval", "--base", "nobody", "--data", &gone]), 3, "nobody");
    refused(&bench.run(&["show", "nobody"]), 3, "nobody");
    refused(&bench.run(&["pull", "nobody", "--network", "x", "--listen", "/ip4/127.0.0.1/tcp/0"]), 3, "nobody");
    refused(&bench.run(&["verify", &"0".repeat(64)]), 3, "pull");
}

#[test]
fn damaged_adapters_are_not_published() {
    let bench = Bench::new();
    let good = bench.adapter();
    let model = fs::read(good.join("adapter_model.safetensors")).expect("there");
    let config = fs::read_to_string(good.join("adapter_config.json")).expect("there");
    let header = 8 + u64::from_le_bytes(model[..8].try_into().expect("eight")) as usize;
    let nan = {
        let mut bytes = model.clone();
        bytes[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    };
    let infinite = {
        let mut bytes = model.clone();
        bytes[header..header + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        bytes
    };
    let renamed = String::from_utf8_lossy(&model[..header]).replace("F32", "I32").into_bytes();
    let oversized = [u64::MAX.to_le_bytes().as_slice(), &model[8..]].concat();
    let flipped = {
        let mut bytes = model.clone();
        bytes[20] ^= 0x10;
        bytes
    };
    let cases: [(&str, Vec<u8>, String, i32); 10] = [
        ("truncated", model[..model.len() - 1].to_vec(), config.clone(), 4),
        ("header cut off", model[..100].to_vec(), config.clone(), 4),
        ("oversized header", oversized, config.clone(), 4),
        ("wrongly typed", [renamed, model[header..].to_vec()].concat(), config.clone(), 4),
        ("bit flipped in the header", flipped, config.clone(), 4),
        ("not a number", nan, config.clone(), 4),
        ("infinite", infinite, config.clone(), 4),
        ("another rank", model.clone(), config.replace("\"r\": 4", "\"r\": 5"), 4),
        ("rank beyond bounds", model.clone(), config.replace("\"r\": 4", "\"r\": 100000"), 4),
        ("settings that are no JSON", model.clone(), config[..config.len() / 2].to_owned(), 4),
    ];
    for (name, model, settings, code) in cases {
        let folder = bench.path(&name.replace(' ', "-"));
        fs::create_dir(&folder).expect("new");
        fs::write(folder.join("adapter_model.safetensors"), &model).expect("writable");
        fs::write(folder.join("adapter_config.json"), &settings).expect("writable");
        let answer = bench.publish(&folder);
        assert_eq!(answer.code, code, "{name}: {answer:#?}");
        assert!(!answer.stderr.contains("panicked"), "{name}: {answer:#?}");
    }
    assert_eq!(bench.publish(&good).code, 0, "the good one is");
}

#[test]
fn what_a_person_types_wrong_is_usage() {
    let bench = Bench::new();
    for args in [
        &["publish", "x", "--name", "../up", "--base", "tiny"][..],
        &["generate", "--base", "tiny", "--adapter", "x@heavy", "hello"],
        &["up", "--bootstrap", "not-an-address"],
        &["up", "--network", "a/b"],
        &["train", "--base", "tiny", "--data", "x", "--out", "y", "--r", "0"],
    ] {
        let answer = bench.run(args);
        assert_eq!(answer.code, 2, "{args:?}: {answer:#?}");
    }
    assert_eq!(bench.run(&["no-such-verb"]).code, 2);
}
