//! Training: rows to a PEFT folder. While it runs, everything of it lies in `OUT.run` beside the folder that is to come.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use potluck_protocol::id::Digest;
use potluck_trainer::backend::Residency;
use potluck_trainer::backend::cpu::CpuBackend;
use potluck_trainer::base::Base;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::checkpoint::CheckpointError;
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::folder::{FolderError, RunFolder};
use potluck_trainer::fit::identity::{Source, cpu_engine};
use potluck_trainer::fit::order::heaviest;
use potluck_trainer::fit::progress::Event;
use potluck_trainer::fit::run::{self, FitReport, RunEnd};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::memory::{self, MemoryPlan};
use potluck_trainer::model::batch::Batch;
use potluck_trainer::model::decoder::Model;
use potluck_trainer::peft;
use serde::Serialize;

use super::rows::Rows;
use super::{adapt, measure, open};
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Progress;
use crate::worker::answers::Trained;
use crate::worker::context::{Context, ORPHAN};
use crate::worker::failures;
use crate::worker::note::{NOTE, RunRecord};
use crate::worker::proto::{Engine, Measured, TrainSettings, TrainTask};
use crate::worker::stopping::{self, METRICS, Output, SETTINGS, run_folder};

/// What is noted in the run's folder beside the trainer's own files.
const NOTES: [&str; 2] = [SETTINGS, NOTE];
/// How long a process that is ending is waited for: longer than a worker lives whose parent was killed.
const HANDOVER: Duration = Duration::from_secs(ORPHAN.as_secs() + 5);

/// A line of some 200 bytes for each of 20 million steps.
const METRICS_MAX: u64 = 4 << 30;

/// Trains, from the last checkpoint if there is one, and writes the adapter.
pub fn train(task: &TrainTask, context: &Context) -> Outcome<Trained> {
    stopping::find_output(&task.out)?;
    let run = Run::prepare(task, context)?;
    context.begin_keeping();
    // Whoever had the folder may have come to the end meanwhile, and the folder gone with it.
    let folder = open_folder(&run_folder(&task.out), context)
        .or_else(|failure| stopping::find_output(&task.out).and(Err(failure)))?;
    match stopping::find_output(&task.out).and_then(|output| run.train_in(&folder, output)) {
        Ok(trained) => {
            // The adapter is whole: the run's folder has done its work, and one that stays behind does no harm.
            let _left_behind = folder.remove(&NOTES);
            Ok(trained)
        }
        Err(failure) => {
            // Settings that were refused have left nothing to go on from.
            let _left_behind = folder.remove_if_empty(&NOTES);
            Err(failure)
        }
    }
}

/// What a run reads before it begins.
struct Inputs {
    base: Base,
    rows: Rows,
    held_out: Option<Rows>,
    /// The adapter to go on from.
    from: Option<Adapter>,
}

impl Inputs {
    fn read(task: &TrainTask, context: &Context) -> Outcome<Self> {
        let base = open::base(&task.base)?;
        let read_rows = |path: &Path| Rows::read(path, &base, task.settings.max_length, task.settings.overlong);
        let mut rows = read_rows(&task.data)?;
        rows.remarks.iter().for_each(|text| context.report(Progress::Phase { text: text.clone() }));
        let held_out = task.held_out.as_deref().map(read_rows).transpose()?;
        let read =
            |folder: &PathBuf| peft::read(folder, base.architecture()).map_err(|error| failures::peft(folder, &error));
        let from = task.from.as_ref().map(read).transpose()?;
        if let Some(prompts) = &task.rehearsal {
            rows.rehearse(prompts, &base, &task.settings, context)?;
        }
        Ok(Self { base, rows, held_out, from })
    }
}

/// A run that may begin: everything is read, and it fits into memory.
struct Run<'a> {
    task: &'a TrainTask,
    context: &'a Context,
    inputs: Inputs,
    /// Those that hold.
    settings: TrainSettings,
    config: FitConfig,
    model: Model<CpuBackend>,
}

