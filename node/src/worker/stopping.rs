//! What a training run that was stopped leaves, said to whoever stopped it; and how a run in the same folder begins.

use std::path::{Path, PathBuf};

use potluck_trainer::fit::checkpoint;
use potluck_trainer::fit::folder::RunFolder;
use potluck_trainer::peft::{CONFIG_FILE, MODEL_FILE};
use serde_json::Value;

use super::proto::{TrainSettings, TrainTask};
use crate::failure::{Failure, Kept, Kind, Outcome};
use crate::out_folder;

/// All settings, as `potluck train --config` reads them.
pub const SETTINGS: &str = "training.json";
/// One line for each step and evaluation.
pub const METRICS: &str = "metrics.jsonl";
/// Settings that make no other run of it.
const FREE: [&str; 3] = ["threads", "recompute", "checkpoint_every"];
/// Our own are a few thousand bytes.
const SETTINGS_MAX: u64 = 1 << 20;

/// `OUT.run`, beside the folder that is to come.
pub fn run_folder(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".run");
    name.into()
}

/// What a run has left in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing yet.
    Free,
    /// All of it: its process was killed after that, before it could remove the run's folder.
    Whole,
}

/// Whether a run may write there, or has done so already. What is neither is a person's, and an error.
pub fn find_output(out: &Path) -> Outcome<Output> {
    if is_whole(out) { Ok(Output::Whole) } else { out_folder::check_free(out).map(|()| Output::Free) }
}

/// Whether both files of an adapter are there.
pub fn has_adapter(out: &Path) -> bool {
    [CONFIG_FILE, MODEL_FILE].iter().all(|name| out.join(name).is_file())
}

/// What is copied last of all from the run's folder says that the result is this run's, and written to its end.
fn is_whole(out: &Path) -> bool {
    let run = run_folder(out);
    // A copy of the run's folder has these notes too, and no adapter.
    has_adapter(out)
        && [SETTINGS, METRICS].iter().all(|name| out_folder::same(&run.join(name), &out.join(name)).unwrap_or(false))
}

/// A run that was stopped after so many whole steps, all of which are kept.
pub fn stopped(task: &TrainTask, step: u64) -> Failure {
    if step == 0 {
        return Failure::new(Kind::Interrupted, "stopped before the first step was done; nothing to keep");
    }
    let (steps, folder) = (task.settings.max_steps, run_folder(&task.out));
    let place = folder.display();
    let said = format!("stopped at step {step} of {steps}, kept in {place}; the same command goes on from there");
    Failure::new(Kind::Interrupted, said).kept(Kept { step, steps, folder: folder.clone() })
}

/// One that was stopped before it had looked at what is kept in its folder.
pub fn stopped_before(task: &TrainTask) -> Failure {
    let Some(kept) = find_kept(task) else { return stopped(task, 0) };
    let place = kept.folder.display();
    let said =
        format!("stopped before a step was done; step {} stays kept in {place}, for the same command", kept.step);
    Failure::new(Kind::Interrupted, said).kept(kept.clone())
}

/// For one whose process was killed: what is left of it.
pub fn describe_left(task: &TrainTask) -> String {
    match find_kept(task) {
        Some(Kept { step, steps, folder }) => {
            format!("step {step} of {steps} is kept in {}: the same command goes on from there", folder.display())
        }
        None => "no checkpoint was written yet: the same command starts from the beginning".to_owned(),
    }
}

fn find_kept(task: &TrainTask) -> Option<Kept> {
    let (steps, folder) = (task.settings.max_steps, run_folder(&task.out));
    checkpoint::step(&RunFolder::last_in(&folder)).map(|step| Kept { step, steps, folder })
}

/// The settings in which a run differs from the one that a folder keeps, as flags: `--max-steps: 60 there, 300 here`.
pub fn other_settings(folder: &Path, here: &TrainSettings) -> Vec<String> {
    let (Some(there), Ok(here)) = (read_settings(folder), serde_json::to_value(here)) else { return Vec::new() };
    let Value::Object(here) = here else { return Vec::new() };
    let differs = here.iter().filter(|(name, value)| !FREE.contains(&name.as_str()) && there[name.as_str()] != **value);
    differs
        .map(|(name, value)| format!("--{}: {} there, {value} here", name.replace('_', "-"), there[name.as_str()]))
        .collect()
}

/// As this version writes them: an earlier one may have known fewer.
fn read_settings(folder: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(folder.join(SETTINGS)).ok()?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, SETTINGS_MAX), &mut bytes).ok()?;
    serde_json::to_value(serde_json::from_slice::<TrainSettings>(&bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_that_differ_are_named_as_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = TrainSettings { max_steps: 60, threads: 1, ..TrainSettings::default() };
        let text = serde_json::to_vec(&there).expect("JSON");
        std::fs::write(folder.path().join(SETTINGS), text).expect("writable");
        let here = TrainSettings { max_steps: 300, use_rslora: true, threads: 2, checkpoint_every: 7, ..there.clone() };
        let said = other_settings(folder.path(), &here);
        assert_eq!(said, ["--use-rslora: false there, true here", "--max-steps: 60 there, 300 here"]);
        assert_eq!(other_settings(folder.path(), &there), [""; 0]);
        assert_eq!(other_settings(&folder.path().join("none"), &here), [""; 0], "nothing is known of it");
    }
}
