//! What a worker needs to train, evaluate, generate and measure, looked up in the home.

use std::path::{Path, PathBuf};

use potluck_protocol::id::BaseId;

use super::apart::Plan;
use super::publish::run_record;
use super::{Call, Service};
use crate::api::proto::{Bench, DataCheck, Eval, Generate, Train, WeightedRef};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{AdapterSource, BenchWork, Task, TrainTask};

impl Service {
    pub(super) async fn plan_train(&self, call: &Call<'_>, train: &Train) -> Outcome<Plan> {
        let base = self.find_base(call, &train.base).await?;
        let base_id = self.base_id(call, &base).await?;
        let from = match &train.from {
            Some(reference) => Some(self.start(reference, base_id).await?),
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
        Ok(Plan::new("potluck.train/1", train.settings.threads, Task::Train(Box::new(task))))
    }

    /// The folder of an adapter to go on from, which must be one of this base. // I6
    async fn start(&self, reference: &str, base: BaseId) -> Outcome<PathBuf> {
        let adapter = self.find_adapter(reference).await?;
        if let Some(manifest) = adapter.manifest {
            self.check_base(manifest, base).await?;
        }
        check_record(&adapter.folder, base)?;
        Ok(adapter.folder)
    }

    pub(super) async fn plan_eval(&self, call: &Call<'_>, eval: &Eval) -> Outcome<Plan> {
        let (base, mut adapters) = self.to_run(call, &eval.base).await?;
        adapters.extend(self.sources(&eval.adapters).await?);
        let task = Task::Eval { base, adapters, data: eval.data.clone() };
        Ok(Plan::new("potluck.eval/1", eval.threads, task))
    }

    pub(super) async fn plan_generate(&self, call: &Call<'_>, generate: &Generate) -> Outcome<Plan> {
        let (base, mut adapters) = self.to_run(call, &generate.base).await?;
        adapters.extend(self.sources(&generate.adapters).await?);
        let task = Task::Generate {
            base,
            adapters,
            prompt: generate.prompt.clone(),
            chat: generate.chat,
            max_new_tokens: generate.max_new_tokens,
        };
        Ok(Plan::new("potluck.generate/1", generate.threads, task))
    }

    pub(super) async fn plan_data_check(&self, call: &Call<'_>, check: &DataCheck) -> Outcome<Plan> {
        let base = self.find_base(call, &check.base).await?.source;
        let task = Task::CheckData { base, data: check.data.clone(), settings: check.settings.clone() };
        Ok(Plan::new("potluck.data.check/1", config::processors(), task))
    }

    pub(super) async fn plan_bench(&self, call: &Call<'_>, bench: &Bench) -> Outcome<Plan> {
        let base = self.find_base(call, &bench.base).await?.source;
        let (threads, schema) = (bench.work.threads(), schema_of(&bench.work));
        Ok(Plan::new(schema, threads, Task::Bench { base, work: bench.work.clone() }))
    }

    /// Adapters as folders with their weights.
    pub(super) async fn sources(&self, adapters: &[WeightedRef]) -> Outcome<Vec<AdapterSource>> {
        let mut sources = Vec::with_capacity(adapters.len());
        for adapter in adapters {
            let folder = self.find_adapter(&adapter.reference).await?.folder;
            sources.push(AdapterSource { folder, weight: adapter.weight as f32 });
        }
        Ok(sources)
    }
}

/// A folder that says which base it was trained on must be for this one. // I6
pub(super) fn check_record(folder: &Path, base: BaseId) -> Outcome<()> {
    match run_record(folder)?.filter(|record| record.base_id != base) {
        None => Ok(()),
        Some(record) => {
            let (own, asked) = (record.base_id.short(), base.short());
            Err(Failure::new(
                Kind::Incompatible,
                format!("{} was trained on base {own} ({}), not on {asked}", folder.display(), record.base),
            )
            .hint("give the base that it was trained on with --base REF"))
        }
    }
}

fn schema_of(work: &BenchWork) -> &'static str {
    match work {
        BenchWork::Step(_) => "potluck.bench.step/1",
        BenchWork::Generate(_) => "potluck.bench.generate/1",
    }
}
