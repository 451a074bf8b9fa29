//! Long work apart from the home. Everything that a worker needs is looked up first, as paths of files; while it computes,
//! a command without a daemon lets go of the home, so that every other command and a daemon work beside it.
//!
//! What protects those files: nothing removes bases and adapters from a home, and a file that is replaced stays whole for
//! whoever has it open. What will remove some day must ask first what is in use.

use std::path::{Path, PathBuf};

use potluck_protocol::id::RecipeId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bases::Identified;
use super::merge::{Folded, note};
use super::resolve::KnownBase;
use super::{Call, Service, output};
use crate::api::proto::{MergeInto, Progress, Request, WeightedRef};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::parent;
use crate::worker::proto::{BaseSource, Job, Task};

/// Work for a worker process, and what becomes of its answer.
pub(super) struct Plan {
    pub schema: &'static str,
    pub threads: usize,
    pub task: Task,
    /// Of a fold: what is noted of its answer.
    pub fold: Option<Fold>,
}

/// A fold under way.
pub(super) struct Fold {
    pub recipe: RecipeId,
    pub out: PathBuf,
    /// What is known of it already.
    pub answer: Value,
}

/// A base that was read whole before the home was opened.
pub(super) struct Read {
    pub source: BaseSource,
    pub identified: Identified,
}

impl Plan {
    pub fn new(schema: &'static str, threads: usize, task: Task) -> Self {
        Self { schema, threads, task, fold: None }
    }
}

