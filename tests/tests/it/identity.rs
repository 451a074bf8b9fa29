//! Bases by their weights: one file or three, two homes; adapters stay with their base; rows stay at home.

use std::fs;
use std::path::{Path, PathBuf};

use potluck_protocol::safetensors::{Layout, TensorView};
use potluck_tests::kit::{Program, text, train_adapter};
use serde_json::{Map, Value, json};

use crate::program;

/// A base of the shape of `tiny` and other weights: one adapter folded in. Its folder, and the adapter's id.
fn other_base(program: &Program, home: &Path, root: &Path) -> (PathBuf, String) {
    let (adapter, base) = (root.join("folded-in"), root.join("other-base"));
    train_adapter(program, home, &adapter, 11);
    let published = program.ok(home, ["publish", &text(&adapter), "--name", "eleven"]);
    let id = published["manifest"].as_str().expect("an id").to_owned();
    let folded = program.ok(home, ["merge", "--base", "tiny", "--fold", "--out", &text(&base), &id]);
    let recipe = folded["recipe"].as_str().expect("an id");
    assert_eq!(program.ok(home, ["verify", recipe])["digest"], folded["digest"], "rebuilt from genesis");
    let added = program.ok(home, ["base", "add", &text(&base)]);
    assert_eq!(added["base"], folded["base"], "the fold said which base its folder is");
    (base, id)
}

/// The same tensors over three files with the index that Hugging Face folders have, in another order.
fn split(base: &Path, out: &Path) {
    fs::create_dir(out).expect("new");
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(base.join(name), out.join(name)).expect("copied");
    }
    let bytes = fs::read(base.join("model.safetensors")).expect("there");
    let layout = Layout::parse(&bytes, bytes.len()).expect("ours");
    let mut map = Map::new();
    for part in 0..3 {
        let name = format!("model-{:05}-of-00003.safetensors", part + 1);
        let tensors: Vec<_> = layout.tensors.iter().rev().skip(part).step_by(3).collect();
        fs::write(out.join(&name), safetensors(&tensors, &bytes)).expect("written");
        map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), Value::from(name.as_str()))));
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    fs::write(out.join("model.safetensors.index.json"), index.to_string()).expect("written");
}

fn safetensors(tensors: &[&TensorView], bytes: &[u8]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for tensor in tensors {
        let begin = data.len();
        data.extend_from_slice(&bytes[tensor.begin..tensor.end]);
        let dtype = format!("{:?}", tensor.dtype);
        let entry = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()] });
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

#[test]
fn one_file_and_three_files_are_one_base_in_two_homes() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    let (whole, parts) = (other_base(&program, &one, root.path()).0, root.path().join("three-files"));
    split(&whole, &parts);
    let first = program.ok(&one, ["base", "add", &text(&whole)]);
    let second = program.ok(&two, ["base", "add", &text(&parts)]);
    assert_eq!(first["base"], second["base"]);
    assert_ne!(first["base"], program.ok(&one, ["base", "show", "tiny"])["base"]);
}

#[test]
fn an_adapter_for_another_base_is_refused() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    let (other, id) = other_base(&program, &home, root.path());
    program.ok(&home, ["base", "add", &text(&other), "--name", "other"]);
    let published =
        program.run(&home, ["publish", &text(&root.path().join("folded-in")), "--name", "x", "--base", "other"]);
    assert_eq!(published.code, 11, "{published:#?}");
    for fold in [&["--fold"][..], &[]] {
        let out = root.path().join("merged");
        let args = ["merge", "--base", "other", "--out", &text(&out), &id].map(str::to_owned);
        let merged = program.run(&home, args.iter().map(String::as_str).chain(fold.iter().copied()));
        assert_eq!(merged.code, 11, "{merged:#?}");
        assert!(!out.exists(), "nothing under the final name");
    }
    // Of another shape altogether: rank and module fit nothing.
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/fixtures/peft");
    let folder = fs::read_dir(foreign).expect("fixtures").map(|entry| entry.expect("readable").path());
    let foreign = folder.filter(|path| path.join("adapter_config.json").is_file()).min().expect("an adapter");
    let published = program.run(&home, ["publish", &text(&foreign), "--name", "x", "--base", "tiny"]);
    assert_eq!(published.code, 4, "{published:#?}");
}

#[test]
fn a_base_whose_files_changed_is_noticed() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let home = root.path().join("home");
    let (base, _) = other_base(&program, &home, root.path());
    program.ok(&home, ["base", "add", &text(&base), "--name", "other"]);
    let model = base.join("model.safetensors");
    let mut bytes = fs::read(&model).expect("there");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&model, bytes).expect("ours");
    let adapter = root.path().join("folded-in");
    let published = program.run(&home, ["publish", &text(&adapter), "--name", "x", "--base", "other"]);
    assert_eq!(published.code, 4, "{published:#?}");
    assert!(published.stderr.contains("have changed"), "{published:#?}");
}

#[test]
fn rows_and_paths_stay_at_home() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, folder) = (root.path().join("home"), root.path().join("a-telling-folder-name"));
    fs::create_dir(&folder).expect("new");
    train_adapter(&program, &home, &folder.join("adapter"), 5);
    program.ok(&home, ["publish", &text(&folder.join("adapter")), "--name", "x"]);
    // What can leave: shards and signed manifests. `say 3:` is a prompt of the training rows.
    let mut seen = 0;
    for entry in walk(&home.join("shards")).into_iter().chain(walk(&home.join("manifests"))) {
        let bytes = fs::read(&entry).expect("readable");
        for secret in ["say 3:", "a-telling-folder-name", &text(root.path())] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "`{secret}` is in {}", entry.display());
        }
        seen += 1;
    }
    assert!(seen >= 3, "a manifest, settings and weights");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
