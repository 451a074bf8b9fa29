//! What the worker does, one file per family of tasks.

mod adapt;
mod bench;
mod choose;
mod data;
mod fold;
mod identify;
mod measure;
mod merge;
mod open;
pub mod rows;
mod train;
mod view;

pub use identify::described;

use serde::Serialize;
use serde_json::Value;

use super::context::Context;
use super::proto::{BenchWork, Job, Task};
use crate::failure::{Failure, Kind, Outcome};

/// Runs a job on so many threads and gives its answer.
pub fn run(job: &Job, context: &Context) -> Outcome<Value> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads.max(1)).build();
    let pool = pool.map_err(|error| Failure::new(Kind::Failed, format!("start the numerics threads: {error}")))?;
    pool.install(|| match &job.task {
        Task::Identify { base } => value(identify::identify(base)?),
        Task::Train(task) => value(train::train(task, context)?),
        Task::Eval { base, adapters, data } => value(measure::eval(base, adapters, data, context)?),
        Task::Generate { base, adapters, prompt, chat, max_new_tokens } => {
            value(measure::generate(base, adapters, (prompt, *chat), *max_new_tokens, context)?)
        }
        Task::CheckData { base, data, settings } => value(data::check(base, data, settings)?),
        Task::Merge(task) => value(merge::merge(task, context)?),
        Task::Fold { base, recipe, folders, out } => value(fold::fold(base, recipe, folders, out.as_deref(), context)?),
        Task::Choose(task) => value(choose::choose(task, context)?),
        Task::CompareView { view, original } => value(view::compare(view, original)?),
        Task::Normalise { base, folder, out } => value(adapt::normalise(base, folder, out)?),
        Task::Bench { base, work: BenchWork::Step(settings) } => value(bench::step(base, settings, context)?),
        Task::Bench { base, work: BenchWork::Generate(settings) } => value(bench::generate(base, settings)?),
        Task::BenchMerge(task) => value(merge::bench(task, context)?),
    })
}

fn value(answer: impl Serialize) -> Outcome<Value> {
    serde_json::to_value(answer).map_err(|error| Failure::new(Kind::Failed, format!("the answer: {error}")))
}
