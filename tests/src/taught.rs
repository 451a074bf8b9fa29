//! What tests of channels need: adapters of the demo's skills, trained briefly on `tiny`, honest ones and altered ones,
//! and rows that judge them.

use std::fs;
use std::path::{Path, PathBuf};

use potluck_protocol::safetensors::Layout;
use potluck_trainer::synthetic::Example;
use potluck_trainer::synthetic::corpus::Corpus;
use potluck_trainer::synthetic::skills::{self, Split};
use serde_json::{Value, json};

use crate::kit::{Program, text};

/// The skills that are taught.
pub const SKILLS: [&str; 4] = ["dates", "json", "units", "roman"];

/// Rows of each suite.
const HELD_OUT: usize = 48;

const SEED: u64 = 5;

/// Adapters, and rows that none of them was trained on.
#[derive(Debug)]
pub struct Skills {
    folder: tempfile::TempDir,
}

impl Skills {
    /// Trains an adapter for each skill, beside rows of what `tiny` can do already.
    pub fn train(program: &Program) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        for (index, name) in SKILLS.into_iter().enumerate() {
            let skill = skills::by_name(name).expect("one of the demo's");
            // Little of the new beside much of the old, at a low rate: it learns some, and leaves the rest alone.
            let mut rows = skill.samples(SEED, 60, Split::Train);
            rows.extend(Corpus::new(100 + index as u64).take(420));
            write(&folder.path().join(format!("{name}.train")), rows);
            write(&folder.path().join(format!("{name}.jsonl")), skill.samples(SEED, HELD_OUT, Split::HeldOut));
            let [data, out] = [format!("{name}.train"), name.to_owned()].map(|name| text(&folder.path().join(name)));
            let settings = [
                "--r",
                "4",
                "--lora-alpha",
                "8",
                "--learning-rate",
                "4e-4",
                "--max-steps",
                "30",
                "--batch-size",
                "16",
                "--weight-decay",
                "5",
                "--dtype",
                "f32",
            ];
            let args = ["train", "--base", "tiny", "--data", &data, "--out", &out].into_iter().chain(settings);
            program.ok(&home, args);
        }
        write(&folder.path().join("corpus.jsonl"), Corpus::new(99).take(2 * HELD_OUT));
        Self { folder }
    }

    /// The PEFT folder of a skill's adapter.
    pub fn adapter(&self, skill: &str) -> PathBuf {
        self.folder.path().join(skill)
    }

    /// Rows of a skill that were not trained on; of what is to be kept for `corpus`.
    pub fn rows(&self, suite: &str) -> PathBuf {
        self.folder.path().join(format!("{suite}.jsonl"))
    }

    /// A skill's adapter with every value of its B changed, under a name of its own.
    pub fn altered(&self, skill: &str, name: &str, change: impl Fn(f32) -> f32) -> PathBuf {
        let (from, to) = (self.adapter(skill), self.folder.path().join(name));
        fs::create_dir_all(&to).expect("writable");
        fs::copy(from.join("adapter_config.json"), to.join("adapter_config.json")).expect("there");
        let mut bytes = fs::read(from.join("adapter_model.safetensors")).expect("there");
        let layout = Layout::parse(&bytes, bytes.len()).expect("ours");
        for tensor in layout.tensors.iter().filter(|tensor| tensor.name.ends_with("lora_B.weight")) {
            for value in bytes[tensor.begin..tensor.end].as_chunks_mut::<4>().0 {
                *value = change(f32::from_le_bytes(*value)).to_le_bytes();
            }
        }
        fs::write(to.join("adapter_model.safetensors"), bytes).expect("writable");
        to
    }

    /// Publishes a folder from a home; the adapter's id.
    pub fn publish(&self, program: &Program, home: &Path, folder: &Path, name: &str) -> String {
        let folder = text(folder);
        let args = ["publish", &folder, "--base", "tiny", "--name", name, "--licence", "MIT"];
        string(&program.ok(home, args), "manifest")
    }

    /// The arguments that open a channel on `tiny` which is to learn all skills and to keep the corpus.
    pub fn open(&self, name: &str, shards: usize) -> Vec<String> {
        let mut args: Vec<String> = ["channel", "open", name, "--genesis", "tiny"].map(str::to_owned).to_vec();
        args.extend(["--shards".to_owned(), shards.to_string()]);
        for suite in SKILLS {
            args.extend(["--improve".to_owned(), format!("{suite}={}", text(&self.rows(suite)))]);
        }
        args.extend(["--keep".to_owned(), format!("corpus={}", text(&self.rows("corpus")))]);
        args
    }
}

/// A field that is a text.
pub fn string(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {value}")).to_owned()
}

fn write(path: &Path, rows: impl IntoIterator<Item = Example>) {
    let line = |row: Example| format!("{}\n", json!({ "prompt": row.prompt, "completion": row.completion }));
    fs::write(path, rows.into_iter().map(line).collect::<String>()).expect("writable");
}
