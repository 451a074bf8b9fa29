//! Runs the commands of README.md as they are written there, in one folder with a base and rows, on a fresh home: each must
//! succeed. Commands that are not run are listed with a reason; a command that is neither run nor listed fails the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use potluck_tests::kit::{Answer, Program, Up, answer};

use crate::program;

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../trainer/tests/fixtures/gguf/tiny.gguf");

/// What the test does with a command.
enum Action {
    /// Run it, with this text appended.
    Run(&'static str),
    /// The same, on a home of its own.
    RunApart(&'static str),
    /// Do not run it, for this reason.
    Skip(&'static str),
}

use Action::{Run, RunApart, Skip};

/// Every command of the page, in its order.
const COMMANDS: [(&str, Action); 27] = [
    ("cargo run --release -- demo", Skip("it takes a minute, and CI runs it and judges its figures")),
    ("cargo test --release --workspace", Skip("this test is one of them")),
    ("cargo install --path node", Skip("it builds the program again, and writes outside of the test's folder")),
    ("potluck data check rows.jsonl --base model.gguf", Run("")),
    ("potluck train --base model.gguf --data rows.jsonl --out my-adapter", Run("")),
    ("potluck generate --base model.gguf --adapter my-adapter \"a prompt\"", Run("")),
    ("potluck publish my-adapter --name my-skill", Run("")),
    ("potluck up", Skip("it runs until it is stopped, and listens beyond loopback; from here on a daemon runs")),
    ("potluck search sql --base tiny --licence Apache-2.0 --rank 8..32", Run("")),
    ("potluck base add OWNER/NAME", Skip("tests do not ask the hub: `hub.rs` has one on loopback")),
    ("potluck base add BASE-ID", Run("")),
    ("potluck publish --base", Run(" model.gguf --name my-base --licence Apache-2.0")),
    ("potluck pull ID", Run("")),
    ("potluck merge --base model.gguf ID ID@0.5 --out both", Run("")),
    ("potluck merge --base model.gguf --fold ID ID ID --out better-base", Run("")),
    ("potluck channel open", Run(" main --genesis model.gguf --improve say=held-out.jsonl --shards 1")),
    ("potluck channel propose ADAPTER --to CHANNEL", Run("")),
    ("potluck channel release", Run(" CHANNEL")),
    ("potluck channel follow CHANNEL", Run("")),
    ("potluck generate --base CHANNEL \"a prompt\"", Run("")),
    ("potluck verify ID", Run("")),
    ("potluck --help", Run("")),
    ("potluck VERB --help", Run("")),
    ("potluck up --bootstrap ADDRESS", Skip("as `potluck up`; `swarm.rs` starts nodes that meet so")),
    ("potluck up --relay", Skip("as `potluck up`; the soak of NATs has relays")),
    ("potluck status", Run("")),
    ("potluck network new-key", RunApart("")),
];

/// The commands of the page: lines of its shell blocks, what stands in code in the table's second column, and whatever
/// else in code begins with the program's name.
fn commands() -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut block = None;
    for line in README.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(kind) };
            continue;
        }
        let (code, all): (Vec<&str>, bool) = match (block, line.strip_prefix("| ")) {
            (Some("sh"), _) => (vec![line.split(" #").next().unwrap_or(line).trim()], true),
            (Some(_), _) => continue,
            (None, Some(row)) => (spans(row.split_once(" | ").map_or("", |(_, typed)| typed)), true),
            (None, None) => (spans(line), false),
        };
        for command in code {
            let is_one = all || command.starts_with("potluck ");
            if is_one && !command.is_empty() && !found.iter().any(|known| known == command) {
                found.push(command.to_owned());
            }
        }
    }
    found
}

