//! Paths of every kind: what each verb answers, compared with the table in `docs/paths.md`. Every verb ends, none panics, and
//! a path that is refused is left unchanged.
//!
//! `POTLUCK_BLESS=1` writes the page again.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use potluck_tests::kit::{Answer, Program, answer, text, train_adapter};

use crate::program;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/paths.md");
const HEAD: &str = "\
# Paths of every kind

What each command answers to a path of each kind: the exit code (see [operations.md](operations.md#exit-codes)) and the first line
of its message, with `PATH` in place of the path. The test `every_verb_answers_to_paths_of_every_kind` writes this page, runs each
cell and compares the answers. Commands read regular files only: a pipe or a device is refused before it is opened. A folder without
permission to enter stands for one of another user; another user's home, and a home that another user may write, have their own tests
(`tests/tests/it/owners.rs`).
";

/// A channel that the homes have whose verbs name it.
const CHANNEL: &str = "fjord";

/// What a path is.
const KINDS: [&str; 15] = [
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
    MOUNTED,
    READ_ONLY,
    CLOSED,
];
/// An empty file system is mounted there.
const MOUNTED: &str = "a mount point";
const READ_ONLY: &str = "a read-only file system";
/// As another user's would be.
const CLOSED: &str = "a folder that may not be entered";
/// What is run on a path of these kinds is run in namespaces of its own, where somebody may mount, or is nobody's root.
const NAMESPACED: [(&str, &[&str]); 3] = [
    (MOUNTED, &["-rm", "sh", "-c", "mount -t tmpfs tmpfs \"$0\" && exec \"$@\""]),
    (READ_ONLY, &["-rm", "sh", "-c", "mount -t tmpfs -o ro tmpfs \"$0\" && exec \"$@\""]),
    (CLOSED, &["--map-user=1000", "--map-group=1000", "sh", "-c", "exec \"$@\""]),
];

/// Stands for the rest of a line that this machine could not try.
const SKIPPED: &str = "not tried |";

/// Whether this machine lets a test have namespaces of its own.
fn namespaces() -> bool {
    NAMESPACED.iter().all(|(_, unshare)| {
        let folder = tempfile::tempdir().expect("a folder");
        let tried = Command::new("unshare").args(*unshare).arg(folder.path()).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    })
}

/// A verb with the place of its path, and what stands before the path in its argument.
#[derive(Clone)]
struct Verb {
    name: &'static str,
    before: Vec<String>,
    prefix: &'static str,
    after: Vec<String>,
}

impl Verb {
    fn new(name: &'static str, before: &[&str]) -> Self {
        let before = before.iter().map(|arg| (*arg).to_owned()).collect();
        Self { name, before, prefix: "", after: Vec::new() }
    }

    fn prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    fn after(mut self, after: &[&str]) -> Self {
        self.after = after.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }
}

struct Scene {
    program: Program,
    root: tempfile::TempDir,
    adapter: PathBuf,
    rows: PathBuf,
    namespaces: bool,
}

impl Scene {
    fn new() -> Self {
        let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
        let adapter = root.path().join("adapter");
        train_adapter(&program, &root.path().join("trainer"), &adapter, 3);
        let rows = adapter.with_extension("jsonl");
        let namespaces = namespaces();
        if !namespaces {
            eprintln!("skipped: the kinds of path that need namespaces, which this machine does not give");
        }
        Self { program, root, adapter, rows, namespaces }
    }

    fn verbs(&self) -> Vec<Verb> {
        [self.verbs_of_training(), self.verbs_of_adapters(), self.verbs_of_bases(), self.verbs_of_measuring()].concat()
    }

    fn verbs_of_training(&self) -> Vec<Verb> {
        fn all<'a>(tiny: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
            [tiny, &["--r", "4"], more].concat()
        }
        let (rows, out) = (text(&self.rows), text(&self.root.path().join("never")));
        let bare = ["train", "--max-steps", "1", "--warmup-steps", "0"];
        let tiny = [&bare[..], &["--base", "tiny"]].concat();
        vec![
            Verb::new("--home PATH status", &["--home"]).after(&["status"]),
            Verb::new("data check PATH", &["data", "check", "--base", "tiny"]),
            Verb::new("data check --base PATH", &["data", "check", &rows, "--base"]),
            Verb::new("train --base PATH", &[&bare[..], &["--data", &rows, "--out", &out, "--base"]].concat()),
            Verb::new("train --data PATH", &all(&tiny, &["--out", &out, "--data"])),
            Verb::new("train --held-out PATH", &all(&tiny, &["--data", &rows, "--out", &out, "--held-out"])),
            Verb::new("train --rehearsal PATH", &all(&tiny, &["--data", &rows, "--out", &out, "--rehearsal"])),
            Verb::new("train --config PATH", &["train", "--base", "tiny", "--data", &rows, "--out", &out, "--config"]),
            Verb::new("train --from PATH", &[&tiny[..], &["--data", &rows, "--out", &out, "--from"]].concat()),
            Verb::new("train --out PATH", &all(&tiny, &["--data", &rows, "--out"])),
        ]
    }

    fn verbs_of_adapters(&self) -> Vec<Verb> {
        let (rows, adapter) = (text(&self.rows), text(&self.adapter));
        let out = text(&self.root.path().join("never"));
        let merge = ["merge", "--base", "tiny", &adapter, &adapter];
        vec![
            Verb::new("eval --data PATH", &["eval", "--base", "tiny", "--data"]),
            Verb::new("eval --adapter PATH", &["eval", "--base", "tiny", "--data", &rows, "--adapter"]),
            Verb::new("generate --base PATH", &["generate", "a", "--max-new-tokens", "1", "--base"]),
            Verb::new(
                "generate --adapter PATH",
                &["generate", "a", "--base", "tiny", "--max-new-tokens", "1", "--adapter"],
            ),
            Verb::new("publish PATH", &["publish", "--name", "x", "--base", "tiny"]),
            Verb::new("publish --base PATH", &["publish", &adapter, "--name", "x", "--base"]),
            Verb::new(
                "publish --evaluate rows=PATH",
                &["publish", &adapter, "--name", "x", "--base", "tiny", "--evaluate"],
            )
            .prefix("rows="),
            Verb::new("merge PATH", &["merge", "--base", "tiny", "--out", &out]),
            Verb::new("merge --base PATH", &["merge", &adapter, &adapter, "--out", &out, "--base"]),
            Verb::new("merge --weights-by PATH", &[&merge[..], &["--out", &out, "--weights-by"]].concat()),
            Verb::new("merge --out PATH", &[&merge[..], &["--out"]].concat()),
            Verb::new("merge --fold --out PATH", &["merge", "--base", "tiny", "--fold", "x", "--out"]),
            Verb::new("pull --out PATH", &["pull", "x", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-upnp", "--out"]),
        ]
    }

    fn verbs_of_bases(&self) -> Vec<Verb> {
        let improve = format!("a={}", text(&self.rows));
        let open = ["channel", "open", "c", "--shards", "1"];
        vec![
            Verb::new("base add PATH", &["base", "add", "--name", "b"]),
            Verb::new("channel open --genesis PATH", &[&open[..], &["--improve", &improve, "--genesis"]].concat()),
            Verb::new("channel open --improve a=PATH", &[&open[..], &["--genesis", "tiny", "--improve"]].concat())
                .prefix("a="),
            Verb::new(
                "channel open --keep b=PATH",
                &[&open[..], &["--genesis", "tiny", "--improve", &improve, "--keep"]].concat(),
            )
            .prefix("b="),
            Verb::new("channel export --out PATH", &["channel", "export", CHANNEL, "--out"]),
            Verb::new("channel show --svg PATH", &["channel", "show", CHANNEL, "--svg"]),
        ]
    }

    fn verbs_of_measuring(&self) -> Vec<Verb> {
        let step = ["bench", "step", "--rank", "2", "--steps", "2"];
        let merge = ["bench", "merge", "--adapters", "2", "--rank", "2"];
        vec![
            Verb::new("bench step --base PATH", &[&step[..], &["--batch", "1", "--seq", "4", "--base"]].concat()),
            Verb::new("bench step --tokens PATH", &[&step[..], &["--base", "tiny", "--tokens"]].concat()),
            Verb::new("bench merge --shape PATH", &[&merge[..], &["--shape"]].concat()),
            Verb::new("bench merge --from PATH", &["bench", "merge", "--base", "tiny", "--from"]),
            Verb::new("bench merge --folder PATH", &[&merge[..], &["--base", "tiny", "--folder"]].concat()),
            Verb::new("bench exchange --folder PATH", &["bench", "exchange", "--size", "1MiB", "--folder"]),
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
            MOUNTED | READ_ONLY => fs::create_dir(&path).expect("new"),
            CLOSED => {
                full(&path);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("ours");
            }
            "not UTF-8" => return folder.join(OsStr::from_bytes(b"not-\xff-utf8")),
            other => panic!("{other}"),
        }
        path
    }

    fn run(&self, verb: &Verb, home: &Path, kind: &str, path: &Path) -> Answer {
        let mut args: Vec<OsString> = Vec::new();
        if verb.before != ["--home"] {
            args.extend(["--home".into(), home.into()]);
        }
        args.extend(verb.before.iter().map(OsString::from));
        let mut argument = OsString::from(verb.prefix);
        argument.push(path);
        args.push(argument);
        args.extend(verb.after.iter().map(OsString::from));
        let bare = self.program.command(home, [""; 0]);
        let mut command = match NAMESPACED.iter().find(|(namespaced, _)| *namespaced == kind) {
            None => Command::new(bare.get_program()),
            Some((_, unshare)) => {
                let mut within = Command::new("unshare");
                within.args(*unshare).arg(path).arg(bare.get_program());
                within
            }
        };
        command.args(args).stdin(std::process::Stdio::null()).env_remove("POTLUCK_HOME");
        answer(command.output().expect("it starts"))
    }

    /// The lines of one verb: it has a home of its own, so that verbs run side by side.
    fn lines(&self, number: usize, verb: &Verb) -> String {
        let home = self.root.path().join(format!("home-{number}"));
        self.program.ok(&home, ["publish", &text(&self.adapter), "--name", "x", "--base", "tiny"]);
        if verb.before.iter().any(|arg| arg == CHANNEL) {
            let improve = format!("a={}", text(&self.rows));
            let rules = ["--genesis", "tiny", "--shards", "1", "--improve", &improve];
            self.program.ok(&home, ["channel", "open", CHANNEL].iter().chain(&rules));
        }
        let mut lines = format!("\n## `potluck {}`\n\n| PATH | exit | answer |\n|---|---|---|\n", verb.name);
        for (index, kind) in KINDS.into_iter().enumerate() {
            let folder = self.root.path().join(format!("at-{number}-{index}"));
            let path = self.make(kind, &folder);
            if !self.namespaces && NAMESPACED.iter().any(|(namespaced, _)| *namespaced == kind) {
                writeln!(lines, "| {kind} | {SKIPPED}").expect("memory");
                continue;
            }
            let before = seen(&folder);
            let got = self.run(verb, &home, kind, &path);
            let said = format!("{}{}", got.stderr, got.stdout);
            assert!(got.code >= 0 && !said.contains("panicked"), "{} with {kind}: {got:#?}", verb.name);
            if got.code != 0 {
                assert_eq!(seen(&folder), before, "{} with {kind} left something or took something", verb.name);
            }
            if kind == CLOSED {
                // So that whoever runs this can remove it.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("ours");
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
        // A closed folder is left closed.
        if kind.is_dir() && kind.permissions().mode() & 0o700 == 0o700 {
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
        assert!(scene.namespaces, "the page is written where every line can be tried");
        fs::write(PAGE, &page).expect("writable");
    }
    let kept = fs::read_to_string(PAGE).unwrap_or_default();
    for (now, before) in page.lines().zip(kept.lines()).filter(|(now, _)| !now.ends_with(SKIPPED)) {
        assert_eq!(now, before, "docs/paths.md differs: read the difference, then run with POTLUCK_BLESS=1");
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
