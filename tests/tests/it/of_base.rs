//! An adapter and a base that do not belong together: every verb that takes both refuses them by their ids, with one code
//! and one message, before a shape is looked at. `node/src/app/adapters/of_base.rs` lists the verbs.

use std::fs;
use std::path::{Path, PathBuf};

use potluck_tests::bases;
use potluck_tests::kit::{Answer, Program, text, train_adapter};

use crate::program;

/// A home with an adapter of `tiny`, published and as a folder, and another base of the same shapes.
struct Bench {
    program: Program,
    root: tempfile::TempDir,
    tiny: String,
    other: String,
}

impl Bench {
    fn new() -> Self {
        let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
        let home = root.path().join("home");
        train_adapter(&program, &home, &root.path().join("adapter"), 3);
        program.ok(&home, ["publish", &text(&root.path().join("adapter")), "--name", "three", "--licence", "MIT"]);
        let base = root.path().join("another base");
        bases::write(&base, &["model.norm.weight"], 1);
        let id = |base: &str| {
            let shown = program.ok(&home, ["base", "show", base]);
            shown["base"].as_str().expect("an id").to_owned()
        };
        let (tiny, other) = (id("tiny"), id(&text(&base)));
        Self { program, root, tiny, other }
    }

    fn path(&self, name: &str) -> String {
        text(&self.root.path().join(name))
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.home(), args)
    }

    /// Refused by the ids of both bases.
    #[track_caller]
    fn refused(&self, adapter: &str, name: &str, args: &[&str]) {
        let answer = self.run(args);
        assert_eq!(answer.code, 11, "{args:?}: {answer:#?}");
        let says = format!("{adapter} is for base {} (tiny), not {} ({name})", &self.tiny[..12], &self.other[..12]);
        assert!(answer.stderr.contains(&says), "{args:?}: `{says}` is not in {answer:#?}");
        assert!(answer.json["error"]["hint"].is_string() && !answer.stderr.contains("shape"), "{answer:#?}");
    }
}

/// Every verb with an adapter by its name and by its folder.
#[test]
fn an_adapter_and_another_base_are_refused_by_every_verb_that_takes_both() {
    let bench = Bench::new();
    let [folder, base, rows] = ["adapter", "another base", "adapter.jsonl"].map(|name| bench.path(name));
    let [out, merged, folded] = ["out", "merged", "folded"].map(|name| bench.path(name));
    // The first that reads the base whole remembers it, under a name made of its folder's.
    let name = "another-base";
    bench.refused(&folder, "another base", &["generate", "--base", &base, "--adapter", &folder, "a"]);
    for (called, adapter) in [(folder.as_str(), folder.as_str()), ("`three`", "three")] {
        bench.refused(called, name, &["generate", "--base", &base, "--adapter", adapter, "a"]);
        bench.refused(called, name, &["eval", "--base", &base, "--adapter", adapter, "--data", &rows]);
        let train = ["train", "--base", &base, "--data", &rows, "--out", &out, "--from", adapter];
        bench.refused(called, name, &train);
        bench.refused(called, name, &["merge", "--base", &base, adapter, adapter, "--out", &merged]);
    }
    bench.refused("`three`", name, &["merge", "--fold", "--base", &base, "three", "--out", &folded]);
    bench.refused(&folder, name, &["publish", &folder, "--name", "x", "--base", &base]);
    let open = ["channel", "open", "main", "--genesis", &base, "--improve", &format!("a={rows}"), "--shards", "1"];
    assert_eq!(bench.run(&open).code, 0);
    bench.refused("`three`", name, &["channel", "propose", "three", "--to", "main"]);
    // The channel has no version: it is its genesis.
    bench.refused("`three`", "main", &["generate", "--base", "main", "--adapter", "three", "a"]);
    for left in [&out, &merged, &folded] {
        assert!(!Path::new(left).exists(), "{left}");
    }
}

