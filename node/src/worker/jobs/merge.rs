//! Several adapters into one, by any method; the search for their weights; and how fast that is.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use potluck_protocol::base::Architecture;
use potluck_protocol::recipe::Weight;
use potluck_trainer::base::Base;
use potluck_trainer::bench::merge as measured;
use potluck_trainer::evaluate::{EvaluateOptions, evaluate};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::merge::folders::{self, Source};
use potluck_trainer::merge::{Method, Report, weigh};

use super::measure::BATCH;
use super::open;
use super::rows::Rows;
use crate::config;
use crate::failure::{Failure, Outcome};
use crate::ipc::{Progress, Unit};
use crate::worker::answers::{Chosen, LeastKept, MergeMeasured, MergedAdapter, MethodName};
use crate::worker::context::Context;
use crate::worker::failures;
use crate::worker::note;
use crate::worker::proto::{BenchMergeSettings, BenchMergeTask, BenchShape, MergeSource, MergeTask};

/// Merges PEFT folders into one.
pub fn merge(task: &MergeTask, context: &Context) -> Outcome<MergedAdapter> {
    let base = open::base(&task.base)?;
    let mut sources: Vec<Source> = task.adapters.iter().map(to_source).collect();
    let chosen = match &task.weights_by {
        Some(rows) => Some(choose(&base, &mut sources, rows, context)?),
        None => None,
    };
    context.report(Progress::Phase { text: format!("merging {} adapters", sources.len()) });
    let done = |done: usize, total: usize| {
        let (done, total) = (done as u64, total as u64);
        context.report(Progress::Count { what: "modules".to_owned(), done, total, unit: Unit::Items });
    };
    let (architecture, stop) = (base.architecture(), context.cancel());
    let notes = task.of.iter().map(note::file).collect::<Outcome<Vec<_>>>()?;
    let merged = folders::merge(&sources, architecture, task.method, &task.out, &notes, stop, &done);
    let (rank, report) = merged.map_err(|error| failures::merge(&error))?;
    let weights = sources.iter().map(|source| source.weight.get()).collect();
    let Settings { density, lambda, seed } = Settings::of(&task.method);
    Ok(MergedAdapter {
        folder: task.out.clone(),
        method: MethodName::from(&task.method),
        rank,
        density,
        lambda,
        seed,
        weights,
        kept_energy: report.kept_energy,
        least_kept: least_kept(report),
        chosen,
    })
}

/// The settings that an answer tells of; a method has some of them. The rank is that of the result.
struct Settings {
    density: Option<f64>,
    lambda: Option<f64>,
    seed: Option<u64>,
}

impl Settings {
    fn of(method: &Method) -> Self {
        match *method {
            Method::Sum | Method::Refit { .. } => Self { density: None, lambda: None, seed: None },
            Method::Ties { density, lambda, seed, .. } => {
                Self { density: Some(density), lambda: Some(lambda), seed: Some(seed) }
            }
            Method::Dare { density, seed, .. } => Self { density: Some(density), lambda: None, seed: Some(seed) },
        }
    }
}

fn least_kept(report: Report) -> Option<LeastKept> {
    report.least_kept.map(|(module, kept_energy)| LeastKept { module, kept_energy })
}

fn to_source(source: &MergeSource) -> Source {
    Source { folder: source.folder.clone(), weight: source.weight }
}

