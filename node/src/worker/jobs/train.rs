//! Training: rows to a PEFT folder. While it runs, everything of it lies in `OUT.run` beside the folder that is to come.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use potluck_protocol::id::Digest;
use potluck_trainer::backend::Residency;
use potluck_trainer::backend::cpu::CpuBackend;
use potluck_trainer::base::Base;
use potluck_trainer::checkpoint::CheckpointError;
use potluck_trainer::data::row;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::folder::{FolderError, RunFolder};
use potluck_trainer::fit::identity::Source;
use potluck_trainer::fit::order::heaviest;
use potluck_trainer::fit::run::{self, FitReport, Outcome as Ending, Run};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::config::LoraConfig;
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::memory::{self, MemoryPlan};
use potluck_trainer::model::batch::Batch;
use potluck_trainer::optim::AdamW;
use potluck_trainer::optim::schedule::{Schedule, Shape};
use potluck_trainer::peft;
use potluck_trainer::progress::Event;
use serde::Serialize;

use super::rows::Rows;
use super::{adapt, measure, open};
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Progress;
use crate::service::{NOTE, RunRecord};
use crate::worker::child::{Context, ORPHAN};
use crate::worker::failures;
use crate::worker::proto::{Engine, Measured, ScheduleName, TrainSettings, TrainTask};
use crate::worker::stopping::{self, METRICS, Output, SETTINGS, run_folder};

/// What is noted in the run's folder beside the trainer's own files.
const NOTES: [&str; 2] = [SETTINGS, NOTE];
/// How long a process that is ending is waited for: longer than a worker lives whose parent was killed.
const HANDOVER: Duration = Duration::from_secs(ORPHAN.as_secs() + 5);

/// A line of some 200 bytes for each of 20 million steps.
const METRICS_MAX: u64 = 4 << 30;

#[derive(Serialize)]
pub struct Trained {
    folder: PathBuf,
    /// What it was trained on.
    rows: row::Kind,
    steps: u64,
    /// Steps that the adapter has had: fewer where the best state was kept.
    kept: u64,
    stopped_early: bool,
    tokens_per_second: f64,
    loss: f64,
    held_out: Option<Measured>,
}

pub fn train(task: &TrainTask, context: &Context) -> Outcome<Trained> {
    stopping::look(&task.out)?;
    let base = open::base(&task.base)?;
    let read_rows = |path: &Path| Rows::read(path, &base, task.settings.max_length, task.settings.overlong.into());
    let mut rows = read_rows(&task.data)?;
    rows.remarks.iter().for_each(|text| context.report(Progress::Phase { text: text.clone() }));
    let held_out = task.held_out.as_deref().map(read_rows).transpose()?;
    let read =
        |folder: &PathBuf| peft::read(folder, base.architecture()).map_err(|error| failures::peft(folder, &error));
    let from = task.from.as_ref().map(read).transpose()?;
    if let Some(prompts) = &task.rehearsal {
        rows.rehearse(prompts, &base, &task.settings, context)?;
    }
    let settings = effective(&task.settings, from.as_ref());
    let config = config(&settings, rows.samples.len());
    let engine = Engine { dtype: settings.dtype, ..Engine::default() };
    let backend = open::cpu(engine, open::Purpose::Train)?;
    plan(&backend, &base, &config, &rows, context)?;
    let engine = format!("cpu {:?} {:?}", backend.precision(), backend.instructions());
    let model = open::load(backend, &base, Residency::Quantised)?.stopped_by(context.stop());
    context.keeps_something();
    let folder = take(&run_folder(&task.out), context)?;
    // Whoever had the folder may have come to the end meanwhile.
    let left = match stopping::look(&task.out) {
        Ok(left) => left,
        Err(failure) => {
            let _left_behind = folder.remove_if_empty(&NOTES);
            return Err(failure);
        }
    };
    let record = record(task, &rows, held_out.as_ref(), from.as_ref());
    let notes = [(SETTINGS, json(&settings)?), (NOTE, json(&record)?)];
    context.report(Progress::Phase { text: format!("{} rows, {} steps", rows.samples.len(), settings.max_steps) });
    if let Some(text) = never_warm(&settings) {
        context.report(Progress::Phase { text });
    }

    let id = task.base_id.to_string();
    let template = rows.template.map(|digest| digest.to_string()).unwrap_or_default();
    let mut progress = |event: &Event| report(event, context);
    let run = Run {
        source: Source { base: &id, template: &template, engine: &engine },
        start: from.as_ref(),
        held_out: held_out.as_ref().map_or(&[], |rows| &rows.samples),
        folder: Some(&folder),
        notes: &notes,
        progress: &mut progress,
        cancel: context.cancel(),
    };
    let fit = match run::fit(&model, &rows.samples, &config, run) {
        Ok(fit) if fit.outcome != Ending::Cancelled => fit,
        ended => {
            let failure = match ended {
                Ok(fit) => stopping::stopped(task, fit.steps),
                Err(error) => refused(&error, &rows, held_out.as_ref(), &folder, &settings),
            };
            // Settings that were refused have left nothing to go on from.
            let _left_behind = folder.remove_if_empty(&NOTES);
            return Err(failure);
        }
    };
    let measured = match &held_out {
        Some(rows) => Some(measure::rows(&model, &[(fit.adapter.clone(), 1.0)], rows, context).map_err(|failure| {
            if failure.kind == Kind::Interrupted { stopping::stopped(task, fit.steps) } else { failure }
        })?),
        None => None,
    };
    let record = RunRecord { steps: fit.kept, tokens: fit.labelled, ..record };
    let metrics = potluck_trainer::files::read(&folder.metrics(), METRICS_MAX)
        .map_err(|error| Failure::io("read the run's metrics", &error))?;
    let notes = [(SETTINGS, json(&settings)?), (NOTE, json(&record)?), (METRICS, metrics)];
    // What a person took away meanwhile is written again.
    if left == Output::Free || !stopping::has_adapter(&task.out) {
        adapt::write(&task.out, &fit.adapter, &base, &notes)?;
    }
    // The adapter is whole: the run's folder has done its work, and one that stays behind does no harm.
    let _left_behind = folder.remove(&NOTES);
    Ok(trained(task, rows.kind, &fit, measured))
}

