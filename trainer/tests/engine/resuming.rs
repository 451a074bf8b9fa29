//! Runs that are interrupted, resumed, refused or broken off: the same bits, each line of the metrics once, nothing lost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use potluck_trainer::backend::Backend;
use potluck_trainer::data::sample::Sample;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::checkpoint::{self, CheckpointError};
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::folder::RunFolder;
use potluck_trainer::fit::progress::{Event, Silent};
use potluck_trainer::fit::run::{Run, RunEnd, fit};
use potluck_trainer::fit::watch::{EarlyStopping, Keep};
use potluck_trainer::lora::config::LoraConfig;
use potluck_trainer::model::block::Recompute;
use potluck_trainer::model::decoder::Model;

use crate::fitting::{bits, config, model, run, run_on, samples};
use crate::operation::on_every_f32_backend;
use crate::support::{architecture, noise_model};

on_every_f32_backend!(
    an_interrupted_and_resumed_run_gives_the_same_bits,
    a_run_whose_model_is_stopped_between_two_blocks_keeps_its_last_whole_step,
    the_checkpoint_of_another_run_is_refused,
    held_out_loss_ends_a_run_and_chooses_its_state,
    a_loss_that_is_not_finite_names_its_samples_and_keeps_the_last_good_state,
    a_rate_that_breaks_the_factors_leaves_no_checkpoint_of_them,
);

fn folder(root: &tempfile::TempDir) -> RunFolder {
    RunFolder::open(&root.path().join("run")).unwrap()
}

/// The steps of the lines, and whether each is an evaluation.
fn lines(path: &Path) -> Vec<(u64, bool)> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["step"].as_u64().unwrap(), line["eval_loss"].is_number())
    };
    text.lines().map(line).collect()
}

fn an_interrupted_and_resumed_run_gives_the_same_bits(b: &(impl Backend + Clone), _: f64) {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root);
    let lora = LoraConfig { lora_dropout: 0.2, ..config().lora };
    let config = FitConfig { lora, eval_every: 3, keep: Keep::Best, ..config() };
    let go = |folder: Option<&RunFolder>, stop| run_on(b, (&samples(17), &samples(5)), &config, folder, stop).unwrap();
    let whole = go(None, None);
    assert_eq!(whole.steps, 9);
    for stop in [1, 4, 6, 7] {
        let stopped = go(Some(&folder), Some(stop));
        assert_eq!((stopped.steps, stopped.end), (stop, RunEnd::Cancelled));
    }
    let resumed = go(Some(&folder), None);
    assert_eq!((resumed.steps, resumed.end), (9, RunEnd::Finished));
    assert_eq!(bits(&resumed), bits(&whole));
    assert_eq!((resumed.best, resumed.loss, resumed.labelled), (whole.best, whole.loss, whole.labelled));
    let evaluations = (1..=9).flat_map(|step| [(step, false), (step, true)]);
    let expected = evaluations.filter(|(step, evaluation)| !evaluation || step % 3 == 0);
    assert_eq!(lines(&folder.metrics()), expected.collect::<Vec<_>>());
    // Killed after its end, it ends again with the same.
    assert_eq!(bits(&go(Some(&folder), None)), bits(&whole));
}

/// The model alone is stopped, in a step and in an evaluation: what was under way goes, and no whole step does.
fn a_run_whose_model_is_stopped_between_two_blocks_keeps_its_last_whole_step(b: &(impl Backend + Clone), _: f64) {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root);
    let config = FitConfig { eval_every: 2, ..config() };
    let whole = run_on(b, (&samples(17), &samples(5)), &config, None, None).unwrap();
    for after in [1, 3, 4] {
        let (stop, cancel) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        let mut progress = |event: &Event| {
            if matches!(event, Event::Step(done) if done.step == after) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let run = Run { folder: Some(&folder), held_out: &samples(5), ..Run::new("noise", &mut progress, &cancel) };
        let stopped = fit(&model(b).stopped_by(Arc::clone(&stop)), &samples(17), &config, run).unwrap();
        assert_eq!((stopped.steps, stopped.end), (after, RunEnd::Cancelled));
        assert_eq!(checkpoint::step(&folder.last()), Some(after));
    }
    let resumed = run_on(b, (&samples(17), &samples(5)), &config, Some(&folder), None).unwrap();
    assert_eq!(bits(&resumed), bits(&whole));
}

