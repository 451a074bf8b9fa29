//! Verifying again what was verified before: bytes rot, and nobody need believe us.

use potluck_protocol::id::RecipeId;
use potluck_protocol::manifest::Kind as ManifestKind;
use serde_json::{Value, json};

use super::{Call, Service};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

impl Service {
    pub(super) async fn verify(&self, call: &Call<'_>, id: &str) -> Outcome<Value> {
        if let Some(recipe) = self.find_recipe(id).await? {
            return self.verify_recipe(call, recipe).await;
        }
        let manifest = self.find_manifest(id).await?.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("no adapter or recipe `{id}` is here"))
                .hint("fetch an adapter with `potluck pull ID`")
        })?;
        // Reading checks the signature of the manifest and the hash of every shard; inspecting checks the meaning.
        let complete = self.on_store(move |store| Self::complete(store, &manifest)).await?;
        let shards = complete.mapped().shards().count();
        let (well_formed, kind, meaning) = match complete.manifest().body().kind {
            ManifestKind::Base(_) => {
                let (well_formed, staged) = self.inspect_base(call, complete).await?;
                (well_formed, "base", format!("weights and tokenizer give base {}", staged.identified.base))
            }
            _ => {
                let meaning = "names, shapes and finite values against its base".to_owned();
                (self.inspect(complete).await?, "adapter", meaning)
            }
        };
        let body = well_formed.manifest().body();
        Ok(json!({
            "schema": "potluck.verify/1", "id": manifest, "kind": kind,
            "checked": [
                format!("signature of {}", body.publisher.0.short()),
                format!("{shards} shards, {} files, {} bytes", body.files.len(), body.total_bytes()),
                meaning,
            ],
        }))
    }

    /// Rebuilds from genesis and compares. // I10
    async fn verify_recipe(&self, call: &Call<'_>, id: RecipeId) -> Outcome<Value> {
        let recipe = self.on_store(move |store| store.recipe(&id)).await?;
        let recipe =
            recipe.ok_or_else(|| Failure::new(Kind::NotFound, format!("recipe {} is not here", id.short())))?;
        let noted = self.store.folded(&id).ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!("recipe {} was never folded here, there is nothing to compare with", id.short()),
            )
            .hint("fold it with `potluck merge --fold`")
        })?;
        let base = self.base_of(&recipe.parent).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("the recipe's base {} is not known here", recipe.parent))
                .hint("add it with `potluck base add PATH`")
        })?;
        self.base_id(call, &base).await?;
        let digest = self.rebuild(call, &base, &recipe, None, config::processors()).await?.digest;
        if digest != noted {
            return Err(Failure::new(
                Kind::Verification,
                format!("rebuilding recipe {} gives {digest}, it was {noted}", id.short()),
            )
            .hint("one of the two runs was wrong: check this machine's memory, and run it again"));
        }
        Ok(json!({
            "schema": "potluck.verify/1", "id": id, "kind": "recipe", "digest": digest,
            "checked": [format!("rebuilt from {} adapters: digest {digest}", recipe.inputs().len())],
        }))
    }
}