/// Said of a run that is over before its rate has been anywhere but on its way up.
fn never_warm(settings: &TrainSettings) -> Option<String> {
    let TrainSettings { warmup_steps: warmup, max_steps: steps, .. } = *settings;
    (warmup >= steps).then(|| {
        format!(
            "remark: all {steps} steps are warm-up (--warmup-steps {warmup}), so that the learning rate only rises; give \
             fewer of these, or more steps"
        )
    })
}

/// What the run will need, told before it starts; a run that cannot fit is refused rather than killed half-way.
fn plan(backend: &CpuBackend, base: &Base, config: &FitConfig, rows: &Rows, context: &Context) -> Outcome<()> {
    let wrong = |error: FitError| failures::fit(rows, &error);
    let layout = Layout::training(&config.lora, base.architecture(), config.train.factors());
    let layout = layout.map_err(|error| wrong(error.into()))?;
    let heaviest = heaviest(&rows.samples, config);
    let (batch, targets) = Batch::training(&heaviest);
    let resident = memory::current_rss().unwrap_or(0);
    let step = (&batch, &targets[..]);
    let plan = MemoryPlan::of_step(backend, base, &layout, config.recompute, step, resident).map_err(wrong)?;
    context.report(Progress::Phase { text: format!("memory: {plan}") });
    let Some(available) = memory::available().filter(|available| plan.total() - resident > *available) else {
        return Ok(());
    };
    let megabytes = available as f64 / 1e6;
    Err(Failure::new(Kind::NoSpace, format!("the run needs {plan}; {megabytes:.0} MB are free on this machine")).hint(
        "take `--recompute full`, a smaller --micro-batch-tokens or --batch-size, shorter rows, or a quantised base",
    ))
}

/// A run that did not start or go on; of another run's state in its folder, which settings are others.
fn refused(
    error: &FitError,
    rows: &Rows,
    held_out: Option<&Rows>,
    folder: &RunFolder,
    settings: &TrainSettings,
) -> Failure {
    let failure = failures::fit_watched(rows, held_out, error);
    let differ = match error {
        FitError::Checkpoint(CheckpointError::OtherRun { .. }) => stopping::other_settings(folder.path(), settings),
        _ => Vec::new(),
    };
    if differ.is_empty() {
        return failure;
    }
    Failure { message: format!("{} ({})", failure.message, differ.join(", ")), ..failure }
}

fn trained(task: &TrainTask, rows: row::Kind, fit: &FitReport, held_out: Option<Measured>) -> Trained {
    Trained {
        folder: task.out.clone(),
        rows,
        steps: fit.steps,
        kept: fit.kept,
        stopped_early: fit.outcome == Ending::StoppedEarly,
        tokens_per_second: fit.tokens_per_second(),
        loss: fit.loss.unwrap_or_default(),
        held_out,
    }
}

/// Takes the run's folder. A worker whose parent was killed ends soon: that long it is waited for.
fn take(path: &Path, context: &Context) -> Outcome<RunFolder> {
    let (started, was_there) = (Instant::now(), path.exists());
    let folder = taken(path, context, started)?;
    if was_there && !folder.last().exists() {
        context.report(Progress::Phase { text: format!("begins anew: {} holds no checkpoint", path.display()) });
    }
    Ok(folder)
}

