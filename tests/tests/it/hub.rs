//! Bases from the Hugging Face Hub: a small one on loopback, in good and in bad manners.

mod answers;
mod cache;
mod environment;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use potluck_node::hub::VARIABLES;
use potluck_tests::bases;
use potluck_tests::hub::{Asked, COMMIT, Hub, Manner, REPOSITORY, TOKEN};
use potluck_tests::kit::{Answer, Program, answer};

use crate::program;

const MODEL: &str = "model.safetensors";

struct Bench {
    program: Program,
    root: tempfile::TempDir,
    hub: Hub,
}

impl Bench {
    fn new() -> Self {
        let mut files = bases::files(&["model.norm.weight"], 1);
        // What a base does not need is not fetched.
        files.extend([("README.md", vec![b'x'; 100]), ("pytorch_model.bin", vec![0x80]), ("code.py", Vec::new())]);
        Self { program: program(), root: tempfile::tempdir().expect("a folder"), hub: Hub::start(files) }
    }

    /// One whose cache has the base.
    fn filled() -> Self {
        let bench = Self::new();
        let added = bench.add(Manner::Plain);
        assert_eq!(added.code, 0, "{added:#?}");
        bench
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("hf")
    }

    /// A command in an environment that says nothing of a hub but where this one is.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program.command(&self.root.path().join("home"), args);
        for name in VARIABLES {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", self.cache());
        command
    }

    /// With more variables.
    fn run_in(&self, environment: &[(&str, &str)], args: &[&str]) -> Answer {
        answer(self.command(args).envs(environment.iter().copied()).output().expect("the program starts"))
    }

    fn with(&self, endpoint: &str, token: &str, args: &[&str]) -> Answer {
        self.run_in(&[("HF_ENDPOINT", endpoint), ("HF_TOKEN", token)], args)
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.run_in(&[], args)
    }

    fn add(&self, manner: Manner) -> Answer {
        self.hub.behave(manner);
        self.run(&["base", "add", REPOSITORY])
    }

    /// An error with that code that says what it should, and no base.
    #[track_caller]
    fn refused(&self, answer: &Answer, code: i32, says: &str) {
        assert_eq!(answer.code, code, "{answer:#?}");
        assert!(answer.stderr.contains(says) && !answer.stderr.contains("panicked"), "`{says}`: {answer:#?}");
        assert!(!self.repository().join("refs/main").exists(), "nothing is called whole");
    }

    /// Done, and that was said on the way.
    #[track_caller]
    fn done(&self, answer: &Answer, says: &str) {
        assert_eq!(answer.code, 0, "{answer:#?}");
        assert!(answer.stderr.contains(says), "`{says}`: {answer:#?}");
    }

    /// The repository in the cache.
    fn repository(&self) -> PathBuf {
        self.cache().join("hub").join(folder())
    }

    /// A file of the snapshot.
    fn file(&self, name: &str) -> PathBuf {
        snapshot(&self.cache()).join(name)
    }
}

fn folder() -> String {
    format!("models--{}", REPOSITORY.replace('/', "--"))
}

fn snapshot(cache: &Path) -> PathBuf {
    cache.join("hub").join(folder()).join("snapshots").join(COMMIT)
}

#[test]
fn a_base_comes_from_the_hub_and_is_used_by_its_name_there() {
    let bench = Bench::new();
    let added = bench.add(Manner::Plain);
    assert_eq!(added.code, 0, "{added:#?}");
    assert_eq!(added.json["name"], "small");
    let mut names: Vec<_> = fs::read_dir(snapshot(&bench.cache()))
        .expect("the hub's own layout")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names, ["chat_template.jinja", "config.json", MODEL, "tokenizer.json"], "and no pickle");
    for (name, bytes) in bases::files(&["model.norm.weight"], 1) {
        assert_eq!(fs::read(snapshot(&bench.cache()).join(name)).expect("there"), bytes, "{name}");
    }
    // From now on the hub need not answer.
    bench.hub.behave(Manner::Empty);
    for base in [REPOSITORY, "small", &format!("{REPOSITORY}@{COMMIT}")] {
        let generated = bench.run(&["generate", "--base", base, "--max-new-tokens", "2", "hello"]);
        assert_eq!(generated.code, 0, "{base}: {generated:#?}");
    }
    assert!(bench.hub.asked().is_empty(), "a whole snapshot is used as it is");
    assert_eq!(bench.run(&["base", "show", REPOSITORY]).json["name"], REPOSITORY);
}

#[test]
fn redirects_are_followed_and_the_token_stays_with_the_hub() {
    let bench = Bench::new();
    let storage = Hub::start(bases::files(&["model.norm.weight"], 1));
    bench.hub.behave(Manner::Elsewhere(storage.address));
    let added = bench.with(&bench.hub.endpoint(), TOKEN, &["base", "add", REPOSITORY]);
    assert_eq!(added.code, 0, "{added:#?}");
    let stored = storage.asked();
    assert!(stored.len() >= 2 && stored.iter().all(|asked| asked.token.is_none()), "{stored:#?}");
    assert!(bench.hub.asked().iter().all(|asked| asked.token.is_some()));
}

