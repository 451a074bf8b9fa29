//! Paths of every kind: what each verb answers, in a table that this test writes and `docs/paths.md` holds. Every verb has
//! an end, none panics, and what it refuses it leaves as it is.
//!
//! `POTLUCK_BLESS=1` writes the page anew.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use potluck_tests::kit::{Answer, Program, answer, text, train_adapter};

use crate::program;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/paths.md");
const HEAD: &str = "\
# Paths of every kind

What each verb answers to a path of each kind: the exit code (`node/src/failure.rs` lists them), and the first line of what it
says, `PATH` standing for the path. A test (`every_verb_answers_to_paths_of_every_kind`) runs each cell and holds this page
against what comes. Where a verb takes a path it reads regular files only: a pipe or a device is refused before it is opened.
Folders of another user, and file systems that cannot be written, depend on who runs the program: tests of their own try
them (`tests/tests/it/owners.rs`, `a_file_system_that_cannot_be_written_is_said`).
";

/// What a path is.
const KINDS: [&str; 12] = [
    "nothing there",
    "a file",
    "an empty folder",
    "a full folder",
    "a link to an empty folder",
    "a link to nothing",
    "a pipe",
    "a socket",
    "a device",
    "below a file",
    "a name of 300 bytes",
    "not UTF-8",
];

/// A verb with the place of its path.
struct Verb {
    name: &'static str,
    before: Vec<String>,
    after: Vec<String>,
}

struct Scene {
    program: Program,
    root: tempfile::TempDir,
    adapter: PathBuf,
    rows: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
        let adapter = root.path().join("adapter");
        train_adapter(&program, &root.path().join("trainer"), &adapter, 3);
        let rows = adapter.with_extension("jsonl");
        Self { program, root, adapter, rows }
    }

    fn verbs(&self) -> Vec<Verb> {
        let (rows, adapter) = (text(&self.rows), text(&self.adapter));
        let verb = |name, before: &[&str], after: &[&str]| Verb {
            name,
            before: before.iter().map(|arg| (*arg).to_owned()).collect(),
            after: after.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        let train = ["train", "--base", "tiny", "--max-steps", "1", "--r", "4", "--warmup-steps", "0"];
        let out = text(&self.root.path().join("never"));
        let to_never = |flag| [&train[..], &["--out", &out, flag]].concat();
        let merge = ["merge", "--base", "tiny", &adapter, &adapter, "--out"];
        vec![
            verb("--home PATH status", &["--home"], &["status"]),
            verb("data check PATH", &["data", "check", "--base", "tiny"], &[]),
            verb("train --data PATH", &to_never("--data"), &[]),
            verb("train --held-out PATH", &[&train[..], &["--data", &rows, "--out", &out, "--held-out"]].concat(), &[]),
            verb("train --config PATH", &["train", "--base", "tiny", "--data", &rows, "--out", &out, "--config"], &[]),
            // The adapter decides the rank.
            verb("train --from PATH", &[&train[..5], &["--data", &rows, "--out", &out, "--from"]].concat(), &[]),
            verb("train --out PATH", &[&train[..], &["--data", &rows, "--out"]].concat(), &[]),
            verb("eval --data PATH", &["eval", "--base", "tiny", "--data"], &[]),
            verb("generate --base PATH", &["generate", "a", "--max-new-tokens", "1", "--base"], &[]),
            verb(
                "generate --adapter PATH",
                &["generate", "--base", "tiny", "a", "--max-new-tokens", "1", "--adapter"],
                &[],
            ),
            verb("publish PATH", &["publish", "--name", "x", "--base", "tiny"], &[]),
            verb("merge PATH", &["merge", "--base", "tiny", "--out", &out], &[]),
            verb("merge --out PATH", &merge, &[]),
            verb("pull --out PATH", &["pull", "x", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp", "--out"], &[]),
            verb("base add PATH", &["base", "add", "--name", "b"], &[]),
            verb(
                "base open --genesis PATH",
                &["base", "open", "c", "--improve", &format!("a={rows}"), "--genesis"],
                &[],
            ),
        ]
    }

    /// A path of that kind, in a folder of its own.
    fn make(&self, kind: &str, folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).expect("new");
        let path = folder.join("path");
        let full = |path: &Path| {
            fs::create_dir(path).expect("new");
            fs::write(path.join("notes.txt"), "a person's").expect("writable");
        };
        match kind {
            "nothing there" => {}
            "a file" => fs::write(&path, "a person's, and no data\n").expect("writable"),
            "an empty folder" => fs::create_dir(&path).expect("new"),
            "a full folder" => full(&path),
            "a link to an empty folder" => {
                fs::create_dir(folder.join("real")).expect("new");
                symlink("real", &path).expect("writable");
            }
            "a link to nothing" => symlink("nowhere", &path).expect("writable"),
            "a pipe" => {
                let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo starts");
                assert!(made.success());
            }
            // It stays when the listener goes.
            "a socket" => drop(UnixListener::bind(&path).expect("a short path")),
            "a device" => return PathBuf::from("/dev/zero"),
            "below a file" => {
                fs::write(&path, "a person's").expect("writable");
                return path.join("path");
            }
            "a name of 300 bytes" => return folder.join("n".repeat(300)),
            "not UTF-8" => return folder.join(OsStr::from_bytes(b"not-\xff-utf8")),
            other => panic!("{other}"),
        }
        path
    }

    fn run(&self, verb: &Verb, home: &Path, path: &Path) -> Answer {
        let mut args: Vec<OsString> = Vec::new();
        if verb.before != ["--home"] {
            args.extend(["--home".into(), home.into()]);
        }
        args.extend(verb.before.iter().map(OsString::from));
        args.push(path.into());
        args.extend(verb.after.iter().map(OsString::from));
        let bare = self.program.command(home, [""; 0]);
        let mut command = Command::new(bare.get_program());
        command.args(args).stdin(std::process::Stdio::null()).env_remove("POTLUCK_HOME");
        answer(command.output().expect("it starts"))
    }

    /// The lines of one verb: it has a home of its own, so that verbs run side by side.
    fn lines(&self, number: usize, verb: &Verb) -> String {
        let home = self.root.path().join(format!("home-{number}"));
        self.program.ok(&home, ["publish", &text(&self.adapter), "--name", "x", "--base", "tiny"]);
        let mut lines = format!("\n## `potluck {}`\n\n| PATH | exit | answer |\n|---|---|---|\n", verb.name);
        for (index, kind) in KINDS.into_iter().enumerate() {
            let folder = self.root.path().join(format!("at-{number}-{index}"));
            let path = self.make(kind, &folder);
            let before = seen(&folder);
            let got = self.run(verb, &home, &path);
            let said = format!("{}{}", got.stderr, got.stdout);
            assert!(got.code >= 0 && !said.contains("panicked"), "{} with {kind}: {got:#?}", verb.name);
            if got.code != 0 {
                assert_eq!(seen(&folder), before, "{} with {kind} left something or took something", verb.name);
            }
            let error = got.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or("");
            let error = error.replace(&*path.to_string_lossy(), "PATH").replace(&text(self.root.path()), "ROOT");
            writeln!(lines, "| {kind} | {} | {} |", got.code, error.replace('|', "\\|")).expect("memory");
        }
        lines
    }
}

/// What lies in a folder, with the bytes of files.
fn seen(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let kind = fs::symlink_metadata(&path).expect("there");
        if kind.is_dir() {
            all.extend(seen(&path));
        }
        all.push((path.clone(), kind.is_file().then(|| fs::read(&path).expect("readable"))));
    }
    all.sort();
    all
}

