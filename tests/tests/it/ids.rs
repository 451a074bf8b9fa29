//! Ids and names as people type them: what a verb prints can be typed again, what could be meant twice is said, what is
//! not known is not made up.

mod heard;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use potluck_tests::kit::{Answer, Program, text, train_adapter};
use potluck_tests::taught::string;
use serde_json::Value;

use crate::program;

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

    fn run(&self, home: &str, args: &[&str]) -> Answer {
        self.program.run(&self.path(home), args)
    }

    fn ok(&self, home: &str, args: &[&str]) -> Value {
        self.program.ok(&self.path(home), args)
    }

    /// The same as a person sees it.
    fn human(&self, home: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.program.command(&self.path(home), ["x"]).get_program());
        command.env_remove("POTLUCK_HOME").arg("--home").arg(self.path(home)).args(args);
        command.output().expect("it starts")
    }

    fn says(&self, home: &str, args: &[&str]) -> String {
        let output = self.human(home, args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// An error with its code, and a word in it.
    #[track_caller]
    fn fails(&self, home: &str, args: &[&str], code: i32, says: &str) {
        let answer = self.run(home, args);
        assert_eq!(answer.code, code, "{args:?}: {answer:#?}");
        assert!(answer.stderr.contains(says), "{args:?}: `{says}` is not in {}", answer.stderr);
    }

    fn adapter(&self, home: &str, seed: u64) -> String {
        let folder = self.path(&format!("adapter-{seed}"));
        train_adapter(&self.program, &self.path(home), &folder, seed);
        text(&folder)
    }

    /// A channel that is to learn the rows of an adapter that was trained before.
    fn open(&self, home: &str, name: &str, seed: u64) -> String {
        let rows = format!("say={}", text(&self.path(&format!("adapter-{seed}.jsonl"))));
        let args = ["channel", "open", name, "--genesis", "tiny", "--improve", &rows, "--shards", "2"];
        string(&self.ok(home, &args), "channel")
    }
}

/// The words of a text that read as an id or the start of one.
fn printed(text: &str) -> BTreeSet<String> {
    let apart = |c: char| !c.is_ascii_alphanumeric();
    let hex = |word: &&str| word.len() >= 8 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    text.split(apart).filter(hex).map(str::to_owned).collect()
}

/// What an id is, by the verbs that take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Adapter,
    Base,
    Channel,
    Proposal,
    Version,
    Recipe,
    /// A publisher's key, or a digest to be compared: typed whole or not at all.
    Key,
}

fn verbs(is: Is) -> &'static [&'static [&'static str]] {
    match is {
        Is::Adapter => &[&["show"], &["verify"]],
        Is::Base => &[&["base", "show"]],
        Is::Channel => &[&["show"], &["channel", "show"]],
        Is::Proposal => &[&["show"]],
        Is::Version => &[&["show"], &["verify"], &["base", "show"]],
        Is::Recipe => &[&["verify"]],
        Is::Key => &[],
    }
}

/// Everything that a steward, a publisher and a merger do, as people see it: each id that is printed, however short, is
/// known to the verbs that take its kind, in either case.
#[test]
fn what_a_verb_prints_as_an_id_is_enough_to_type_it_again() {
    let bench = Bench::new();
    let folder = bench.adapter("home", 3);
    let mut ids = BTreeMap::new();
    let published = bench.ok("home", &["publish", &folder, "--name", "three", "--licence", "mit"]);
    ids.insert(string(&published, "manifest"), Is::Adapter);
    ids.insert(string(&published, "base"), Is::Base);
    let shown = bench.ok("home", &["show", "three"]);
    assert_eq!((&shown["licence"], &shown["base_name"]), (&"MIT".into(), &"tiny".into()), "{shown}");
    ids.insert(string(&shown, "publisher"), Is::Key);
    ids.insert(bench.open("home", "fjord", 3), Is::Channel);
    let proposed = bench.ok("home", &["channel", "propose", "three", "--to", "fjord"]);
    ids.insert(string(&proposed, "proposal"), Is::Proposal);
    let mut seen = bench.says("home", &["show", &string(&proposed, "proposal")[..8]]);
    let again = bench.says("home", &["channel", "propose", "three@0.5", "--to", "fjord"]);
    let second = printed(&again).into_iter().find(|word| word.len() == 64).expect("the proposal");
    ids.insert(second, Is::Proposal);
    seen.push_str(&again);
    let released = bench.ok("home", &["channel", "release", "fjord"]);
    ids.insert(string(&released, "version"), Is::Version);
    ids.insert(string(&released, "base"), Is::Base);
    let out = text(&bench.path("folded"));
    let folded = bench.ok("home", &["merge", "--base", "tiny", "--fold", "--out", &out, "three@0.25"]);
    ids.insert(string(&folded, "recipe"), Is::Recipe);
    ids.insert(string(&folded, "digest"), Is::Key);
    ids.insert(string(&released, "digest"), Is::Key);
    ids.insert(string(&bench.ok("home", &["base", "add", &out, "--name", "folded"]), "base"), Is::Base);

    let (by_name, recipe) = (["three", "fjord"], string(&folded, "recipe"));
    let told: [&[&str]; 12] = [
        &["show", by_name[0]],
        &["show", by_name[1]],
        &["verify", by_name[0]],
        &["verify", by_name[1]],
        &["verify", &recipe],
        &["channel", "show", by_name[1]],
        &["channel", "list"],
        &["base", "list"],
        &["base", "show", "tiny"],
        &["channel", "rollback", "fjord"],
        &["status"],
        &["store", "stat"],
    ];
    for args in told {
        let text = bench.says("home", args);
        assert!(
            args[0] != "status" || text.contains("5 manifests: 1 adapter, 1 channel, 1 version, 2 proposals"),
            "{text}"
        );
        seen.push_str(&text);
    }
    let mut kinds = Vec::new();
    for word in printed(&seen) {
        let means = ids.iter().filter(|(id, _)| id.starts_with(&word)).map(|(_, is)| *is).collect::<Vec<_>>();
        let [is] = means[..] else { panic!("`{word}` is printed, and means {means:?}:\n{seen}") };
        kinds.push(is);
        for verb in verbs(is) {
            for typed in [&word, &word.to_uppercase()] {
                let answer = bench.run("home", &[verb, &[typed.as_str()][..]].concat());
                assert_eq!(answer.code, 0, "{verb:?} {typed}, {is:?}: {answer:#?}");
            }
        }
    }
    for is in [Is::Adapter, Is::Base, Is::Channel, Is::Proposal, Is::Version, Is::Recipe] {
        assert!(kinds.contains(&is), "no {is:?} was printed:\n{seen}");
    }
    counts_are_those_of_the_store(&bench, &folder);
}

