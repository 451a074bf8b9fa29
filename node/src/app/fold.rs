//! Folding: the exact sum of adapters into their base, by a recipe.

use std::path::Path;
use std::sync::Arc;

use potluck_protocol::id::RecipeId;
use potluck_protocol::recipe::Recipe;
use potluck_protocol::tensor::DType;

use crate::api::ask::{Ask, Envelope};
use crate::app::adapters::Adapters;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::known_bases::KnownBase;
use crate::app::worker::Worker;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::answers::Folded;
use crate::worker::proto::Task;

/// Lies beside the weights of a fold, for whoever finds the folder later: the answer of the command that made it.
pub const RECIPE_FILE: &str = "recipe.json";

/// The bytes of [`RECIPE_FILE`].
pub fn recipe_file<R: Ask>(answer: &R::Answer) -> Outcome<Vec<u8>> {
    let written = serde_json::to_vec_pretty(&Envelope { schema: R::SCHEMA, body: answer });
    let mut bytes = written.map_err(|error| Failure::new(Kind::Failed, format!("write {RECIPE_FILE}: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Folds recipes in the worker.
#[derive(Clone)]
pub struct Folds {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
    pub(in crate::app) adapters: Arc<Adapters>,
}

impl Folds {
    /// Runs a recipe from genesis; writes the base if `out` is given. // I10
    pub async fn fold(
        &self,
        call: &Call<'_>,
        base: &KnownBase,
        recipe: &Recipe,
        out: Option<&Path>,
        threads: usize,
    ) -> Outcome<Folded> {
        let task = self.task(base, recipe, out).await?;
        self.worker.compute(call, threads, task).await
    }

    /// The task that folds a recipe whose adapters are here.
    pub async fn task(&self, base: &KnownBase, recipe: &Recipe, out: Option<&Path>) -> Outcome<Task> {
        let mut folders = Vec::with_capacity(recipe.inputs().len());
        for (manifest, _) in recipe.inputs() {
            if !self.disk.store.is_well_formed(manifest) {
                return Err(Failure::new(
                    Kind::NotFound,
                    format!("adapter {} of the recipe is not here whole and checked", manifest.short()),
                )
                .hint(format!("fetch it with `potluck pull {manifest}`")));
            }
            folders.push(self.adapters.export(*manifest).await?);
        }
        let (base, recipe, out) = (base.source.clone(), recipe.clone(), out.map(Path::to_path_buf));
        Ok(Task::Fold { base, recipe, folders, out })
    }

    /// The float type of what a fold gives: the one that was asked for, else that of the base.
    pub async fn result_type(&self, call: &Call<'_>, base: &KnownBase, asked: Option<&str>) -> Outcome<DType> {
        Ok(match asked {
            Some("f32") => DType::F32,
            Some("f16") => DType::F16,
            Some("bf16") => DType::BF16,
            Some(other) => return Err(Failure::new(Kind::Usage, format!("`{other}` is no float type"))),
            None => {
                let identified = self.worker.identify(call, &base.source).await?;
                // A quantised base has no float type of its own: half the size, and one rounding only.
                if identified.dtype.is_float() && identified.dtype != DType::F64 {
                    identified.dtype
                } else {
                    DType::BF16
                }
            }
        })
    }

    /// Notes what a recipe gave here, for a later `verify`.
    pub async fn note(&self, recipe: RecipeId, folded: &Folded) -> Outcome<()> {
        let digest = folded.digest;
        self.disk.on_store(move |store| store.set_folded(recipe, digest)).await
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{BaseId, Digest, FoldDigest, ManifestId};

    use super::*;
    use crate::api::answers::{Exported, WeightedAdapter};
    use crate::api::channel::Export;

    #[test]
    fn the_recipe_file_is_the_answer_of_the_command_that_made_it() {
        let digest = Digest::of(b"any");
        let (manifest, base) = (ManifestId(digest), BaseId(digest));
        let exported = Exported {
            folder: "/out".into(),
            channel: manifest,
            name: "helpers".parse().expect("a name"),
            height: 1,
            version: manifest,
            parent: base,
            inputs: vec![WeightedAdapter { adapter: manifest, weight: 1.0 }],
            dtype: DType::BF16,
            digest: FoldDigest(digest),
            base,
        };
        let expected = format!(
            r#"{{
  "schema": "potluck.channel.export/1",
  "folder": "/out",
  "channel": "{digest}",
  "name": "helpers",
  "height": 1,
  "version": "{digest}",
  "parent": "{digest}",
  "inputs": [
    {{
      "adapter": "{digest}",
      "weight": 1.0
    }}
  ],
  "dtype": "BF16",
  "digest": "{digest}",
  "base": "{digest}"
}}
"#
        );
        let written = recipe_file::<Export>(&exported).expect("JSON");
        assert_eq!(String::from_utf8(written).expect("a text"), expected);
    }
}