#[test]
fn every_verb_answers_to_paths_of_every_kind() {
    let scene = Scene::new();
    let verbs = scene.verbs();
    let lines: Vec<String> = std::thread::scope(|scope| {
        let scene = &scene;
        let running: Vec<_> =
            verbs.iter().enumerate().map(|(number, verb)| scope.spawn(move || scene.lines(number, verb))).collect();
        running.into_iter().map(|one| one.join().expect("its verb answers")).collect()
    });
    let page = HEAD.to_owned() + &lines.concat();
    if std::env::var_os("POTLUCK_BLESS").is_some() {
        fs::write(PAGE, &page).expect("writable");
    }
    let kept = fs::read_to_string(PAGE).unwrap_or_default();
    for (now, before) in page.lines().zip(kept.lines()) {
        assert_eq!(now, before, "docs/paths.md says otherwise: read the difference, then run with POTLUCK_BLESS=1");
    }
    assert_eq!(page.lines().count(), kept.lines().count(), "docs/paths.md has other lines");
}

/// As a home and as an output: in a mount namespace of its own, since root may write whatever a mode says.
#[test]
fn a_file_system_that_cannot_be_written_is_said() {
    let scene = Scene::new();
    let disk = scene.root.path().join("disk");
    fs::create_dir(&disk).expect("new");
    let adapter = text(&scene.adapter);
    let script = r#"disk=$1 program=$2 adapter=$3
        mount -t tmpfs tmpfs "$disk" && mount -o remount,ro "$disk" || exit 77
        "$program" --home "$disk/home" store rebuild; echo "home $?"
        "$program" --home "$disk/../fresh" merge --base tiny "$adapter" "$adapter" --out "$disk/out"; echo "out $?"
        "$program" --home "$disk/../fresh" merge --base tiny "$adapter" "$adapter" --out "$disk"; echo "into $?""#;
    let program = scene.program.command(&disk, [""; 0]);
    let mut within = Command::new("unshare");
    within.args(["-rm", "sh", "-c", script, "sh"]).arg(&disk).arg(program.get_program()).arg(&adapter);
    let output = match within.output() {
        Ok(output) => answer(output),
        Err(error) => return eprintln!("skipped: `unshare` does not start ({error})"),
    };
    if output.code == 77 || output.stderr.starts_with("unshare:") {
        return eprintln!("skipped: no mount namespace or tmpfs is allowed here: {}", output.stderr);
    }
    let codes: Vec<_> = output.stdout.lines().filter(|line| line.split(' ').count() == 2).collect();
    assert_eq!(codes, ["home 8", "out 8", "into 8"], "{output:#?}");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 3, "{output:#?}");
}
