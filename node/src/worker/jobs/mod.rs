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

pub use identify::describe_tiny;

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
        Task::Identify { base } => to_value(identify::identify(base)?),
        Task::Describe { base } => to_value(identify::describe(base)?),
        Task::Train(task) => to_value(train::train(task, context)?),
        Task::Eval { base, adapters, data } => to_value(measure::eval(base, adapters, data, context)?),
        Task::Generate { base, adapters, prompt, chat, max_new_tokens } => {
            to_value(measure::generate(base, adapters, (prompt, *chat), *max_new_tokens, context)?)
        }
        Task::CheckData { base, data, settings } => to_value(data::check(base, data, settings)?),
        Task::Merge(task) => to_value(merge::merge(task, context)?),
        Task::Fold { base, recipe, folders, out } => {
            to_value(fold::fold(base, recipe, folders, out.as_deref(), context)?)
        }
        Task::Choose(task) => to_value(choose::choose(task, context)?),
        Task::CompareView { view, original } => to_value(view::compare(view, original)?),
        Task::Normalise { base, of, folder, out } => to_value(adapt::normalise(base, of, folder, out)?),
        Task::Bench { base, work: BenchWork::Step(settings) } => to_value(bench::step(base, settings, context)?),
        Task::Bench { base, work: BenchWork::Generate(settings) } => to_value(bench::generate(base, settings)?),
        Task::BenchMerge(task) => to_value(merge::bench(task, context)?),
    })
}

fn to_value(answer: impl Serialize) -> Outcome<Value> {
    serde_json::to_value(answer).map_err(|error| Failure::new(Kind::Failed, format!("the answer: {error}")))
}