#[test]
fn a_transfer_that_breaks_off_is_gone_on_with() {
    let bench = Bench::new();
    let broken = |times| Manner::BreaksOff { file: MODEL, after: 1_000_000, times };
    // More often than one command tries: the next one goes on.
    let failed = bench.add(broken(9));
    bench.refused(&failed, 6, "goes on from what is here");
    assert!(failed.stderr.contains("3000000 of"), "{failed:#?}");
    let added = bench.add(broken(1));
    assert_eq!(added.code, 0, "{added:#?}");
    let ranges: Vec<_> = bench.hub.asked().into_iter().filter(|asked| asked.path.ends_with(MODEL)).collect();
    let ranges: Vec<_> = ranges.iter().filter_map(|asked| asked.range.as_deref()).collect();
    assert_eq!(ranges, ["bytes=0-0", "bytes=3000000-", "bytes=4000000-"]);
    assert_eq!(fs::read(snapshot(&bench.cache()).join(MODEL)).expect("there"), bases::model(&["model.norm.weight"], 1));
}

#[test]
fn a_server_without_ranges_will_do() {
    let bench = Bench::new();
    bench.refused(&bench.add(Manner::BreaksOff { file: MODEL, after: 1_000_000, times: 9 }), 6, "broke off");
    let added = bench.add(Manner::NoRanges);
    assert_eq!(added.code, 0, "begun anew: {added:#?}");
}

#[test]
fn a_name_is_judged_before_anything_comes() {
    let bench = Bench::new();
    bench.hub.behave(Manner::Plain);
    for (args, says) in [
        (&["base", "add", REPOSITORY, "--name", "deadbeef"][..], "`deadbeef` cannot be a name"),
        (&["base", "add", "somebody/tiny"], "give one with --name"),
        (&["base", "add", "somebody/20261130"], "the repository gives no name"),
    ] {
        bench.refused(&bench.run(args), 2, says);
    }
    assert!(bench.hub.asked().is_empty());
    let added = bench.run(&["base", "add", REPOSITORY, "--name", "mine"]);
    bench.done(&added, "");
    assert_eq!(added.json["name"], "mine");
}

#[test]
fn what_is_not_there_and_what_has_a_gate_is_said() {
    let bench = Bench::new();
    bench.refused(&bench.add(Manner::Empty), 3, "base add BASE-ID");
    bench.refused(&bench.add(Manner::Gated), 8, &format!("ask for access at {}/{REPOSITORY}", bench.hub.endpoint()));
    let opened = bench.with(&bench.hub.endpoint(), TOKEN, &["base", "add", REPOSITORY]);
    assert_eq!(opened.code, 0, "{opened:#?}");
}

#[test]
fn an_unreachable_hub_names_the_other_ways() {
    let bench = Bench::new();
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    for (endpoint, args) in [
        (format!("http://{nobody}"), &["base", "add", REPOSITORY][..]),
        (format!("http://{nobody}"), &["generate", "--base", REPOSITORY, "hello"]),
        (format!("http://me:secret@{nobody}"), &["base", "add", REPOSITORY]),
    ] {
        let failed = bench.with(&endpoint, "", args);
        bench.refused(&failed, 5, &format!("the hub at http://{nobody} cannot be reached"));
        assert!(!format!("{failed:?}").contains("secret"), "{failed:#?}");
        for way in
            ["HF_ENDPOINT", "--base PATH", "potluck search --kind base", "potluck base add BASE-ID", "potluck pull ID"]
        {
            assert!(failed.stderr.contains(way), "`{way}`: {failed:#?}");
        }
    }
}

#[test]
fn a_server_that_lies_gets_nowhere() {
    let bench = Bench::new();
    let size = bases::model(&[], 1).len();
    bench.refused(
        &bench.add(Manner::Longer { file: MODEL, by: 10 }),
        6,
        &format!("after {size} of {} bytes", size + 10),
    );
    fs::remove_dir_all(bench.cache()).expect("ours");
    bench.refused(&bench.add(Manner::Overflows(MODEL)), 4, "more than its");
    fs::remove_dir_all(bench.cache()).expect("ours");
    let large = bench.add(Manner::Longer { file: "config.json", by: 1 << 40 });
    ["`config.json` has", "at most", "a smaller model"].iter().for_each(|says| bench.refused(&large, 11, says));
    bench.refused(&bench.add(Manner::Damaged(MODEL)), 4, "hashes to");
    bench.refused(&bench.add(Manner::OtherCommit), 4, "another commit");
    bench.refused(&bench.add(Manner::Circle), 4, "without end");
    bench.refused(&bench.add(Manner::Escaping), 4, "no usable etag");
    let outside = walk(bench.root.path()).into_iter().filter(|path| path.to_string_lossy().contains("escaped"));
    assert_eq!(outside.count(), 0);
    // What was wrong is not kept: the truth comes through.
    let added = bench.add(Manner::Plain);
    assert_eq!(added.code, 0, "{added:#?}");
}

#[test]
fn a_repository_without_safetensors_or_tokenizer_is_no_base() {
    let files = |leave_out: &'static str| {
        let mut files = bases::files(&[], 1);
        files.retain(|(name, _)| *name != leave_out);
        files.push(("pytorch_model.bin", vec![0x80]));
        files
    };
    for (missing, says) in [(MODEL, "pickles"), ("tokenizer.json", "has no tokenizer.json")] {
        let bench = Bench { hub: Hub::start(files(missing)), ..Bench::new() };
        bench.refused(&bench.add(Manner::Plain), 11, says);
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let inner = |path: PathBuf| if path.is_dir() { [walk(&path), vec![path]].concat() } else { vec![path] };
    entries.flat_map(inner).collect()
}