/// One count, whoever tells it.
fn counts_are_those_of_the_store(bench: &Bench, folder: &str) {
    let held = |verb: &[&str]| bench.ok("home", verb)["held"].clone();
    let expected = serde_json::json!({
        "manifests": 5, "adapters": 1, "bases": 0, "datasets": 0, "channels": 1, "versions": 1, "proposals": 2,
        "proofs": 0,
    });
    assert_eq!(held(&["status"]), expected);
    bench.ok("home", &["publish", folder, "--name", "other"]);
    let (status, stat) = (bench.ok("home", &["status"]), bench.ok("home", &["store", "stat"]));
    assert_eq!((&status["held"], &stat["manifests"], &status["adapters"]), (&stat["held"], &6.into(), &2.into()));
    assert_eq!(stat["held"]["adapters"], 2);
}

#[test]
fn what_nothing_is_known_of_is_not_found_by_any_verb() {
    let bench = Bench::new();
    let folder = bench.adapter("home", 3);
    bench.ok("home", &["publish", &folder, "--name", "three"]);
    bench.open("home", "fjord", 3);
    let out = text(&bench.path("out"));
    let online = ["--network", "ids", "--listen", "/ip4/127.0.0.1/tcp/0", "--timeout", "1"];
    for absent in ["0123456789ab", "0123ABCD", "nothing-is-called-so"] {
        let offline: [&[&str]; 9] = [
            &["show", absent],
            &["verify", absent],
            &["base", "show", absent],
            &["channel", "propose", absent, "--to", "fjord"],
            &["channel", "propose", "three", "--to", absent],
            &["channel", "release", absent],
            &["channel", "revoke", "fjord", absent],
            &["channel", "export", absent, "--out", &out],
            &["merge", "--base", "tiny", "--out", &out, absent],
        ];
        for args in offline {
            bench.fails("home", args, 3, absent);
        }
        for args in [&["pull", absent][..], &["channel", "follow", absent], &["channel", "update", absent]] {
            bench.fails("home", &[args, &online].concat(), 3, absent);
        }
    }
    bench.fails("home", &["show", "0123456"], 3, "nothing called");
    // No debug form, and what to type.
    let answer = bench.run("home", &["verify", &"AB".repeat(32)]);
    assert!(
        answer.code == 3 && !answer.stderr.contains("ManifestId") && answer.stderr.contains("potluck pull"),
        "{answer:#?}"
    );
    // What is something else is said to be that.
    bench.fails("home", &["merge", "--base", "tiny", "--out", &out, "fjord"], 2, "is a channel");
    bench.fails(
        "home",
        &["pull", "fjord"].iter().chain(&online).copied().collect::<Vec<_>>(),
        2,
        "potluck channel follow fjord",
    );
    bench.fails("home", &["channel", "propose", "three", "--to", "tiny"], 3, "no channel");
    let three = string(&bench.ok("home", &["show", "three"]), "manifest");
    bench.fails("home", &["channel", "propose", "three", "--to", &three[..10]], 2, "is an adapter, no channel");
}

