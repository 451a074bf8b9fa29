//! Training: rows to a PEFT folder, with a checkpoint beside it while it runs.

use std::path::{Path, PathBuf};

use potluck_trainer::backend::Residency;
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::run::{self, Outcome as Ending, Run};
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::optim::AdamW;
use potluck_trainer::optim::schedule::{Schedule, Shape};
use potluck_trainer::progress::Event;
use serde::Serialize;

use super::rows::Rows;
use super::{adapt, measure, open};
use crate::api::proto::Progress;
use crate::failure::{Failure, Kind, Outcome};
use crate::service::{RUN_RECORD, RunRecord};
use crate::worker::child::Context;
use crate::worker::failures;
use crate::worker::proto::{Engine, Measured, ScheduleName, TrainSettings, TrainTask};

#[derive(Serialize)]
pub struct Trained {
    folder: PathBuf,
    steps: u64,
    tokens_per_second: f64,
    loss: f64,
    held_out: Option<Measured>,
}

pub fn train(task: &TrainTask, context: &Context) -> Outcome<Trained> {
    if task.out.exists() {
        return Err(Failure::new(Kind::Conflict, format!("{} exists", task.out.display()))
            .hint("choose another --out, or remove it: a finished run is never overwritten"));
    }
    let base = open::base(&task.base)?;
    let read = |path: &Path| Rows::read(path, &base, task.settings.max_length, task.settings.overlong.into());
    let mut rows = read(&task.data)?;
    let held_out = task.held_out.as_deref().map(read).transpose()?;
    let backend = open::cpu(Engine::default(), open::Purpose::Train)?;
    let model = open::load(backend, &base, Residency::Quantised)?;
    if let Some(prompts) = &task.rehearsal {
        rows.rehearse(prompts, &base, &task.settings, context)?;
    }
    let config = config(&task.settings, rows.samples.len());
    context.report(Progress::Phase { text: format!("{} rows, {} steps", rows.samples.len(), task.settings.max_steps) });

    let checkpoint = beside(&task.out);
    let id = task.base_id.to_string();
    let mut progress = |event: &Event| report(event, context);
    let run = Run { base: &id, checkpoint: Some(&checkpoint), progress: &mut progress, cancel: context.cancel() };
    let fit = run::fit(&model, &rows.samples, &config, run).map_err(|error| failures::fit(&rows, &error))?;
    if fit.outcome == Ending::Cancelled {
        return Err(Failure::interrupted().hint(format!(
            "{} steps are kept in {}: the same command goes on from there",
            fit.steps,
            checkpoint.display()
        )));
    }
    let measured = match &held_out {
        Some(rows) => Some(measure::rows(&model, &[(fit.adapter.clone(), 1.0)], rows, context)?),
        None => None,
    };
    let record = record(task, fit.steps, rows.labelled() * fit.steps as usize / rows.samples.len().max(1), &rows);
    let notes = serde_json::to_vec_pretty(&record).map_err(|error| Failure::new(Kind::Failed, error))?;
    adapt::write(&task.out, &fit.adapter, &base, &[(RUN_RECORD, notes)])?;
    // The folder is whole: the checkpoint has done its work, and one that stays behind does no harm.
    let _left_behind = std::fs::remove_file(&checkpoint);
    Ok(Trained {
        folder: task.out.clone(),
        steps: fit.steps,
        tokens_per_second: fit.tokens_per_second(),
        loss: fit.loss.unwrap_or_default(),
        held_out: measured,
    })
}

fn config(settings: &TrainSettings, samples: usize) -> FitConfig {
    let target_modules = match &settings.target_modules[..] {
        [] => Targets::AllLinear,
        names => Targets::Names(names.to_vec()),
    };
    let per_step = settings.batch_size * settings.gradient_accumulation;
    FitConfig {
        lora: LoraConfig { r: settings.r as usize, lora_alpha: settings.lora_alpha, target_modules },
        optimizer: AdamW { lr: settings.learning_rate, weight_decay: settings.weight_decay, ..AdamW::default() },
        schedule: Schedule { shape: shape(settings.schedule), warmup_steps: settings.warmup_steps },
        // As many as the steps take.
        epochs: (settings.max_steps as usize).div_ceil(samples.div_ceil(per_step).max(1)).max(1) as u32,
        max_steps: Some(settings.max_steps),
        batch_size: settings.batch_size,
        accumulation: settings.gradient_accumulation,
        max_grad_norm: Some(settings.max_grad_norm),
        seed: settings.seed,
        checkpoint_every: settings.checkpoint_every,
        ..FitConfig::default()
    }
}

fn shape(name: ScheduleName) -> Shape {
    match name {
        ScheduleName::Constant => Shape::Constant,
        ScheduleName::Linear => Shape::Linear,
        ScheduleName::Cosine => Shape::Cosine,
    }
}

/// `OUT.checkpoint`, beside the folder that is to come.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

fn report(event: &Event, context: &Context) {
    context.report(match event {
        Event::Step(step) => Progress::Step {
            step: step.step,
            steps: step.steps,
            loss: step.loss,
            tokens_per_second: step.tokens_per_second,
            seconds_left: step.seconds_left,
        },
        Event::Resumed { step } => Progress::Phase { text: format!("going on from step {step}") },
        Event::Checkpoint { .. } => return,
    });
}

fn record(task: &TrainTask, steps: u64, tokens: usize, rows: &Rows) -> RunRecord {
    RunRecord {
        base: task.base_name.clone(),
        base_id: task.base_id,
        steps,
        tokens: tokens as u64,
        seed: task.settings.seed,
        learning_rate: task.settings.learning_rate,
        data: rows.digest,
        template: rows.template,
    }
}
