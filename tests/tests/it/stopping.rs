//! Stopping `potluck train` and what works beside it: every polite signal, what it says, and a home that is free meanwhile.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use potluck_tests::interrupting::{Campaign, steps};
use potluck_tests::kit::{Answer, Program, answer, copy_folder, text, train_adapter};
use potluck_tests::processes::{children, has_ended, signal};

use crate::program;

/// Interruptions of each of the two campaigns.
const INTERRUPTIONS: u64 = 12;

struct Bench {
    program: Program,
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { program: program(), root: tempfile::tempdir().expect("a folder") };
        let rows: String = (0..24).map(|n| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{n}\"}}\n")).collect();
        fs::write(bench.path("rows.jsonl"), rows).expect("writable");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A run that goes on until it is stopped, in a group of its own.
    fn command(&self, out: &str, others: &[&str]) -> Command {
        self.command_of("100000", out, others)
    }

    fn command_of(&self, max_steps: &str, out: &str, others: &[&str]) -> Command {
        let [data, out] = ["rows.jsonl", out].map(|name| text(&self.path(name)));
        let args = ["train", "--base", "tiny", "--data", &data, "--out", &out, "--r", "4", "--max-steps", max_steps];
        let mut command = self.program.command(&self.path("home"), args.iter().chain(others));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    /// The same, once it has done so many steps.
    fn after(&self, out: &str, done: usize, mut command: Command) -> Child {
        let child = command.spawn().expect("the program starts");
        self.wait(out, |steps| steps >= done);
        child
    }

    /// Until the number of whole steps is such. Another process's file cannot be awaited.
    fn wait(&self, out: &str, enough: impl Fn(usize) -> bool) {
        let limit = Instant::now() + Duration::from_secs(120);
        while !enough(self.steps(out)) {
            assert!(Instant::now() < limit, "no step in two minutes");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn steps(&self, out: &str) -> usize {
        steps(&self.path(&format!("{out}.run/metrics.jsonl"))).expect("whole lines").len()
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.path("home"), args)
    }
}

fn group(child: &Child) -> String {
    format!("-{}", child.id())
}

fn ended(child: Child) -> Answer {
    answer(child.wait_with_output().expect("our child"))
}

/// The worker of a command that has one.
fn worker(child: &Child) -> u32 {
    children(child.id()).expect("readable").pop().expect("a worker")
}

/// Must-show: in every way, at random moments, and the same adapter to the bit with each step in its metrics once.
fn interrupted(beside_daemon: bool) {
    let root = tempfile::tempdir().expect("a folder");
    let mut campaign = Campaign::new(program(), root.path(), 1, beside_daemon).expect("an undisturbed run");
    for n in 0..INTERRUPTIONS {
        campaign.interrupt(n).unwrap_or_else(|error| panic!("{error}"));
    }
    let figures = campaign.finish().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(figures.interruptions.values().sum::<u64>(), INTERRUPTIONS, "{figures:?}");
}

#[test]
fn a_run_that_is_interrupted_in_every_way_makes_the_same_adapter() {
    interrupted(false);
}

#[test]
fn a_daemons_run_that_is_interrupted_in_every_way_makes_the_same_adapter() {
    interrupted(true);
}

#[test]
fn each_signal_keeps_the_last_whole_step_and_says_how_to_go_on() {
    let bench = Bench::new();
    let mut kept = 0;
    for name in ["INT", "TERM", "HUP", "QUIT"] {
        let before = kept;
        let child = bench.after("out", before + 3, bench.command("out", &[]));
        signal(name, &group(&child));
        let stopped = ended(child);
        assert_eq!(stopped.code, 130, "{name}: {stopped:#?}");
        kept = bench.steps("out");
        let folder = text(&bench.path("out.run"));
        let said = format!("stopped at step {kept} of 100000, kept in {folder}; the same command goes on from there\n");
        assert!(stopped.stderr.ends_with(&said), "{name}: {stopped:#?}");
        let error = &stopped.json["error"];
        assert_eq!((&stopped.json["schema"], &error["kind"]), (&"potluck.error/1".into(), &"interrupted".into()));
        assert_eq!(error["kept"], serde_json::json!({ "step": kept, "steps": 100_000, "folder": folder }), "{name}");
        let goes_on = format!("goes on from step {before} of 100000");
        assert_eq!(stopped.stderr.contains(&goes_on), before > 0, "{name}: {stopped:#?}");
        assert!(!stopped.stderr.contains("begins anew"), "{name}: {stopped:#?}");
    }
}

/// `timeout` sends its signal to its child and to the group: twice to the one, and that is no second Ctrl-C.
/// A process that is killed between its last two deeds leaves the adapter and the run's folder. Nobody can be killed there
/// on purpose, so the folder is put back as it was then, but for the checkpoint, which is an earlier one.
#[test]
fn a_run_that_was_killed_when_all_was_written_ends_with_the_same_command() {
    let bench = Bench::new();
    let bounded = |bench: &Bench| bench.command_of("400", "out", &[]);
    let child = bench.after("out", 3, bounded(&bench));
    signal("INT", &group(&child));
    assert_eq!(ended(child).code, 130);
    let [run, kept, out] = ["out.run", "kept", "out"].map(|name| bench.path(name));
    copy_folder(&run, &kept);
    assert_eq!(ended(bounded(&bench).spawn().expect("it starts")).code, 0);
    let factors = || fs::read(out.join("adapter_model.safetensors")).expect("written");
    let (before, metrics) = (factors(), fs::read(out.join("metrics.jsonl")).expect("written"));
    assert!(!run.exists());
    fs::rename(&kept, &run).expect("ours");
    // What lies there is another run's result.
    let refused = ended(bounded(&bench).spawn().expect("it starts"));
    assert_eq!(refused.code, 9, "{refused:#?}");
    fs::write(run.join("metrics.jsonl"), &metrics).expect("ours");
    // The notes alone are a copy of the run's folder, and no result.
    let aside = bench.path("aside");
    fs::rename(out.join("adapter_model.safetensors"), &aside).expect("ours");
    assert_eq!(ended(bounded(&bench).spawn().expect("it starts")).code, 9);
    fs::rename(&aside, out.join("adapter_model.safetensors")).expect("ours");
    let whole = ended(bounded(&bench).spawn().expect("it starts"));
    assert_eq!(whole.code, 0, "{whole:#?}");
    assert!(!run.exists() && factors() == before);
    assert_eq!(ended(bounded(&bench).spawn().expect("it starts")).code, 9, "there is nothing to end any more");
}

#[test]
fn timeout_ends_a_run_in_order() {
    let bench = Bench::new();
    let run = bench.command("out", &[]);
    let mut command = Command::new("timeout");
    command.arg("-s").arg("INT").arg("600").arg(run.get_program()).args(run.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = bench.after("out", 2, command);
    // What it does when the time is over, without the wait: it passes on what it gets.
    signal("TERM", &child.id().to_string());
    let stopped = ended(child);
    assert!(stopped.stderr.contains("stopped at step"), "{stopped:#?}");
    assert_eq!(stopped.json["error"]["kept"]["step"], bench.steps("out"));
}

#[test]
fn a_run_that_begins_anew_says_so_and_one_that_has_done_nothing_keeps_nothing() {
    let bench = Bench::new();
    let child = bench.after("out", 2, bench.command("out", &[]));
    signal("KILL", &group(&child));
    assert_eq!(ended(child).code, -1);
    let again = bench.after("out", 1, bench.command("out", &[]));
    bench.wait("out", |steps| steps > 3);
    signal("INT", &group(&again));
    let again = ended(again);
    let folder = text(&bench.path("out.run"));
    assert!(again.stderr.contains(&format!("begins anew: {folder} holds no checkpoint")), "{again:#?}");
    assert!(!again.stderr.contains("goes on from step"), "{again:#?}");

    // SIGTERM: where the tests run in a script's background, SIGINT is ignored until the program listens.
    let first = bench.command("other", &[]).spawn().expect("the program starts");
    signal("TERM", &group(&first));
    let first = ended(first);
    // Before it listens at all a signal ends it as any program.
    assert!(first.code == 130 || first.code == -1, "{first:#?}");
    assert!(first.code == -1 || first.stderr.contains("before the first step was done; nothing to keep"), "{first:#?}");
    assert!(!bench.path("other.run").exists());
}

#[test]
fn a_second_interrupt_ends_at_once_and_leaves_the_last_checkpoint() {
    let bench = Bench::new();
    let child = bench.after("out", 4, bench.command("out", &["--checkpoint-every", "1"]));
    let worker = worker(&child);
    // A worker that is stopped cannot end by itself.
    signal("STOP", &worker.to_string());
    signal("INT", &child.id().to_string());
    let limit = Instant::now() + Duration::from_secs(60);
    while !has_ended(child.id()) {
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(100));
        signal("INT", &child.id().to_string());
    }
    assert_eq!(ended(child).code, 130);
    assert!(has_ended(worker), "no worker survives");
    let next = bench.after("out", 5, bench.command("out", &["--checkpoint-every", "1"]));
    signal("TERM", &group(&next));
    let next = ended(next);
    assert!(next.stderr.contains("goes on from step"), "{next:#?}");
}

/// A terminal that is gone takes no more output, and neither does a reader that had enough.
#[test]
fn a_run_whose_output_nobody_takes_keeps_its_steps() {
    let bench = Bench::new();
    let mut child = bench.after("out", 2, bench.command("out", &[]));
    drop((child.stdout.take(), child.stderr.take()));
    signal("HUP", &group(&child));
    assert_eq!(ended(child).code, 130);
    let next = bench.after("out", bench.steps("out") + 1, bench.command("out", &[]));
    signal("INT", &group(&next));
    let next = ended(next);
    assert!(next.stderr.contains("goes on from step"), "{next:#?}");
}

#[test]
fn a_run_that_was_suspended_goes_on() {
    let bench = Bench::new();
    let child = bench.after("out", 2, bench.command("out", &[]));
    signal("TSTP", &group(&child));
    signal("CONT", &group(&child));
    let done = bench.steps("out");
    bench.wait("out", |steps| steps > done + 2);
    signal("INT", &group(&child));
    assert_eq!(ended(child).code, 130);
}

/// Whoever starts it with `nohup` has said that the end of the session is not the end of the run.
#[test]
fn nohup_outlives_the_session() {
    let bench = Bench::new();
    let run = bench.command("out", &[]);
    let mut command = Command::new("nohup");
    command.arg(run.get_program()).args(run.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = bench.after("out", 2, command);
    signal("HUP", &group(&child));
    let done = bench.steps("out");
    bench.wait("out", |steps| steps > done + 3);
    signal("TERM", &group(&child));
    assert_eq!(ended(child).code, 130);
}

#[test]
fn no_worker_outlives_its_parent_and_the_step_is_kept() {
    let bench = Bench::new();
    let child = bench.after("out", 2, bench.command("out", &[]));
    let worker = worker(&child);
    signal("KILL", &child.id().to_string());
    assert_eq!(ended(child).code, -1);
    let next = bench.command("out", &[]).spawn().expect("the program starts");
    let limit = Instant::now() + Duration::from_secs(60);
    while !has_ended(worker) {
        assert!(Instant::now() < limit, "the worker lives");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kept = bench.steps("out");
    bench.wait("out", |steps| steps > kept);
    signal("INT", &group(&next));
    let next = ended(next);
    assert!(next.stderr.contains(&format!("goes on from step {kept} of")), "{next:#?}");
}

#[test]
fn every_other_verb_and_a_daemon_work_beside_a_run() {
    let bench = Bench::new();
    let home = bench.path("home");
    train_adapter(&bench.program, &home, &bench.path("small"), 3);
    let [small, rows] = ["small", "rows.jsonl"].map(|name| text(&bench.path(name)));
    let run = bench.after("out", 1, bench.command("out", &[]));
    let published = bench.run(&["publish", &small, "--name", "small"]);
    assert_eq!(published.code, 0, "{published:#?}");
    let id = published.json["manifest"].as_str().expect("an id").to_owned();
    let verbs: [&[&str]; 9] = [
        &["status"],
        &["base", "list"],
        &["base", "show", "tiny"],
        &["show", &id],
        &["verify", &id],
        &["store", "stat"],
        &["store", "verify"],
        &["data", "check", &rows, "--base", "tiny"],
        &["eval", "--base", "tiny", "--adapter", "small", "--data", &rows],
    ];
    for verb in verbs {
        let answer = bench.run(verb);
        assert_eq!(answer.code, 0, "{verb:?}: {answer:#?}");
    }
    let generate = ["generate", "--base", "tiny", "--adapter", "small", "--max-new-tokens", "4", "say 3:"];
    assert_eq!(bench.run(&generate).code, 0);
    let second = bench.after("second", 1, bench.command("second", &[]));
    signal("INT", &group(&second));
    assert!(ended(second).stderr.contains("stopped at step"));

    let daemon = bench.program.up(&home, "beside", &[]);
    assert_eq!(bench.run(&["status"]).json["running"], true);
    assert_eq!(bench.run(&generate).code, 0);
    daemon.stop();
    signal("INT", &group(&run));
    assert_eq!(ended(run).code, 130);
}

/// The worker keeps its step, the client hears where it stands, and the daemon says what it waits for.
#[test]
fn a_daemon_that_is_told_to_stop_ends_its_runs_in_order() {
    let bench = Bench::new();
    let home = bench.path("home");
    let listen = ["up", "--network", "ending", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let mut command = bench.program.command(&home, listen);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = command.spawn().expect("the program starts");
    first_byte(&mut daemon);
    let child = bench.after("out", 2, bench.command("out", &[]));
    let worker = children(daemon.id()).expect("readable").pop().expect("the daemon's worker");
    signal("TERM", &daemon.id().to_string());
    let stopped = ended(child);
    assert_eq!(stopped.code, 130, "{stopped:#?}");
    assert_eq!(stopped.json["error"]["kept"]["step"], bench.steps("out"), "{stopped:#?}");
    let daemon = ended(daemon);
    assert_eq!(daemon.code, 0, "{daemon:#?}");
    assert!(daemon.stderr.contains("stopping 1 job;"), "{daemon:#?}");
    assert!(has_ended(worker));
}

/// It prints where it listens once it does.
fn first_byte(daemon: &mut Child) {
    let stdout = daemon.stdout.as_mut().expect("piped");
    stdout.read_exact(&mut [0]).expect("the daemon comes up");
}

#[test]
fn other_long_verbs_say_that_they_were_interrupted_and_leave_nothing() {
    let bench = Bench::new();
    let rows: String = (0..4000).map(|n| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{n}\"}}\n")).collect();
    fs::write(bench.path("many.jsonl"), rows).expect("writable");
    let many = text(&bench.path("many.jsonl"));
    let verbs: [&[&str]; 3] = [
        &["eval", "--base", "tiny", "--data", &many],
        &["generate", "--base", "tiny", "--max-new-tokens", "100000", "say"],
        &["bench", "step", "--base", "tiny", "--steps", "100000"],
    ];
    // On a home, and where there is none yet: something stands in for it meanwhile.
    bench.program.make_home(&bench.path("home"));
    fs::create_dir(bench.path("temporary")).expect("new");
    for (verb, home) in verbs.iter().flat_map(|verb| [(verb, "home"), (verb, "no-home")]) {
        let mut command = bench.program.command(&bench.path(home), verb.iter());
        command.env("TMPDIR", bench.path("temporary"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().expect("the program starts");
        let limit = Instant::now() + Duration::from_secs(60);
        while children(child.id()).expect("readable").is_empty() {
            assert!(Instant::now() < limit && !has_ended(child.id()), "{verb:?} starts no worker");
            std::thread::sleep(Duration::from_millis(2));
        }
        signal("TERM", &group(&child));
        let stopped = ended(child);
        assert_eq!(
            (stopped.code, stopped.json["error"]["message"].as_str()),
            (130, Some("interrupted")),
            "{verb:?}: {stopped:#?}"
        );
    }
    assert!(is_empty(&bench.path("home/tmp")) && is_empty(&bench.path("temporary")));
    assert!(!bench.path("no-home").exists());
    assert_eq!(bench.run(&["status"]).code, 0);
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("readable").next().is_none()
}
