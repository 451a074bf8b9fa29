//! `kill -9` at seeded moments and at every failpoint: what was acknowledged is there, `store verify` is clean.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use potluck_node::failpoint::{self, Step, What};
use potluck_tests::crash::{Ack, check, check_exports, draw};

/// Runs the child until it ends by itself, or for `micros` after its first acknowledgement.
fn run(root: &Path, seed: u64, steps: u64, failpoint: Option<&str>, micros: Option<u64>) -> (Vec<Ack>, ExitStatus) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck-tests"));
    command.args(["crash-child", &root.display().to_string(), &seed.to_string(), &steps.to_string()]);
    command.env_remove(failpoint::VARIABLE).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(text) = failpoint {
        command.env(failpoint::VARIABLE, text);
    }
    let mut child = command.spawn().expect("the test binary starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    if let Some(micros) = micros {
        out.read_line(&mut text).expect("readable");
        // The moment itself is what is tested: nothing tells when it has come.
        std::thread::sleep(Duration::from_micros(micros));
        child.kill().expect("ours");
    }
    out.read_to_string(&mut text).expect("readable");
    let status = child.wait().expect("ours");
    // A line that the kill cut in half acknowledges nothing.
    let acks = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    (acks.map(|line| serde_json::from_str(line).expect("an acknowledgement")).collect(), status)
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = Vec::new();
    for seed in 0..45 {
        let micros = draw(&format!("moment {seed}"), 1 << (10 + seed % 9));
        let (acks, status) = run(folder.path(), seed, 1000, None, Some(micros));
        assert!(!status.success(), "it was killed");
        all.extend(acks);
        check(folder.path(), &all).unwrap_or_else(|error| panic!("seed {seed}, {micros} us: {error}"));
        check_exports(folder.path(), 2).unwrap_or_else(|error| panic!("seed {seed}, {micros} us: {error}"));
    }
    let published = all.iter().filter(|ack| matches!(ack, Ack::Published(_))).count();
    assert!(published > 5, "only {published} were published: the moments are too early to mean anything");
}

#[test]
fn killed_at_every_failpoint_nothing_acknowledged_is_lost() {
    for (seed, point) in (100..).zip(failpoint::ALL) {
        let folder = tempfile::tempdir().expect("a folder");
        // These are written once in the life of a home.
        let once = matches!(point.what, What::Identity | What::Log);
        let count = if once { 1 } else { 1 + draw(&point.to_string(), 4) };
        let text = format!("{point}@{count}:abort");
        let (acks, status) = run(folder.path(), seed, 8, Some(&text), None);
        assert!(!status.success(), "{text} was never passed");
        check(folder.path(), &acks).unwrap_or_else(|error| panic!("{text}: {error}"));
        check_exports(folder.path(), 2).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (more, status) = run(folder.path(), seed, 1, None, None);
        assert!(status.success(), "{text}: the next process works on");
        check(folder.path(), &[acks, more].concat()).unwrap_or_else(|error| panic!("{text}, later: {error}"));
    }
    assert!(failpoint::ALL.iter().any(|point| point.step == Step::Renamed));
}