impl<'a> Run<'a> {
    fn prepare(task: &'a TrainTask, context: &'a Context) -> Outcome<Self> {
        let inputs = Inputs::read(task, context)?;
        let settings = resolve(&task.settings, inputs.from.as_ref());
        let config = settings.fit_config(inputs.rows.samples.len());
        let engine = Engine { dtype: settings.dtype, ..Engine::default() };
        let backend = open::cpu(engine, open::Purpose::Train)?;
        check_memory(&backend, &inputs.base, &config, &inputs.rows, context)?;
        let model = open::load(backend, &inputs.base, Residency::Quantised)?.stopped_by(context.stop_flag());
        Ok(Self { task, context, inputs, settings, config, model })
    }

    fn train_in(&self, folder: &RunFolder, output: Output) -> Outcome<Trained> {
        let record = self.record();
        let notes = [(SETTINGS, to_json(&self.settings)?), (NOTE, to_json(&record)?)];
        let (rows, steps) = (self.inputs.rows.samples.len(), self.settings.max_steps);
        self.context.report(Progress::Phase { text: format!("{rows} rows, {steps} steps") });
        if let Some(text) = remark_on_warm_up(&self.settings) {
            self.context.report(Progress::Phase { text });
        }
        let fit = self.fit(folder, &notes)?;
        let held_out = self.measure(&fit)?;
        self.write(folder, output, &fit, RunRecord { steps: fit.kept, tokens: fit.labelled, ..record })?;
        Ok(self.answer(&fit, held_out))
    }

    fn fit(&self, folder: &RunFolder, notes: &[(&str, Vec<u8>)]) -> Outcome<FitReport> {
        let (id, backend) = (self.task.base_id.to_string(), self.model.backend());
        let template = self.inputs.rows.template.map(|digest| digest.to_string()).unwrap_or_default();
        let engine = cpu_engine(backend.precision(), backend.instructions());
        let mut progress = |event: &Event| report(event, self.context);
        let run = run::Run {
            source: Source { base: &id, template: &template, engine: &engine },
            start: self.inputs.from.as_ref(),
            held_out: self.inputs.held_out.as_ref().map_or(&[], |rows| &rows.samples),
            folder: Some(folder),
            notes,
            progress: &mut progress,
            cancel: self.context.cancel(),
        };
        match run::fit(&self.model, &self.inputs.rows.samples, &self.config, run) {
            Ok(fit) if fit.end == RunEnd::Cancelled => Err(stopping::stopped(self.task, fit.steps)),
            Ok(fit) => Ok(fit),
            Err(error) => Err(self.explain(&error, folder)),
        }
    }

    /// Why a run did not start or go on; of another run's state in its folder, which settings are others.
    fn explain(&self, error: &FitError, folder: &RunFolder) -> Failure {
        let held_out = self.inputs.held_out.as_ref().map_or(&[][..], Rows::places);
        let failure = failures::fit(self.inputs.rows.places(), held_out, error);
        let differ = match error {
            FitError::Checkpoint(CheckpointError::OtherRun { .. }) => {
                stopping::other_settings(folder.path(), &self.settings)
            }
            _ => Vec::new(),
        };
        if differ.is_empty() {
            return failure;
        }
        Failure { message: format!("{} ({})", failure.message, differ.join(", ")), ..failure }
    }

    /// Measures what came out on the held-out rows, if there are any.
    fn measure(&self, fit: &FitReport) -> Outcome<Option<Measured>> {
        let Some(rows) = &self.inputs.held_out else { return Ok(None) };
        let measured = measure::rows(&self.model, &[(fit.adapter.clone(), 1.0)], rows, self.context);
        measured.map(Some).map_err(|failure| {
            let stop = self.context.cancel().load(Ordering::SeqCst);
            if stop { stopping::stopped(self.task, fit.steps) } else { failure }
        })
    }

    /// Writes the adapter with its notes. What a person took away meanwhile is written again.
    fn write(&self, folder: &RunFolder, output: Output, fit: &FitReport, record: RunRecord) -> Outcome<()> {
        let metrics = potluck_trainer::files::read(&folder.metrics(), METRICS_MAX)
            .map_err(|error| Failure::io("read the run's metrics", &error))?;
        if output == Output::Whole && stopping::has_adapter(&self.task.out) {
            return Ok(());
        }
        let notes = [(SETTINGS, to_json(&self.settings)?), (NOTE, to_json(&record)?), (METRICS, metrics)];
        adapt::write(folder.path(), &self.task.out, &fit.adapter, &self.inputs.base, &notes)
    }

