//! What a worker needs to train, evaluate, generate and measure, looked up in the home.

use std::sync::Arc;

use crate::api::ask::Answer;
use crate::api::proto::{Bench, DataCheck, Eval, Generate, Train};
use crate::app::adapters::Adapters;
use crate::app::adapters::of_base::{ToRun, Use};
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::plan::{Plan, Read};
use crate::app::resolver::Resolver;
use crate::app::worker::parse;
use crate::config;
use crate::failure::Outcome;
use crate::worker::proto::{BenchWork, Task, TrainTask};

/// Plans what the worker trains, evaluates, generates and measures.
#[derive(Clone)]
pub struct Training {
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) adapters: Arc<Adapters>,
    pub(in crate::app) resolver: Arc<Resolver>,
}

impl Training {
    /// A training run, on a base that its adapter will state.
    pub async fn plan_train(&self, call: &Call<'_>, train: &Train) -> Outcome<Plan> {
        let base = self.resolver.find_base(call, &train.base).await?;
        let base_id = self.bases.id(call, &base).await?;
        let from = match &train.from {
            Some(reference) => Some(self.adapters.find_of(call, reference, &base, Use::Make).await?.folder),
            None => None,
        };
        let task = TrainTask {
            base: base.source,
            base_name: base.name,
            base_id,
            data: train.data.clone(),
            held_out: train.held_out.clone(),
            rehearsal: train.rehearsal.clone(),
            from,
            out: train.out.clone(),
            settings: train.settings.clone(),
        };
        let read = |worked| parse(worked).map(Answer::Train);
        Ok(Plan::new(train.settings.threads, Task::Train(Box::new(task)), read))
    }

    /// The figures of a base or a version, with adapters, on rows.
    pub async fn plan_eval(&self, call: &Call<'_>, eval: &Eval) -> Outcome<Plan> {
        let ToRun { source: base, mut adapters, of } = self.resolver.to_run(call, &eval.base).await?;
        adapters.extend(self.adapters.adapters_to_run(call, &eval.adapters, &of).await?);
        let task = Task::Eval { base, adapters, data: eval.data.clone() };
        Ok(Plan::new(eval.threads, task, |worked| parse(worked).map(Answer::Eval)))
    }

    /// What a base or a version, with adapters, answers to a prompt.
    pub async fn plan_generate(&self, call: &Call<'_>, generate: &Generate) -> Outcome<Plan> {
        let ToRun { source: base, mut adapters, of } = self.resolver.to_run(call, &generate.base).await?;
        adapters.extend(self.adapters.adapters_to_run(call, &generate.adapters, &of).await?);
        let task = Task::Generate {
            base,
            adapters,
            prompt: generate.prompt.clone(),
            chat: generate.chat,
            max_new_tokens: generate.max_new_tokens,
        };
        Ok(Plan::new(generate.threads, task, |worked| parse(worked).map(Answer::Generate)))
    }

    /// Rows, looked at as training would read them.
    pub async fn plan_data_check(&self, call: &Call<'_>, check: &DataCheck) -> Outcome<Plan> {
        let base = self.resolver.find_base(call, &check.base).await?.source;
        let task = Task::CheckData { base, data: check.data.clone(), settings: check.settings.clone() };
        Ok(Plan::new(config::processors(), task, |worked| parse(worked).map(Answer::DataCheck)))
    }

    /// A step or a generation, timed.
    pub async fn plan_bench(&self, call: &Call<'_>, bench: &Bench) -> Outcome<Plan> {
        let base = self.resolver.find_base(call, &bench.base).await?.source;
        let read: Read = match bench.work {
            BenchWork::Step(_) => |worked| parse(worked).map(Answer::BenchStep),
            BenchWork::Generate(_) => |worked| parse(worked).map(Answer::BenchGenerate),
        };
        Ok(Plan::new(bench.work.threads(), Task::Bench { base, work: bench.work.clone() }, read))
    }
}
