//! Training that is interrupted at seeded moments in every way, with and without a daemon, and what must hold after each.
//!
//! Whole steps are counted by the lines of `metrics.jsonl`: a step's line is written when it is done, and a run that goes
//! on cuts off what comes after its checkpoint. So lines beyond the checkpoint are steps that will be done again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use potluck_trainer::fit::checkpoint;
use serde::Serialize;
use serde_json::Value;

use crate::crash::{Outcome, draw};
use crate::kit::{Answer, Program, Up, answer, text};
use crate::processes::{children, has_ended, signal};

/// Steps of a run.
const STEPS: u64 = 120;
/// Steps between its checkpoints.
const EVERY: u64 = 5;
/// A process that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// How a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// SIGINT to the whole group, as a terminal sends it. Beside a daemon the group is the client alone.
    Interrupt,
    /// SIGTERM to the whole group.
    Terminate,
    /// SIGHUP to the whole group.
    Hangup,
    /// SIGKILL to the command (or the daemon's client) alone.
    KillParent,
    /// SIGKILL to the worker alone.
    KillWorker,
    /// SIGTERM to a daemon and its worker, as a service manager sends it.
    StopDaemon,
}

impl Way {
    fn of(seed: &str, daemon: bool) -> Self {
        let ways =
            [Self::Interrupt, Self::Terminate, Self::Hangup, Self::KillParent, Self::KillWorker, Self::StopDaemon];
        ways[draw(seed, if daemon { 6 } else { 5 }) as usize]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate | Self::StopDaemon => "TERM",
            Self::Hangup => "HUP",
            Self::KillParent | Self::KillWorker => "KILL",
        }
    }

    /// Whether the one who is interrupted has the time to answer.
    fn is_answered(self) -> bool {
        !matches!(self, Self::KillParent | Self::KillWorker)
    }
}

/// What all interruptions have come to.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub interruptions: BTreeMap<Way, u64>,
    /// Runs that came to their end, each with the adapter of an undisturbed one.
    pub runs: u64,
    /// Whole steps that were done again: after SIGKILL of the worker alone.
    pub done_again: u64,
    /// The most of them after one kill.
    pub most_done_again: u64,
    /// From the signal to the end of everything that it was for.
    pub slowest_end_ms: u64,
}

/// Runs of one kind, one after the other in the same folder.
pub struct Campaign {
    program: Program,
    root: PathBuf,
    seed: u64,
    /// BLAKE3 of the factors of an undisturbed run.
    whole: blake3::Hash,
    beside_daemon: bool,
    daemon: Option<Up>,
    figures: Figures,
}

/// Where a run stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stand {
    /// Steps of the checkpoint.
    kept: u64,
    /// Whole steps in the metrics.
    done: u64,
}