fn taken(path: &Path, context: &Context, started: Instant) -> Outcome<RunFolder> {
    let mut said = false;
    loop {
        match RunFolder::open(path) {
            Err(FolderError::Busy { .. })
                if started.elapsed() < HANDOVER && !context.cancel().load(Ordering::Relaxed) =>
            {
                if !said {
                    let text = format!("waiting for the process that still works in {}", path.display());
                    context.report(Progress::Phase { text });
                    said = true;
                }
                // A lock's release cannot be awaited together with a cancellation.
                std::thread::sleep(Duration::from_millis(50));
            }
            taken => return taken.map_err(|error| failures::folder(&error)),
        }
    }
}

/// The settings that hold: an adapter to go on from decides rank and modules.
fn effective(settings: &TrainSettings, from: Option<&Adapter>) -> TrainSettings {
    let mut settings = settings.clone();
    if let Some(adapter) = from {
        settings.r = adapter.config.r as u32;
        settings.target_modules = adapter.config.target_modules.clone();
        (settings.exclude_modules, settings.layers_to_transform) = (Vec::new(), None);
    }
    settings.lora_alpha = Some(settings.lora_alpha.unwrap_or(2.0 * settings.r as f32));
    settings
}

fn config(settings: &TrainSettings, samples: usize) -> FitConfig {
    let per_step = settings.batch_size.saturating_mul(settings.gradient_accumulation);
    FitConfig {
        lora: LoraConfig {
            r: settings.r as usize,
            lora_alpha: settings.lora_alpha.unwrap_or(2.0 * settings.r as f32),
            use_rslora: settings.use_rslora,
            lora_dropout: settings.lora_dropout,
            target_modules: settings.target_modules.clone(),
            exclude_modules: settings.exclude_modules.clone(),
            layers_to_transform: settings.layers_to_transform.clone(),
        },
        optimizer: AdamW { lr: settings.learning_rate, weight_decay: settings.weight_decay, ..AdamW::default() },
        schedule: Schedule { shape: shape(settings.schedule), warmup_steps: settings.warmup_steps },
        // As many as the steps take.
        epochs: (settings.max_steps as usize).div_ceil(samples.div_ceil(per_step.max(1)).max(1)).max(1) as u32,
        max_steps: Some(settings.max_steps),
        batch_size: settings.batch_size,
        accumulation: settings.gradient_accumulation,
        micro_batch_tokens: settings.micro_batch_tokens,
        max_grad_norm: Some(settings.max_grad_norm),
        train: settings.train,
        seed: settings.seed,
        eval_every: settings.eval_every,
        early_stopping: settings.early_stopping,
        keep: settings.keep,
        checkpoint_every: settings.checkpoint_every,
        recompute: settings.recompute,
    }
}

fn shape(name: ScheduleName) -> Shape {
    match name {
        ScheduleName::Constant => Shape::Constant,
        ScheduleName::Linear => Shape::Linear,
        ScheduleName::Cosine => Shape::Cosine,
    }
}

fn report(event: &Event, context: &Context) {
    let phase = |text: String| Progress::Phase { text };
    context.report(match event {
        Event::Step(step) => Progress::Step {
            step: step.step,
            steps: step.steps,
            loss: step.loss,
            tokens_per_second: step.tokens_per_second,
            seconds_left: step.seconds_left,
        },
        Event::Evaluated(evaluated) => phase(format!(
            "step {}: held-out loss {:.4}{}",
            evaluated.step,
            evaluated.loss,
            if evaluated.best { ", the best so far" } else { "" }
        )),
        Event::StoppedEarly { step } => phase(format!("stopped after step {step}: the held-out loss falls no more")),
        Event::Resumed { step, steps } => phase(format!("goes on from step {step} of {steps}")),
        Event::Checkpoint { .. } => return,
    });
}

/// What the run was made of; its steps and tokens are not known yet.
fn record(task: &TrainTask, rows: &Rows, held_out: Option<&Rows>, from: Option<&Adapter>) -> RunRecord {
    RunRecord {
        base: task.base_name.clone(),
        base_id: task.base_id,
        steps: 0,
        tokens: 0,
        seed: task.settings.seed,
        learning_rate: task.settings.learning_rate,
        data: rows.digest,
        held_out: held_out.map(|rows| rows.digest),
        template: rows.template,
        from: from.map(factors),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// BLAKE3 of an adapter's names and values.
fn factors(adapter: &Adapter) -> Digest {
    let tensors = adapter.tensors.iter();
    let bytes = tensors.flat_map(|(name, tensor)| {
        name.bytes().chain([0]).chain(tensor.values.iter().flat_map(|value| value.to_le_bytes()))
    });
    Digest::of(&bytes.collect::<Vec<u8>>())
}

fn json(value: &impl Serialize) -> Outcome<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Failure::new(Kind::Failed, error))?;
    bytes.push(b'\n');
    Ok(bytes)
}
