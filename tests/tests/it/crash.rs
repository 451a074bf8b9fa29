//! `kill -9` at seeded moments and at every failpoint: what was acknowledged is there, `store verify` is clean.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use potluck_node::failpoint::{self, Point, What};
use potluck_tests::crash::{Ack, draw};

/// When a child is killed: so many microseconds after so many acknowledgements.
#[derive(Clone, Copy, Debug)]
struct Moment {
    acks: u64,
    micros: u64,
}

/// Runs the child until its moment, or until it ends by itself.
fn run(root: &Path, seed: u64, steps: u64, failpoint: Option<&str>, moment: Option<Moment>) -> (Vec<Ack>, ExitStatus) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck-tests"));
    command.args(["crash-child", &root.display().to_string(), &seed.to_string(), &steps.to_string()]);
    command.env_remove(failpoint::VARIABLE).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(text) = failpoint {
        command.env(failpoint::VARIABLE, text);
    }
    let mut child = command.spawn().expect("the test binary starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    if let Some(Moment { acks, micros }) = moment {
        for _ in 0..acks {
            out.read_line(&mut text).expect("readable");
        }
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

/// Looks for everything that was acknowledged, in a process of its own: this one starts others all the time, and what it
/// holds open (a lock, say) they hold too until they run their own program.
fn look(root: &Path, acks: &[Ack], when: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck-tests"));
    command.arg("crash-check").arg(root).env_remove(failpoint::VARIABLE);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the test binary starts");
    let text = serde_json::to_vec(acks).expect("plain data");
    // It reads everything before it can fail.
    child.stdin.take().expect("piped").write_all(&text).expect("it reads");
    let output = child.wait_with_output().expect("ours");
    assert!(output.status.success(), "{when}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Several at a time: they wait for the disk, not for the processor.
const LANES: u64 = 5;

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let published: usize = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || kills(lane))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane that holds")).sum()
    });
    assert!(published > 30, "only {published} were published: the moments are too early to mean anything");
}

/// Nine kills of one home; gives how much was published meanwhile.
fn kills(lane: u64) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = Vec::new();
    for round in 0..9 {
        let seed = lane * 100 + round;
        let acks = draw(&format!("acks {seed}"), 9);
        let moment = Moment { acks, micros: draw(&format!("moment {seed}"), 1 << (8 + round)) };
        let (acks, status) = run(folder.path(), seed, 1000, None, Some(moment));
        assert!(!status.success(), "it was killed");
        all.extend(acks);
        look(folder.path(), &all, &format!("seed {seed}, {moment:?}"));
    }
    all.iter().filter(|ack| matches!(ack, Ack::Published(_))).count()
}

#[test]
fn killed_at_every_failpoint_nothing_acknowledged_is_lost() {
    let lane = |lane: usize| failpoint::ALL.iter().skip(lane).step_by(LANES as usize);
    std::thread::scope(|scope| {
        (0..LANES as usize).for_each(|n| drop(scope.spawn(move || lane(n).for_each(|point| die_at(*point)))));
    });
}

fn die_at(point: Point) {
    let folder = tempfile::tempdir().expect("a folder");
    // These are written once in the life of a home.
    let once = matches!(point.what, What::Identity | What::Log);
    let count = if once { 1 } else { 1 + draw(&point.to_string(), 4) };
    let text = format!("{point}@{count}:abort");
    let (acks, status) = run(folder.path(), 1000, 9, Some(&text), None);
    assert!(!status.success(), "{text} was never passed");
    look(folder.path(), &acks, &text);
    let (more, status) = run(folder.path(), 1001, 1, None, None);
    assert!(status.success(), "{text}: the next process works on");
    look(folder.path(), &[acks, more].concat(), &format!("{text}, later"));
}