impl Campaign {
    /// Makes the rows, and runs once undisturbed.
    pub fn new(program: Program, root: &Path, seed: u64, beside_daemon: bool) -> Outcome<Self> {
        let rows = |from: usize, to: usize| -> String {
            (from..to).map(|n| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{}\"}}\n", n * 7 % 100)).collect()
        };
        fs::write(root.join("rows.jsonl"), rows(0, 24))?;
        fs::write(root.join("held-out.jsonl"), rows(24, 28))?;
        let whole = blake3::hash(b"");
        let root = root.to_path_buf();
        let (daemon, figures) = (None, Figures::default());
        let mut campaign = Self { program, root, seed, whole, beside_daemon, daemon, figures };
        let undisturbed = campaign.command("1").output()?;
        if !undisturbed.status.success() {
            return Err(format!("an undisturbed run: {:#?}", answer(undisturbed)).into());
        }
        campaign.whole = campaign.factors()?;
        fs::remove_dir_all(campaign.out())?;
        Ok(campaign)
    }

    /// The `n`th interruption; runs that come to their end on the way are compared, and begun anew.
    pub fn interrupt(&mut self, n: u64) -> Outcome<()> {
        let mut tries = 0;
        loop {
            let seed = format!("{} {n} {tries}", self.seed);
            let way = Way::of(&format!("way {seed}"), self.beside_daemon);
            let before = self.stand()?;
            let ended = self.one(&seed, way, before)?;
            let after = self.stand()?;
            // Killed between its last two deeds, it leaves both: the same command ends it.
            let over = self.out().exists() && (ended.code == 0 || !self.run_folder().exists());
            if over {
                self.compare()?;
            }
            // A command that is killed may leave a worker that comes to the end all the same.
            if ended.code != 0 && !over {
                self.check(way, before, after, &ended).map_err(|error| {
                    format!("interruption {seed} by {way:?}: {error}\n{before:?} -> {after:?}\n{ended:#?}")
                })?;
                *self.figures.interruptions.entry(way).or_default() += 1;
                return Ok(());
            }
            tries += 1;
        }
    }

    /// Lets the last run come to its end.
    pub fn finish(mut self) -> Outcome<Figures> {
        self.start_daemon();
        let last = answer(self.command("2").output()?);
        if last.code != 0 {
            return Err(format!("the last run: {last:#?}").into());
        }
        self.compare()?;
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        Ok(self.figures)
    }

    fn out(&self) -> PathBuf {
        self.root.join("adapter")
    }

    fn run_folder(&self) -> PathBuf {
        self.root.join("adapter.run")
    }

    fn command(&self, threads: &str) -> Command {
        let path = |name: &str| text(&self.root.join(name));
        let (data, held_out, out) = (path("rows.jsonl"), path("held-out.jsonl"), text(&self.out()));
        let (steps, every) = (STEPS.to_string(), EVERY.to_string());
        let files = ["train", "--base", "tiny", "--data", &data, "--held-out", &held_out, "--out", &out];
        let size = ["--max-steps", &steps, "--batch-size", "2", "--gradient-accumulation", "2", "--r", "4"];
        let rest =
            ["--lora-dropout", "0.1", "--learning-rate", "3e-3", "--checkpoint-every", &every, "--eval-every", "17"];
        let args = [&files[..], &size[..], &rest[..], &["--threads", threads]].concat();
        let mut command = self.program.command(&self.root.join("home"), args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    fn start_daemon(&mut self) {
        if self.beside_daemon && self.daemon.is_none() {
            self.daemon = Some(self.program.up(&self.root.join("home"), "interruptions", &[]));
        }
    }

    /// Starts the run, interrupts it at a moment, and waits for the end of all that is to end.
    fn one(&mut self, seed: &str, way: Way, before: Stand) -> Outcome<Answer> {
        self.start_daemon();
        let threads = ["1", "2", "3"][draw(&format!("threads {seed}"), 3) as usize];
        let mut child = self.command(threads).spawn()?;
        self.wait_for_moment(seed, &mut child, before)?;
        let worker = self.worker(way, &mut child)?;
        let began = Instant::now();
        self.send(way, &child, worker)?;
        let ended = answer(child.wait_with_output()?);
        if way == Way::StopDaemon
            && let Some(daemon) = self.daemon.take()
        {
            daemon.stop();
        }
        while worker.is_some_and(|worker| !has_ended(worker)) {
            limit(began, "a worker that was told to end")?;
        }
        self.figures.slowest_end_ms = self.figures.slowest_end_ms.max(began.elapsed().as_millis() as u64);
        Ok(ended)
    }

    /// Some steps in, and some microseconds; every fourth time in the first instants of the process instead.
    fn wait_for_moment(&self, seed: &str, child: &mut Child, before: Stand) -> Outcome<()> {
        let began = Instant::now();
        let micros = |below| Duration::from_micros(draw(&format!("moment {seed}"), below));
        if draw(&format!("early {seed}"), 4) == 0 {
            // The moment itself is what is tested: nothing tells when it has come.
            std::thread::sleep(micros(600_000));
            return Ok(());
        }
        let steps = before.kept + 1 + draw(&format!("steps {seed}"), 12);
        while self.stand()?.done < steps && child.try_wait()?.is_none() {
            limit(began, "the next step")?;
        }
        std::thread::sleep(micros(30_000));
        Ok(())
    }

    /// The worker's process, as soon as there is one if it is the one to be killed.
    fn worker(&self, way: Way, child: &mut Child) -> Outcome<Option<u32>> {
        let parent = self.daemon.as_ref().map_or(child.id(), Up::pid);
        let began = Instant::now();
        loop {
            let worker = children(parent)?.into_iter().next();
            if worker.is_some() || way != Way::KillWorker || child.try_wait()?.is_some() {
                return Ok(worker);
            }
            limit(began, "the worker")?;
        }
    }

    fn send(&self, way: Way, child: &Child, worker: Option<u32>) -> Outcome<()> {
        let group = format!("-{}", child.id());
        let worker = worker.map(|worker| worker.to_string());
        match (way, &self.daemon) {
            (Way::StopDaemon, Some(daemon)) => {
                let daemon = daemon.pid().to_string();
                let both = std::iter::once(daemon.as_str()).chain(worker.as_deref());
                both.for_each(|pid| signal(way.name(), pid));
            }
            (Way::KillWorker, _) => worker.iter().for_each(|worker| signal(way.name(), worker)),
            (Way::KillParent, _) => signal(way.name(), &child.id().to_string()),
            _ => signal(way.name(), &group),
        }
        Ok(())
    }

    fn stand(&self) -> Outcome<Stand> {
        let kept = checkpoint::step(&self.run_folder().join("last.checkpoint")).unwrap_or(0);
        Ok(Stand { kept, done: steps(&self.run_folder().join("metrics.jsonl"))?.len() as u64 })
    }

    /// What must hold after an interruption.
    fn check(&mut self, way: Way, before: Stand, after: Stand, ended: &Answer) -> Outcome<()> {
        // Ended before it had opened the run's folder: all is as it was.
        let untouched = after == before;
        let done_again = after.done.checked_sub(after.kept).ok_or("the checkpoint counts steps without a line")?;
        match way {
            Way::KillWorker if !untouched => {
                if done_again > EVERY + 1 {
                    return Err("more steps are lost than those since the last checkpoint".into());
                }
                self.figures.done_again += done_again;
                self.figures.most_done_again = self.figures.most_done_again.max(done_again);
            }
            Way::KillWorker => {}
            _ if done_again > 0 && !untouched => return Err("a whole step is lost".into()),
            _ => {}
        }
        if after.kept < before.kept {
            return Err("the checkpoint is an earlier one".into());
        }
        if !way.is_answered() {
            return Ok(());
        }
        let kept = ended.json["error"]["kept"]["step"].as_u64().unwrap_or(0);
        match ended.code {
            130 if kept == after.kept => Ok(()),
            130 => Err("it says another step than it has kept".into()),
            // In its first instants, before it listens, a signal ends it as any program.
            -1 if untouched => Ok(()),
            // Its daemon was told to end before it had taken the request.
            5 if untouched && way == Way::StopDaemon => Ok(()),
            _ => Err("a polite signal is no failure".into()),
        }
    }

    /// A run that is over has the adapter of an undisturbed one, and each step once.
    fn compare(&mut self) -> Outcome<()> {
        if self.factors()? != self.whole {
            return Err("the adapter is another one than that of an undisturbed run".into());
        }
        let lines = steps(&self.out().join("metrics.jsonl"))?;
        if lines != (1..=STEPS).collect::<Vec<_>>() {
            return Err(format!("the metrics do not hold each step once: {lines:?}").into());
        }
        if self.run_folder().exists() {
            return Err("the run's folder stays behind".into());
        }
        self.figures.runs += 1;
        Ok(fs::remove_dir_all(self.out())?)
    }

    fn factors(&self) -> Outcome<blake3::Hash> {
        Ok(blake3::hash(&fs::read(self.out().join("adapter_model.safetensors"))?))
    }
}

/// A file and a process of somebody else cannot be awaited: they are looked at, and not for ever.
fn limit(began: Instant, what: &str) -> Outcome<()> {
    if began.elapsed() > LIMIT {
        return Err(format!("{what} does not come in {LIMIT:?}").into());
    }
    std::thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// Steps in the order of their lines, as far as they are whole; evaluations are none.
pub fn steps(metrics: &Path) -> Outcome<Vec<u64>> {
    let text = match fs::read_to_string(metrics) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let lines = whole.map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.iter().filter(|line| line["loss"].is_number()).filter_map(|line| line["step"].as_u64()).collect())
}
