//! What the worker process does: training, evaluation, generation, measuring.

use std::path::{Path, PathBuf};

use potluck_protocol::id::BaseId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::publish::run_record;
use super::{Call, Service, output};
use crate::api::proto::{Bench, DataCheck, Eval, Generate, Train, WeightedRef};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::parent;
use crate::worker::proto::{AdapterSource, BenchWork, Job, Task, TrainTask};

impl Service {
    /// Runs a task in a worker process and reads its answer.
    pub(super) async fn numerics<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        threads: usize,
        task: Task,
    ) -> Outcome<T> {
        let answer = parent::run(&Job { threads, task }, call.progress, call.cancel).await?;
        serde_json::from_value(answer)
            .map_err(|error| Failure::new(Kind::Failed, format!("the worker's answer: {error}")))
    }

    pub(super) async fn train(&self, call: &Call<'_>, train: Train) -> Outcome<Value> {
        output::check(&train.out)?;
        let base = self.find_base(call, &train.base).await?;
        let base_id = self.base_id(call, &base).await?;
        let from = match &train.from {
            Some(reference) => Some(self.start(reference, base_id).await?),
            None => None,
        };
        let threads = train.settings.threads;
        let task = TrainTask {
            base: base.source,
            base_name: base.name,
            base_id,
            data: train.data,
            held_out: train.held_out,
            rehearsal: train.rehearsal,
            from,
            out: train.out,
            settings: train.settings,
        };
        self.schema("potluck.train/1", self.numerics(call, threads, Task::Train(Box::new(task))).await?)
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

    pub(super) async fn eval(&self, call: &Call<'_>, eval: Eval) -> Outcome<Value> {
        let (base, mut adapters) = self.to_run(call, &eval.base).await?;
        adapters.extend(self.sources(&eval.adapters).await?);
        let task = Task::Eval { base, adapters, data: eval.data };
        self.schema("potluck.eval/1", self.numerics(call, eval.threads, task).await?)
    }

    pub(super) async fn generate(&self, call: &Call<'_>, generate: Generate) -> Outcome<Value> {
        let (base, mut adapters) = self.to_run(call, &generate.base).await?;
        adapters.extend(self.sources(&generate.adapters).await?);
        let task = Task::Generate {
            base,
            adapters,
            prompt: generate.prompt,
            chat: generate.chat,
            max_new_tokens: generate.max_new_tokens,
        };
        self.schema("potluck.generate/1", self.numerics(call, generate.threads, task).await?)
    }

    pub(super) async fn data_check(&self, call: &Call<'_>, check: DataCheck) -> Outcome<Value> {
        let base = self.find_base(call, &check.base).await?.source;
        let task = Task::CheckData { base, data: check.data, settings: check.settings };
        self.schema("potluck.data.check/1", self.numerics(call, config::processors(), task).await?)
    }

    pub(super) async fn bench(&self, call: &Call<'_>, bench: Bench) -> Outcome<Value> {
        let base = self.find_base(call, &bench.base).await?.source;
        let (threads, schema) = (bench.work.threads(), schema_of(&bench.work));
        self.schema(schema, self.numerics(call, threads, Task::Bench { base, work: bench.work }).await?)
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

    /// The answer with its schema as the first field.
    pub(super) fn schema(&self, schema: &str, answer: Value) -> Outcome<Value> {
        let mut object = json!({ "schema": schema });
        let Value::Object(fields) = answer else {
            return Err(Failure::new(Kind::Failed, "the worker's answer is no object"));
        };
        if let Some(object) = object.as_object_mut() {
            object.extend(fields);
        }
        Ok(object)
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