fn the_checkpoint_of_another_run_is_refused(b: &(impl Backend + Clone), _: f64) {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root);
    run(b, &config(), Some(&folder), Some(1)).unwrap();
    let check = |config: &FitConfig, samples: &[Sample], says: &str| {
        let error = run_on(b, (samples, &[]), config, Some(&folder), None).unwrap_err();
        assert!(matches!(error, FitError::Checkpoint(CheckpointError::OtherRun { .. })), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    check(&FitConfig { max_grad_norm: Some(0.5), ..config() }, &samples(17), "with other settings");
    check(&config(), &samples(16), "other data");
    check(&FitConfig { seed: 6, ..config() }, &samples(17), "another start and other settings");
    // How often it saves and what it computes twice are no part of what a run is.
    let same = FitConfig { checkpoint_every: 5, recompute: Recompute::Full, ..config() };
    run(b, &same, Some(&folder), None).unwrap();
}

fn held_out_loss_ends_a_run_and_chooses_its_state(b: &(impl Backend + Clone), _: f64) {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root);
    // Other samples than those trained on: their loss rises soon.
    let held_out = samples(40).split_off(30);
    let stopping = Some(EarlyStopping { patience: 3, min_delta: 0.0 });
    let config = FitConfig { epochs: 60, eval_every: 1, early_stopping: stopping, keep: Keep::Best, ..config() };
    let go = |folder: Option<&RunFolder>, stop| run_on(b, (&samples(6), &held_out), &config, folder, stop).unwrap();
    let whole = go(None, None);
    assert_eq!(whole.end, RunEnd::StoppedEarly);
    let (step, _) = whole.best.unwrap();
    assert_eq!((whole.kept, whole.steps), (step, step + 3));
    let last = FitConfig { keep: Keep::Last, ..config.clone() };
    let last = run_on(b, (&samples(6), &held_out), &last, None, None).unwrap();
    assert_eq!((last.kept, last.steps), (whole.steps, whole.steps));
    assert_ne!(bits(&last), bits(&whole));
    // The count of evaluations without improvement outlives an interruption.
    for stop in [step, step + 1, step + 2] {
        go(Some(&folder), Some(stop));
    }
    let resumed = go(Some(&folder), None);
    assert_eq!((resumed.end, resumed.steps, resumed.best), (whole.end, whole.steps, whole.best));
    assert_eq!(bits(&resumed), bits(&whole));
}

/// A base with an infinite weight in the row of one token: only the sample with it is at fault.
fn a_loss_that_is_not_finite_names_its_samples_and_keeps_the_last_good_state(b: &(impl Backend + Clone), _: f64) {
    const TOKEN: u32 = 36;
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root);
    // Not tied: in an output projection the row would spoil every loss.
    let mut weights = noise_model(architecture(false), 1);
    weights.fill_row("model.embed_tokens.weight", TOKEN as usize, f32::NAN);
    let model = Model::load(b.clone(), &weights).unwrap();
    let mut all: Vec<Sample> = samples(17);
    all.iter_mut().for_each(|sample| sample.ids.iter_mut().for_each(|id| *id %= TOKEN));
    all[11].ids[0] = TOKEN;
    let config = FitConfig { checkpoint_every: 1, batch_size: 2, accumulation: 1, ..config() };
    let cancel = AtomicBool::new(false);
    let go = || fit(&model, &all, &config, Run { folder: Some(&folder), ..Run::new("nan", &mut Silent, &cancel) });
    let FitError::NonFinite { step, samples } = go().unwrap_err() else { panic!("another error") };
    assert_eq!(samples, [11]);
    let kept = std::fs::read(folder.last()).unwrap();
    assert!(lines(&folder.metrics()).len() as u64 == step - 1 && step > 1, "{step}");
    // Again: from the state before the step, to the same end, without a harm to that state.
    let FitError::NonFinite { step: again, .. } = go().unwrap_err() else { panic!("another error") };
    assert_eq!(again, step);
    assert_eq!(std::fs::read(folder.last()).unwrap(), kept);
}

/// A state that the next step could not go on from is not saved over one that it could.
fn a_rate_that_breaks_the_factors_leaves_no_checkpoint_of_them(b: &(impl Backend + Clone), _: f64) {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root);
    let mut wild = FitConfig { checkpoint_every: 1, ..config() };
    wild.optimizer.lr = 1e30;
    let error = run(b, &wild, Some(&folder), None).unwrap_err();
    let FitError::NonFinite { step: 2, samples } = error else { panic!("{error}") };
    assert!(!samples.is_empty());
    assert!(!folder.last().exists());
}
