//! Merging: adapters into one adapter by a method, or their exact sum into the base.

use std::path::{Path, PathBuf};

use potluck_protocol::id::{BaseId, FoldDigest, ManifestId, RecipeId};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::tensor::DType;
use potluck_trainer::checkpoint::replace;
use potluck_trainer::merge::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apart::{Fold, Plan};
use super::note::OfBase;
use super::of_base::Use;
use super::resolve::KnownBase;
use super::{Call, Service};
use crate::api::answers::WeightedAdapter;
use crate::api::proto::{BenchMerge, Merge, MergeInto, WeightedRef};
use crate::failure::{Failure, Kind, Outcome};
use crate::text::shell;
use crate::worker::proto::{BenchMergeTask, BenchShape, FloatType, FoldSource, MergeSource, MergeTask, Task};

/// What the worker says of a fold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Folded {
    pub digest: FoldDigest,
    /// The result's id as a base.
    pub base: BaseId,
}

impl Service {
    pub(super) async fn plan_merge(&self, call: &Call<'_>, merge: &Merge) -> Outcome<Plan> {
        let base = self.find_base(call, &merge.base).await?;
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
            let found = self.adapter_of(call, &adapter.reference, base, Use::Make).await?;
            if let Some(own) = self.own_base(&found).await? {
                of = Some(OfBase { name: base.name.clone(), id: own.base });
            }
            adapters.push(MergeSource { folder: found.folder, weight: weight(adapter)? });
        }
        let base = base.source.clone();
        let task = MergeTask { base, adapters, method, weights_by, out: merge.out.clone(), of };
        Ok(Plan::new("potluck.merge/1", merge.threads, Task::Merge(Box::new(task))))
    }

    pub(super) async fn plan_bench_merge(&self, call: &Call<'_>, bench: &BenchMerge) -> Outcome<Plan> {
        let shape = match (&bench.base, &bench.shape) {
            (Some(base), _) => BenchShape::Base(self.find_base(call, base).await?.source),
            (None, Some(config)) => BenchShape::Config(config.clone()),
            (None, None) => return Err(Failure::new(Kind::Usage, "give --base REF or --shape CONFIG.json")),
        };
        let task = BenchMergeTask { shape, settings: bench.settings.clone() };
        Ok(Plan::new("potluck.bench.merge/1", bench.settings.threads, Task::BenchMerge(Box::new(task))))
    }

    async fn plan_fold(&self, call: &Call<'_>, base: &KnownBase, merge: &Merge, dtype: Option<&str>) -> Outcome<Plan> {
        let parent = self.base_id(call, base).await?;
        let inputs = self.inputs(call, base, &merge.adapters).await?;
        let dtype = self.result_type(call, base, dtype).await?;
        let recipe = Recipe::new(parent, dtype, inputs).map_err(|error| Failure::new(Kind::Usage, error))?;
        let stored = recipe.clone();
        let id = self.on_store(move |store| store.put_recipe(&stored)).await?;
        call.phase(format!("folding {} adapters, recipe {}", recipe.inputs().len(), id.short())).await;
        let answer = json!({
            "schema": "potluck.merge/1", "folder": merge.out, "recipe": id, "parent": parent, "digest": null,
            "base": null, "inputs": WeightedAdapter::all(recipe.inputs()), "dtype": recipe.dtype,
        });
        let fold = Some(Fold { recipe: id, out: merge.out.clone(), answer });
        let task = self.fold_task(base, &recipe, Some(&merge.out)).await?;
        Ok(Plan { fold, ..Plan::new("potluck.merge/1", merge.threads, task) })
    }

    /// Runs a recipe from genesis; writes the base if `out` is given. // I10
    pub(super) async fn rebuild(
        &self,
        call: &Call<'_>,
        base: &KnownBase,
        recipe: &Recipe,
        out: Option<&Path>,
        threads: usize,
    ) -> Outcome<Folded> {
        let task = self.fold_task(base, recipe, out).await?;
        self.numerics(call, threads, task).await
    }

    async fn fold_task(&self, base: &KnownBase, recipe: &Recipe, out: Option<&Path>) -> Outcome<Task> {
        let mut adapters = Vec::with_capacity(recipe.inputs().len());
        for (manifest, weight) in recipe.inputs() {
            if !self.store.is_well_formed(manifest) {
                return Err(Failure::new(
                    Kind::NotFound,
                    format!("adapter {} of the recipe is not here whole and checked", manifest.short()),
                )
                .hint(format!("fetch it with `potluck pull {manifest}`")));
            }
            adapters.push(FoldSource { id: *manifest, folder: self.exported(*manifest).await?, weight: weight.0 });
        }
        let dtype = float_type(recipe.dtype)?;
        Ok(Task::Fold { base: base.source.clone(), adapters, dtype, out: out.map(Path::to_path_buf) })
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
            let found = self.adapter_of(call, &adapter.reference, base, Use::Make).await?;
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

    pub(super) async fn result_type(&self, call: &Call<'_>, base: &KnownBase, asked: Option<&str>) -> Outcome<DType> {
        Ok(match asked {
            Some("f32") => DType::F32,
            Some("f16") => DType::F16,
            Some("bf16") => DType::BF16,
            Some(other) => return Err(Failure::new(Kind::Usage, format!("`{other}` is no float type"))),
            None => {
                let identified = self.identify(call, &base.source).await?;
                // A quantised base has no float type of its own: half the size, and one rounding only.
                if identified.dtype.is_float() && identified.dtype != DType::F64 {
                    identified.dtype
                } else {
                    DType::BF16
                }
            }
        })
    }

    /// A recipe that is here, by its id or the start of it.
    pub(super) async fn find_recipe(&self, reference: &str) -> Outcome<Option<RecipeId>> {
        let recipes = self.on_store(|store| store.recipes()).await?;
        super::named::one(reference, recipes.iter().map(|id| ("", id.to_string(), *id)))
    }
}

fn weight(adapter: &WeightedRef) -> Outcome<Weight> {
    Weight::nearest(adapter.weight).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("weight {} is beyond 1024", adapter.weight))
            .hint("weights are usually between 0 and 1")
    })
}

fn float_type(dtype: DType) -> Outcome<FloatType> {
    match dtype {
        DType::F32 => Ok(FloatType::F32),
        DType::F16 => Ok(FloatType::F16),
        DType::BF16 => Ok(FloatType::Bf16),
        other => Err(Failure::new(Kind::Incompatible, format!("a recipe results in floats, not in {other}"))),
    }
}

/// The recipe beside the weights, for whoever finds the folder later.
pub(super) fn note(out: &Path, answer: &Value) -> Outcome<()> {
    let path = out.join("recipe.json");
    replace(&path, format!("{answer:#}\n").as_bytes())
        .map_err(|error| Failure::io(format!("write {}", path.display()), &error))
}