/// What stands between backticks.
fn spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_command_of_the_readme_is_typed_or_has_its_reason() {
    let listed: Vec<_> = COMMANDS.iter().map(|(command, _)| *command).collect();
    let found = commands();
    let missing: Vec<_> = found.iter().filter(|command| !listed.contains(&command.as_str())).collect();
    assert!(missing.is_empty(), "run these here, or say why not: {missing:#?}");
    let gone: Vec<_> = listed.iter().filter(|command| !found.iter().any(|one| one == *command)).collect();
    assert!(gone.is_empty(), "README.md has these no more: {gone:#?}");
}

/// A folder to type in, a home, and what the placeholders of the page stand for.
struct Scene {
    program: Program,
    root: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { program: program(), root: tempfile::tempdir().expect("a folder") };
        for folder in ["bin", "work"] {
            fs::create_dir(scene.root.path().join(folder)).expect("new");
        }
        let program = scene.program.command(scene.root.path(), [""; 0]);
        std::os::unix::fs::symlink(program.get_program(), scene.root.path().join("bin/potluck")).expect("writable");
        let work = scene.root.path().join("work");
        fs::copy(BASE, work.join("model.gguf")).expect("the fixture");
        let row = |n: usize| format!("{{\"prompt\":\"say {n}:\",\"completion\":\" {}\"}}\n", n * 7 % 100);
        for (file, from) in [("rows.jsonl", 0), ("held-out.jsonl", 40)] {
            fs::write(work.join(file), (from..from + 40).map(row).collect::<String>()).expect("writable");
        }
        scene
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn typed(&self, home: &Path, line: &str) -> Answer {
        let path = format!("{}/bin:{}", self.root.path().display(), std::env::var("PATH").expect("a path"));
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.root.path().join("work")).stdin(Stdio::null());
        shell.env("PATH", path).env("POTLUCK_HOME", home).env_remove("POTLUCK_FAILPOINT");
        answer(shell.output().expect("a shell"))
    }

    fn field(&self, args: &[&str], field: &str) -> String {
        let answer = self.program.ok(&self.home(), args);
        answer[field].as_str().unwrap_or_else(|| panic!("no `{field}`: {answer}")).to_owned()
    }

    /// The ids of three adapters: the one of the page, and the same again under other names.
    fn adapters(&self) -> Vec<String> {
        let folder = self.root.path().join("work/my-adapter");
        let id = |name: &str| {
            if self.program.run(&self.home(), ["show", name]).code != 0 {
                self.program.ok(&self.home(), ["publish", folder.to_str().expect("UTF-8"), "--name", name]);
            }
            self.field(&["show", name], "manifest")
        };
        ["my-skill", "second", "third"].map(id).to_vec()
    }

    /// A command with what its placeholders stand for.
    fn filled(&self, command: &str) -> String {
        let mut adapters = Vec::new();
        let mut word = |word: &str| match word {
            "BASE-ID" => self.field(&["base", "show", "model"], "base"),
            "CHANNEL" => "main".to_owned(),
            "ADAPTER" => "my-skill".to_owned(),
            "VERB" => "train".to_owned(),
            _ if word.starts_with("ID") => {
                if adapters.is_empty() {
                    adapters = self.adapters();
                }
                word.replacen("ID", &adapters.remove(0), 1)
            }
            _ => word.to_owned(),
        };
        command.split(' ').map(&mut word).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn what_the_readme_says_can_be_typed() {
    let scene = Scene::new();
    let (home, apart) = (scene.home(), scene.root.path().join("apart"));
    let mut daemon: Option<Up> = None;
    for (command, action) in COMMANDS {
        if command == "potluck up" {
            daemon = Some(scene.program.up(&home, "readme", &[]));
        }
        let (rest, home) = match action {
            Skip(why) => {
                println!("not run: `{command}`: {why}");
                continue;
            }
            Run(rest) => (rest, &home),
            RunApart(rest) => (rest, &apart),
        };
        let line = scene.filled(&format!("{command}{rest}"));
        let done = scene.typed(home, &line);
        assert_eq!(done.code, 0, "{line}: {done:#?}");
    }
    for made in ["my-adapter", "both", "better-base"] {
        assert!(scene.root.path().join("work").join(made).exists(), "{made}");
    }
    drop(daemon);
}