    /// What the run was made of; its steps and tokens are not known yet.
    fn record(&self) -> RunRecord {
        let Inputs { rows, held_out, from, .. } = &self.inputs;
        RunRecord {
            base: self.task.base_name.clone(),
            base_id: self.task.base_id,
            steps: 0,
            tokens: 0,
            seed: self.task.settings.seed,
            learning_rate: self.task.settings.learning_rate,
            data: rows.digest,
            held_out: held_out.as_ref().map(|rows| rows.digest),
            template: rows.template,
            from: from.as_ref().map(digest),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn answer(&self, fit: &FitReport, held_out: Option<Measured>) -> Trained {
        Trained {
            folder: self.task.out.clone(),
            rows: self.inputs.rows.kind,
            steps: fit.steps,
            kept: fit.kept,
            stopped_early: fit.end == RunEnd::StoppedEarly,
            tokens_per_second: fit.tokens_per_second(),
            loss: fit.loss.unwrap_or_default(),
            held_out,
        }
    }
}

/// A remark on a run that is over before its rate has been anywhere but on its way up.
fn remark_on_warm_up(settings: &TrainSettings) -> Option<String> {
    let TrainSettings { warmup_steps: warmup, max_steps: steps, .. } = *settings;
    (warmup >= steps).then(|| {
        format!(
            "remark: all {steps} steps are warm-up (--warmup-steps {warmup}), so that the learning rate only rises; give \
             fewer of these, or more steps"
        )
    })
}

/// Reports what the run will need before it starts; a run that cannot fit is refused rather than killed half-way.
fn check_memory(backend: &CpuBackend, base: &Base, config: &FitConfig, rows: &Rows, context: &Context) -> Outcome<()> {
    let wrong = |error: FitError| failures::fit(rows.places(), &[], &error);
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

/// Opens the run's folder for this process alone. A worker whose parent was killed ends soon: that long it is waited for.
fn open_folder(path: &Path, context: &Context) -> Outcome<RunFolder> {
    let (started, was_used) = (Instant::now(), !is_empty(path));
    let folder = wait_for_folder(path, context, started)?;
    if was_used && !folder.last().exists() {
        context.report(Progress::Phase { text: format!("begins anew: {} holds no checkpoint", path.display()) });
    }
    Ok(folder)
}

/// One that this process has just made, or none.
fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

fn wait_for_folder(path: &Path, context: &Context, started: Instant) -> Outcome<RunFolder> {
    let mut said = false;
    loop {
        match RunFolder::open(path) {
            Err(FolderError::Busy { .. })
                if started.elapsed() < HANDOVER && !context.cancel().load(Ordering::Relaxed) =>
            {
                if !said {
                    let text = format!("waiting for the process that still uses {}", path.display());
                    context.report(Progress::Phase { text });
                    said = true;
                }
                // A lock's release cannot be awaited together with a cancellation.
                std::thread::sleep(Duration::from_millis(50));
            }
            opened => return opened.map_err(|error| failures::folder(&error)),
        }
    }
}

/// The settings that hold: an adapter to go on from decides rank and modules.
fn resolve(settings: &TrainSettings, from: Option<&Adapter>) -> TrainSettings {
    let mut settings = settings.clone();
    if let Some(adapter) = from {
        settings.r = adapter.config.r as u32;
        settings.target_modules = adapter.config.target_modules.clone();
        (settings.exclude_modules, settings.layers_to_transform) = (Vec::new(), None);
    }
    settings.lora_alpha = Some(settings.alpha());
    settings
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
        Event::StoppedEarly { step } => {
            phase(format!("stopped after step {step}: the held-out loss no longer improves"))
        }
        Event::Resumed { step, steps } => phase(format!("goes on from step {step} of {steps}")),
        Event::Checkpoint { .. } => return,
    });
}

/// BLAKE3 of an adapter's names and values.
fn digest(adapter: &Adapter) -> Digest {
    let tensors = adapter.tensors.iter();
    let bytes = tensors.flat_map(|(name, tensor)| {
        name.bytes().chain([0]).chain(tensor.values.iter().flat_map(|value| value.to_le_bytes()))
    });
    Digest::of(&bytes.collect::<Vec<u8>>())
}

fn to_json(value: &impl Serialize) -> Outcome<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Failure::new(Kind::Failed, error))?;
    bytes.push(b'\n');
    Ok(bytes)
}