/// Gives the sources the weights with which their exact sum has the least loss on the rows.
fn choose(base: &Base, sources: &mut [Source], rows: &Path, context: &Context) -> Outcome<Chosen> {
    let rows = Rows::read_whole(rows, base)?;
    let read = |source: &Source| {
        let adapter = potluck_trainer::peft::read(&source.folder, base.architecture());
        adapter.map_err(|error| failures::peft(&source.folder, &error))
    };
    let adapters = sources.iter().map(read).collect::<Outcome<Vec<Adapter>>>()?;
    let model = open::model_to_generate(base)?;
    let options = EvaluateOptions { batch_size: BATCH, stop: rows.stop.clone(), exact_match: false };
    let total = weigh::evaluations_max(sources.len()) as u64;
    let mut done = 0;
    let given: Vec<Weight> = sources.iter().map(|source| source.weight).collect();
    let found = weigh::choose(&given, |weights| {
        context.report(Progress::Count { what: "evaluations, at most".to_owned(), done, total, unit: Unit::Items });
        done += 1;
        // A weight of zero costs nothing.
        let weighted: Vec<(&Adapter, f32)> = adapters
            .iter()
            .zip(weights)
            .filter(|(_, weight)| weight.0 != 0)
            .map(|(adapter, weight)| (adapter, weight.get() as f32))
            .collect();
        let attached = Attached::load(model.backend(), base.architecture(), &weighted);
        let attached = attached.map_err(|error| failures::lora(&error))?;
        let measured = evaluate(&model, &attached, &rows.samples, &options, context.cancel());
        let measured =
            measured.map_err(|error| failures::evaluate(rows.places(), &error))?.ok_or_else(Failure::interrupted)?;
        Ok::<_, Failure>(measured.loss)
    })?;
    sources.iter_mut().zip(&found.weights).for_each(|(source, weight)| source.weight = *weight);
    Ok(Chosen { given_loss: found.given_loss, loss: found.loss, evaluations: found.evaluations })
}

/// Merges made-up adapters, or given ones, each with the same weight.
pub fn bench(task: &BenchMergeTask, context: &Context) -> Outcome<MergeMeasured> {
    let architecture = read_architecture(&task.shape)?;
    let settings = &task.settings;
    let root = settings.folder.clone().unwrap_or_else(config::temporary);
    let folder = crate::scratch::make(&root)?;
    let folders = find_adapters(settings, &architecture, folder.path(), context)?;
    let weight = Weight(Weight::ONE.0 / folders.len().max(1) as i32);
    let sources: Vec<Source> = folders.into_iter().map(|folder| Source { folder, weight }).collect();
    context.report(Progress::Phase { text: format!("merging {} adapters", sources.len()) });
    let out = folder.path().join("merged");
    let report = measured::bench_merge(&sources, &architecture, settings.method, &out, context.cancel());
    let report = report.map_err(|error| failures::bench_merge(&error))?;
    let Settings { density, lambda, seed } = Settings::of(&settings.method);
    Ok(MergeMeasured {
        seconds: report.seconds,
        peak_rss_mb: report.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6),
        error: report.error,
        kept_energy: report.report.kept_energy,
        least_kept: least_kept(report.report),
        digest: report.digest,
        method: MethodName::from(&settings.method),
        rank: settings.from.is_empty().then_some(settings.rank),
        density,
        lambda,
        seed,
        adapters: sources.len(),
        rank_out: report.rank,
        threads: settings.threads,
    })
}

fn read_architecture(shape: &BenchShape) -> Outcome<Architecture> {
    match shape {
        BenchShape::Base(base) => Ok(open::base(base)?.architecture().clone()),
        BenchShape::Config(path) => measured::shape(path).map_err(|error| failures::bench_merge(&error)),
    }
}

/// The folders to merge; made up if none were named.
fn find_adapters(
    settings: &BenchMergeSettings,
    architecture: &Architecture,
    folder: &Path,
    context: &Context,
) -> Outcome<Vec<PathBuf>> {
    if !settings.from.is_empty() {
        return Ok(settings.from.clone());
    }
    let mut folders = Vec::with_capacity(settings.adapters);
    for index in 0..settings.adapters {
        if context.cancel().load(Ordering::Relaxed) {
            return Err(Failure::interrupted());
        }
        context.report(Progress::Phase { text: format!("making adapter {} of {}", index + 1, settings.adapters) });
        let path = folder.join(format!("adapter-{}", index + 1));
        // Each adapter of each seed has values of its own.
        let seed = settings.seed.wrapping_mul(1 << 20).wrapping_add(index as u64);
        measured::make(&path, architecture, settings.rank, seed).map_err(|error| failures::bench_merge(&error))?;
        folders.push(path);
    }
    Ok(folders)
}
