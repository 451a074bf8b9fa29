//! Merging: adapters into one adapter by a method, or their exact sum into the base.

use std::path::PathBuf;
use std::sync::Arc;

use potluck_protocol::id::ManifestId;
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_trainer::merge::Method;

use crate::api::ask::Answer;
use crate::api::proto::{BenchMerge, Merge, MergeInto, WeightedRef};
use crate::app::adapters::Adapters;
use crate::app::adapters::of_base::Use;
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::fold::Folds;
use crate::app::known_bases::KnownBase;
use crate::app::plan::{Finish, PendingFold, Plan};
use crate::app::resolver::Resolver;
use crate::app::worker::parse;
use crate::failure::{Failure, Kind, Outcome};
use crate::out_folder::Pending;
use crate::text::shell;
use crate::worker::note::OfBase;
use crate::worker::proto::{BenchMergeTask, BenchShape, MergeSource, MergeTask, Task};

/// Plans merges and folds.
#[derive(Clone)]
pub struct Merging {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) adapters: Arc<Adapters>,
    pub(in crate::app) folds: Arc<Folds>,
    pub(in crate::app) resolver: Arc<Resolver>,
}

impl Merging {
    /// Adapters into one adapter, or into the base.
    pub async fn plan_merge(&self, call: &Call<'_>, merge: &Merge) -> Outcome<Plan> {
        let base = self.resolver.find_base(call, &merge.base).await?;
        match &merge.into {
            MergeInto::Adapter { method, weights_by } => {
                let (method, weights_by) = (*method, weights_by.clone());
                self.plan_adapters(call, &base, merge, method, weights_by).await
            }
            MergeInto::Base { dtype } => self.plan_fold(call, &base, merge, dtype.as_deref()).await,
        }
    }

    /// Several adapters into one, each of that base. // I6
    async fn plan_adapters(
        &self,
        call: &Call<'_>,
        base: &KnownBase,
        merge: &Merge,
        method: Method,
        weights_by: Option<PathBuf>,
    ) -> Outcome<Plan> {
        let mut adapters = Vec::with_capacity(merge.adapters.len());
        let mut of = None;
        for adapter in &merge.adapters {
            let found = self.adapters.find_of(call, &adapter.reference, base, Use::Make).await?;
            if let Some(own) = self.adapters.own_base(&found).await? {
                of = Some(OfBase { name: base.name.clone(), id: own.base });
            }
            adapters.push(MergeSource { folder: found.folder, weight: weight(adapter)? });
        }
        let folder = Pending::create(&merge.out)?;
        let base = base.source.clone();
        let task = Task::Merge(Box::new(MergeTask { base, adapters, method, weights_by, out: folder.path(), of }));
        Ok(Plan { threads: merge.threads, task, finish: Finish::Merge(folder) })
    }

    /// A merge of made-up adapters, timed.
    pub async fn plan_bench_merge(&self, call: &Call<'_>, bench: &BenchMerge) -> Outcome<Plan> {
        let shape = match (&bench.base, &bench.shape) {
            (Some(base), _) => BenchShape::Base(self.resolver.find_base(call, base).await?.source),
            (None, Some(config)) => BenchShape::Config(config.clone()),
            (None, None) => return Err(Failure::new(Kind::Usage, "give --base REF or --shape CONFIG.json")),
        };
        let task = BenchMergeTask { shape, settings: bench.settings.clone() };
        let read = |worked| parse(worked).map(Answer::BenchMerge);
        Ok(Plan::new(bench.settings.threads, Task::BenchMerge(Box::new(task)), read))
    }

    async fn plan_fold(&self, call: &Call<'_>, base: &KnownBase, merge: &Merge, dtype: Option<&str>) -> Outcome<Plan> {
        let parent = self.bases.id(call, base).await?;
        let inputs = self.inputs(call, base, &merge.adapters).await?;
        let dtype = self.folds.result_type(call, base, dtype).await?;
        let recipe = Recipe::new(parent, dtype, inputs).map_err(|error| Failure::new(Kind::Usage, error))?;
        let stored = recipe.clone();
        let id = self.disk.on_store(move |store| store.put_recipe(&stored)).await?;
        call.phase(format!("folding {} adapters, recipe {}", recipe.inputs().len(), id.short())).await;
        let folder = Pending::create(&merge.out)?;
        let task = self.folds.task(base, &recipe, Some(&folder.path())).await?;
        let fold = PendingFold { id, recipe, folder };
        Ok(Plan { threads: merge.threads, task, finish: Finish::Fold(fold) })
    }

    /// A fold names its adapters by id, so that others can repeat it: folders will not do.
    async fn inputs(
        &self,
        call: &Call<'_>,
        base: &KnownBase,
        adapters: &[WeightedRef],
    ) -> Outcome<Vec<(ManifestId, Weight)>> {
        let mut inputs = Vec::with_capacity(adapters.len());
        for adapter in adapters {
            let found = self.adapters.find_of(call, &adapter.reference, base, Use::Make).await?;
            let manifest = found.manifest.ok_or_else(|| {
                Failure::new(
                    Kind::Usage,
                    format!(
                        "{} is a folder: a fold takes published adapters, so that others can repeat it",
                        adapter.reference
                    ),
                )
                .hint(format!("publish it first: `potluck publish {} --name NAME`", shell(&adapter.reference)))
            })?;
            inputs.push((manifest, weight(adapter)?));
        }
        Ok(inputs)
    }
}

fn weight(adapter: &WeightedRef) -> Outcome<Weight> {
    Weight::nearest(adapter.weight).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("weight {} is beyond 1024", adapter.weight))
            .hint("weights are usually between 0 and 1")
    })
}