impl Service {
    /// Runs a request on a home that nobody else uses, and holds the home no longer than it reads or writes there.
    pub async fn run_apart(
        self,
        request: Request,
        progress: mpsc::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Outcome<Value> {
        let call = Call { progress: &progress, cancel: &cancel };
        let root = self.home.layout().root().to_path_buf();
        super::check_output(&request)?;
        let service = match self.to_be_read(&request).await? {
            Some(source) => {
                drop(self);
                let identified = read_whole(&call, &source).await?;
                Self { read: Some(Read { source, identified }), ..Self::offline(&root).await? }
            }
            None => self,
        };
        let Some(plan) = service.plan(&call, &request).await? else {
            return service.run(request, progress.clone(), cancel.clone()).await;
        };
        drop(service);
        let worked = worker(&call, plan.threads, plan.task).await?;
        match plan.fold {
            None => with_schema(plan.schema, worked),
            Some(fold) => fold.note_apart(&root, &call, typed(worked)?).await,
        }
    }

    /// The base of a request that must be read whole to know its id, which takes long and needs no home.
    async fn to_be_read(&self, request: &Request) -> Outcome<Option<BaseSource>> {
        // What is made states its base; else the id is asked for only if an adapter says which base it is of.
        let (base, adapters): (_, Option<&[WeightedRef]>) = match request {
            Request::Train(train) => (&train.base, None),
            Request::Merge(merge) => match merge.into {
                MergeInto::Base { .. } => (&merge.base, None),
                MergeInto::Adapter { .. } => (&merge.base, Some(&merge.adapters)),
            },
            Request::Eval(eval) => (&eval.base, Some(&eval.adapters)),
            Request::Generate(generate) => (&generate.base, Some(&generate.adapters)),
            _ => return Ok(None),
        };
        let unread = |known: &KnownBase| known.id.is_none();
        let Some(known) = self.known_base(base)?.filter(unread) else { return Ok(None) };
        let needed = match adapters {
            None => true,
            Some(adapters) => self.say_their_bases(adapters).await?,
        };
        Ok(needed.then_some(known.source))
    }

    async fn say_their_bases(&self, adapters: &[WeightedRef]) -> Outcome<bool> {
        for adapter in adapters {
            let found = self.find_adapter(&adapter.reference).await?;
            if self.own_base(&found).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The part of a request that a worker does; `None` if that is not most of it.
    async fn plan(&self, call: &Call<'_>, request: &Request) -> Outcome<Option<Plan>> {
        Ok(Some(match request {
            Request::Train(train) => self.plan_train(call, train).await?,
            Request::Eval(eval) => self.plan_eval(call, eval).await?,
            Request::Generate(generate) => self.plan_generate(call, generate).await?,
            Request::DataCheck(check) => self.plan_data_check(call, check).await?,
            Request::Merge(merge) => self.plan_merge(call, merge).await?,
            Request::Bench(bench) => self.plan_bench(call, bench).await?,
            Request::BenchMerge(bench) => self.plan_bench_merge(call, bench).await?,
            _ => return Ok(None),
        }))
    }

    /// Does what a plan says, and keeps the home meanwhile.
    pub(super) async fn work(&self, call: &Call<'_>, plan: Plan) -> Outcome<Value> {
        let worked = self.numerics(call, plan.threads, plan.task).await?;
        match plan.fold {
            None => with_schema(plan.schema, worked),
            Some(fold) => {
                let folded: Folded = typed(worked)?;
                self.note_fold(fold.recipe, &folded).await?;
                fold.answered(&folded)
            }
        }
    }

    async fn note_fold(&self, recipe: RecipeId, folded: &Folded) -> Outcome<()> {
        let digest = folded.digest;
        self.on_store(move |store| store.set_folded(recipe, digest)).await
    }

    /// Runs a task in a worker process and reads its answer.
    pub(super) async fn numerics<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        threads: usize,
        task: Task,
    ) -> Outcome<T> {
        let _at_work = self.workers.token();
        typed(worker(call, threads, task).await?)
    }

    /// Workers that compute for this node now.
    pub fn at_work(&self) -> usize {
        self.workers.len()
    }

    /// Until no worker computes for this node any more.
    pub async fn rest(&self) {
        self.workers.close();
        self.workers.wait().await;
    }
}

impl Fold {
    /// The digest is noted in the home for a later `verify`. A daemon that came up meanwhile has the home: the folder is
    /// whole all the same, and its recipe.json holds the digest.
    async fn note_apart(self, root: &Path, call: &Call<'_>, folded: Folded) -> Outcome<Value> {
        match Service::offline(root).await {
            Ok(service) => service.note_fold(self.recipe, &folded).await?,
            Err(failure) if failure.kind == Kind::Conflict => {
                call.phase(format!("the digest stands in recipe.json alone: {failure}")).await;
            }
            Err(failure) => return Err(failure),
        }
        self.answered(&folded)
    }

    fn answered(mut self, folded: &Folded) -> Outcome<Value> {
        self.answer["digest"] = json!(folded.digest);
        self.answer["base"] = json!(folded.base);
        note(&self.out, &self.answer)?;
        Ok(self.answer)
    }
}

/// Reads a base whole, in the worker: opens, checks, hashes.
pub(super) async fn identified(call: &Call<'_>, source: &BaseSource) -> Outcome<Identified> {
    typed(worker(call, config::processors(), Task::Identify { base: source.clone() }).await?)
}

/// The same of one that is not known yet: it is said, since a large one takes long.
pub(super) async fn read_whole(call: &Call<'_>, source: &BaseSource) -> Outcome<Identified> {
    if let BaseSource::Path(path) = source {
        call.phase(format!("reading {} whole, to know which base it is", path.display())).await;
    }
    identified(call, source).await
}

async fn worker(call: &Call<'_>, threads: usize, task: Task) -> Outcome<Value> {
    parent::run(&Job { threads, task }, call.progress, call.cancel).await
}

fn typed<T: DeserializeOwned>(answer: Value) -> Outcome<T> {
    serde_json::from_value(answer).map_err(|error| Failure::new(Kind::Failed, format!("the worker's answer: {error}")))
}

/// The answer with its schema as the first field.
pub(super) fn with_schema(schema: &str, answer: Value) -> Outcome<Value> {
    let mut object = json!({ "schema": schema });
    let Value::Object(fields) = answer else {
        return Err(Failure::new(Kind::Failed, "the worker's answer is no object"));
    };
    if let Some(object) = object.as_object_mut() {
        object.extend(fields);
    }
    Ok(object)
}