/// Neither a note in a stranger's folder nor a name that a message quotes moves the cursor or renames the window.
#[test]
fn what_a_strangers_folder_says_steers_no_terminal() {
    let bench = Bench::new();
    let folder = bench.root.path().join("adapter");
    let note = |name: &str, id: &str| {
        let text = serde_json::json!({ "base": name, "base_id": id }).to_string();
        fs::write(folder.join("potluck.json"), text).expect("writable");
    };
    let steers = |text: &str| text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
    let (evil, unknown) = ("a\u{1b}]0;b\u{7}\n\u{202e}c", "ab".repeat(32));
    note(evil, &unknown);
    let adapter = text(&folder);
    for args in [&["generate", "--base", "tiny", "--adapter", &adapter, "a"][..], &["publish", &adapter, "--name", "x"]]
    {
        let answer = bench.run(args);
        assert!(answer.code != 0 && answer.stderr.contains("a ]0;b"), "{args:?}: {answer:#?}");
        assert!(!steers(&answer.stderr), "{args:?}: {:?}", answer.stderr);
        let message = answer.json["error"]["message"].as_str().expect("a message");
        assert!(!steers(message) && !message.contains('\n'), "{message:?}");
    }
    // What anything else in a failure quotes is made harmless where it is printed.
    let answer = bench.run(&["generate", "--base", "no\u{1b}[2Jthing", "a"]);
    assert!(answer.code != 0 && answer.stderr.contains("no [2Jthing") && !steers(&answer.stderr), "{answer:#?}");
}

/// What is written here says which base it is of, whoever wrote it: a merge, a pull, the home's own copy of an adapter.
#[test]
fn every_folder_that_is_written_here_says_its_base() {
    let bench = Bench::new();
    let [base, merged, pulled] = ["another base", "merged", "pulled"].map(|name| bench.path(name));
    assert_eq!(bench.run(&["merge", "--base", "tiny", "three", "three", "--out", &merged]).code, 0);
    assert_eq!(
        bench.run(&["pull", "three", "--out", &pulled, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp"]).code,
        0
    );
    let id = bench.run(&["show", "three"]).json["manifest"].as_str().expect("an id").to_owned();
    let own = text(&bench.home().join("adapters").join(id));
    bench.refused(&merged, "another base", &["generate", "--base", &base, "--adapter", &merged, "a"]);
    for folder in [&pulled, &own] {
        bench.refused(folder, "another-base", &["generate", "--base", &base, "--adapter", folder, "a"]);
    }
    // So it is published without a word of its base, and as nobody's training.
    let published = bench.run(&["publish", &merged, "--name", "merged"]);
    assert_eq!((published.code, published.json["base"].as_str()), (0, Some(bench.tiny.as_str())), "{published:#?}");
    assert!(bench.run(&["show", "merged"]).json["body"].to_string().contains("\"training\":null"));
}

/// The ids are asked first: a base of another shape altogether gives the same answer.
#[test]
fn shapes_are_not_looked_at_where_the_ids_say_it_all() {
    let bench = Bench::new();
    let file = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/fixtures/gguf/tiny.gguf"));
    let shown = bench.program.ok(&bench.home(), ["base", "show", &file]);
    let other = shown["base"].as_str().expect("an id").to_owned();
    let bench = Bench { other, ..bench };
    bench.refused("`three`", "tiny.gguf", &["generate", "--base", &file, "--adapter", "three", "a"]);
}

#[test]
fn a_folder_that_says_nothing_and_a_view_are_taken() {
    let bench = Bench::new();
    let [silent, base] = ["silent", "another base"].map(|name| bench.path(name));
    fs::create_dir(&silent).expect("new");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        let from = bench.root.path().join("adapter").join(file);
        fs::copy(from, Path::new(&silent).join(file)).expect("there");
    }
    let generate = |adapter: &str| bench.run(&["generate", "--base", &base, "--adapter", adapter, "a"]);
    assert_eq!(generate(&silent).code, 0, "another program's folder is held against the shapes alone");
    assert_eq!(generate("three").code, 11);
    let view = bench.run(&["base", "add", &base, "--view-of", "tiny", "--name", "view"]);
    assert_eq!(view.code, 0, "{view:#?}");
    assert_eq!(generate("three").code, 0, "a view of its base will do to run it");
    let merge = ["merge", "--base", &base, "three", "three", "--out", &bench.path("merged")];
    assert_eq!(bench.run(&merge).code, 11, "and not to make something that states its base");
}
