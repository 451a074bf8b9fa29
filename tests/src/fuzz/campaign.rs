//! A run: batches of each target in child processes, which may die, and what they came to together.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use potluck_protocol::id::Digest;
use potluck_protocol::splitmix::mix;
use serde::Serialize;

use super::Target;
use super::batch::{Counts, Find, Length, last_input};
use super::seeds;

/// A batch is no longer than this, so that what one input does to its process costs little.
const BATCH: Duration = Duration::from_secs(60);

/// How a run is told to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// This program.
    pub program: PathBuf,
    pub seed: u64,
    /// So long for each target, or so many inputs.
    pub time: Option<Duration>,
    pub inputs: Option<u64>,
    /// Where finds are put.
    pub folder: Option<PathBuf>,
}

/// What a target's run came to: one line of JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    pub target: &'static str,
    pub seed: u64,
    pub seconds: u64,
    /// Child processes, and those of them that ended before they were through.
    pub batches: u64,
    pub broken: u64,
    pub inputs: u64,
    pub accepted: u64,
    /// Of the batch that saw the most.
    pub outcomes: u64,
    pub most_memory: usize,
    pub of_bytes: usize,
    pub finds: Vec<Saved>,
}

/// A find, and where its input lies.
#[derive(Debug, Serialize)]
pub struct Saved {
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    pub bytes: usize,
    /// The input, if it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

/// Batches of one target that may end before they are through: a fault that is met at once would go on for ever.
const BROKEN_MAX: u64 = 20;

/// Hex digits of an input that stands in a report.
const SHOWN: usize = 2048;

/// Runs batches of one target until its time or its inputs are used up.
pub fn run(plan: &Plan, target: &Target) -> io::Result<Report> {
    let scratch = tempfile::tempdir()?;
    let current = scratch.path().join("input");
    let begun = Instant::now();
    let (mut total, mut batches, mut broken) = (Counts::default(), 0, 0);
    let mut finds: BTreeMap<String, Find> = BTreeMap::new();
    loop {
        let left = plan.time.map_or(BATCH, |time| time.saturating_sub(begun.elapsed()));
        let inputs = plan.inputs.map_or(u64::MAX, |inputs| inputs.saturating_sub(total.inputs));
        if left.is_zero() || inputs == 0 || broken == BROKEN_MAX {
            break;
        }
        // Where inputs are counted, time is not.
        let time = if plan.time.is_some() { left.min(BATCH) } else { Duration::from_secs(u64::from(u32::MAX)) };
        let output = batch(plan, target, batches, Length { inputs, time }, &current)?;
        batches += 1;
        for find in
            output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Find>(line).ok())
        {
            finds.entry(kind(&find.what)).or_insert(find);
        }
        if let Some(counts) = last_line(&output.stdout).filter(|_| output.status.success()) {
            total = together(total, counts);
            continue;
        }
        broken += 1;
        let (begun, input) = last_input(&current)?;
        total.inputs += begun;
        let find = Find { what: last_words(&output), input: seeds::hex(&input) };
        finds.entry(kind(&find.what)).or_insert(find);
    }
    let finds = finds.into_values().map(|find| save(plan, target, find)).collect::<io::Result<_>>()?;
    let Counts { inputs, accepted, outcomes, most_memory, of_bytes } = total;
    let (seed, seconds, target) = (plan.seed, begun.elapsed().as_secs(), target.name);
    Ok(Report { target, seed, seconds, batches, broken, inputs, accepted, outcomes, most_memory, of_bytes, finds })
}

fn batch(plan: &Plan, target: &Target, number: u64, length: Length, current: &Path) -> io::Result<Output> {
    let seed = mix(plan.seed ^ Digest::of(target.name.as_bytes()).0[0] as u64).wrapping_add(number);
    let mut command = Command::new(&plan.program);
    command.args(["fuzz-batch", target.name, "--seed", &seed.to_string(), "--inputs", &length.inputs.to_string()]);
    command.args(["--milliseconds", &length.time.as_millis().to_string()]).arg("--current").arg(current);
    // The last words of a process that dies are why, not where.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output()
}

/// The counts of a batch that came through.
fn last_line(output: &[u8]) -> Option<Counts> {
    serde_json::from_slice(output.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?).ok()
}

fn together(one: Counts, other: Counts) -> Counts {
    let larger = if other.most_memory > one.most_memory { &other } else { &one };
    Counts {
        inputs: one.inputs + other.inputs,
        accepted: one.accepted + other.accepted,
        outcomes: one.outcomes.max(other.outcomes),
        most_memory: larger.most_memory,
        of_bytes: larger.of_bytes,
    }
}

/// How a process that did not come through ended, in its own words.
fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let said = lines[lines.len().saturating_sub(3)..].join("; ");
    format!("the process ended ({}): {said}", output.status)
}

/// Finds of one kind are one find.
fn kind(what: &str) -> String {
    what.chars().filter(|c| !c.is_ascii_digit()).take(200).collect()
}

fn save(plan: &Plan, target: &Target, find: Find) -> io::Result<Saved> {
    let input = seeds::bytes(&find.input).unwrap_or_default();
    let file =
        plan.folder.as_ref().map(|folder| folder.join(format!("{}-{}", target.name, Digest::of(&input).short())));
    if let (Some(folder), Some(file)) = (&plan.folder, &file) {
        fs::create_dir_all(folder)?;
        fs::write(file, &input)?;
    }
    let shown = find.input.len() <= SHOWN;
    Ok(Saved { what: find.what, file, bytes: input.len(), input: shown.then_some(find.input) })
}