#[test]
fn damage_is_told_in_words_and_seen_by_every_verb() {
    let bench = Bench::new();
    let folder = bench.adapter("home", 3);
    let id = string(&bench.ok("home", &["publish", &folder, "--name", "three"]), "manifest");
    let state = || string(&bench.ok("home", &["show", "three"]), "state");
    assert_eq!(state(), "here, checked");
    let largest = largest_shard(&bench.path("home/shards"));
    let good = fs::read(&largest).expect("there");
    let mut bad = good.clone();
    bad[7] ^= 1;
    fs::write(&largest, bad).expect("writable");
    let told = bench.human("home", &["store", "verify"]);
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!((told.status.code(), out.as_ref()), (Some(4), ""), "{err}");
    assert!(!err.contains(['{', '"']), "no JSON for people: {err}");
    assert!(err.contains("1 damaged shard, moved to quarantine"), "{err}");
    assert!(err.contains(&format!("`three` (an adapter, {}) lacks 1 shard", &id[..12])), "{err}");
    assert!(err.contains(&format!("`potluck pull {}`", &id[..12])), "{err}");
    assert_eq!(state(), "here in part");
    let answer = bench.run("home", &["store", "verify"]);
    let report = &answer.json["error"]["report"];
    assert_eq!((answer.code, report["incomplete"][0]["manifest"].as_str()), (4, Some(id.as_str())), "{answer:#?}");
    fs::write(&largest, good).expect("writable");
    assert_eq!((state(), bench.run("home", &["store", "verify"]).code), ("here, checked".to_owned(), 0));
    // Cut short it is not here either, and that is seen without reading it.
    fs::write(&largest, b"short").expect("writable");
    assert_eq!(state(), "here in part");
    // Of a manifest that is gone the start of the id means nothing any more.
    fs::write(bench.path("home/manifests").join(&id), b"short").expect("writable");
    let err = String::from_utf8(bench.human("home", &["store", "verify"]).stderr).expect("UTF-8");
    assert!(err.contains(&format!("`potluck pull {id}`")), "{err}");
}

fn largest_shard(folder: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.into_iter().max_by_key(|path| fs::metadata(path).expect("there").len()).expect("a shard")
}

#[test]
fn names_that_read_as_something_else_and_licences_that_are_none_are_refused() {
    let bench = Bench::new();
    let folder = bench.adapter("home", 3);
    let hex = "ab".repeat(32);
    for (name, says) in [
        (hex.as_str(), "reads as an id"),
        ("deadbeef", "reads as an id"),
        ("tiny", "inside this program"),
        ("", "is no name"),
        ("a\u{1b}[2Jb", "\\u{1b}"),
        ("a\u{202e}b", "\\u{202e}"),
    ] {
        bench.fails("home", &["publish", &folder, "--name", name], 2, says);
        let rows = format!("say={}.jsonl", folder);
        bench.fails("home", &["channel", "open", name, "--genesis", "tiny", "--improve", &rows], 2, says);
        bench.fails("home", &["base", "add", &folder, "--name", name], 2, says);
    }
    for (licence, says) in [
        ("apache2", "did you mean `Apache-2.0`"),
        ("GPL-3.0", "`GPL-3.0-only` or `GPL-3.0-or-later`"),
        ("other", "LicenseRef-NAME"),
        ("MIT AND", "SPDX expression"),
    ] {
        bench.fails("home", &["publish", &folder, "--name", "x", "--licence", licence], 2, says);
    }
    assert_eq!(bench.ok("home", &["status"])["held"]["manifests"], 0, "what is refused is not published");
    for (licence, written) in [
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("gemma", "LicenseRef-gemma"),
        ("LicenseRef-Mine", "LicenseRef-Mine"),
        ("", ""),
    ] {
        bench.ok("home", &["publish", &folder, "--name", "x", "--license", licence]);
        assert_eq!(bench.ok("home", &["show", "x"])["licence"], written);
    }
}

/// `my@0.5` may be a folder's name.
#[test]
fn a_folder_that_exists_is_meant_whatever_its_name_holds() {
    let bench = Bench::new();
    let folder = bench.adapter("home", 3);
    let odd = text(&bench.path("my@0.5"));
    fs::rename(&folder, &odd).expect("ours");
    let merge = |out: &str, adapter: &str| {
        let out = text(&bench.path(out));
        bench.ok("home", &["merge", "--base", "tiny", "--out", &out, adapter])["weights"].clone()
    };
    assert_eq!(merge("whole", &odd), serde_json::json!([1.0]));
    assert_eq!(merge("half", &format!("{odd}@0.25")), serde_json::json!([0.25]));
}

#[test]
fn help_ends_with_where_codes_and_variables_are_told() {
    let help = Bench::new().says("home", &["--help"]);
    assert!(help.trim_end().ends_with("docs/operations.md"), "{help}");
}
