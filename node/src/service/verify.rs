//! Verifying again what was verified before: bytes rot, and nobody need believe us.

use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::Lineage;
use potluck_protocol::id::RecipeId;
use potluck_protocol::manifest::Kind as ManifestKind;
use serde_json::{Value, json};

use super::base_fetch::FIND_SECONDS;
use super::version_base::same;
use super::{Call, Service};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::naming;

impl Service {
    pub(super) async fn verify(&self, call: &Call<'_>, id: &str) -> Outcome<Value> {
        if let Some(recipe) = self.find_recipe(id).await? {
            return self.verify_recipe(call, recipe).await;
        }
        if let Some(version) = self.version_to_verify(call, id).await? {
            return self.verify_version(call, &version).await;
        }
        let manifest = self.find_id(id, &VERIFIED).await?.ok_or_else(|| absent(id))?;
        if self.on_store(move |store| store.manifest(&manifest)).await?.is_none() {
            return Err(absent(id));
        }
        // Reading checks the signature of the manifest and the hash of every shard; inspecting checks the meaning.
        let complete = self.on_store(move |store| Self::complete(store, &manifest)).await?;
        let shards = complete.mapped().shards().count();
        let kind = KindTag::from(&complete.manifest().body().kind);
        let (well_formed, meaning) = match kind {
            KindTag::Base => {
                let (well_formed, staged) = self.inspect_base(call, complete).await?;
                (well_formed, format!("weights and tokenizer give base {}", staged.identified.base))
            }
            KindTag::Adapter => {
                (self.inspect(complete).await?, "names, shapes and finite values against its base".to_owned())
            }
            _ => (self.inspect(complete).await?, "its files are what it says".to_owned()),
        };
        let body = well_formed.manifest().body();
        Ok(json!({
            "schema": "potluck.verify/1", "manifest": manifest, "kind": kind,
            "checked": [
                format!("signature of {}", body.publisher.0.short()),
                format!("{shards} shards, {} files, {} bytes", body.files.len(), body.total_bytes()),
                meaning,
            ],
        }))
    }

    /// One that is here, or that peers hand out by its id.
    async fn version_to_verify(&self, call: &Call<'_>, reference: &str) -> Outcome<Option<Lineage>> {
        if let Some(version) = self.find_version(reference).await? {
            return Ok(Some(version));
        }
        let known = self.find_known(reference, &VERIFIED).await?;
        if known.as_ref().is_some_and(|known| known.kind != KindTag::Version) {
            return Ok(None);
        }
        let Some(id) = known.map(|known| known.id).or_else(|| naming::whole(reference)) else { return Ok(None) };
        let here = self.on_store(move |store| store.manifest(&id)).await?;
        let manifest = match here {
            Some(manifest) => manifest,
            None if self.network.is_some() => self.found(call, id, Duration::from_secs(FIND_SECONDS)).await?,
            None => return Ok(None),
        };
        match manifest.body().kind {
            ManifestKind::Version(_) => self.lineage_of(call, id).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Rebuilds a version from genesis and compares. // I10
    async fn verify_version(&self, call: &Call<'_>, lineage: &Lineage) -> Outcome<Value> {
        let Some(head) = lineage.head() else {
            return Err(Failure::new(
                Kind::NotFound,
                format!("channel `{}` has no version in force here", lineage.name()),
            )
            .hint("take one with `potluck channel update CHANNEL`"));
        };
        // First: without it the adapters cannot be checked either.
        self.genesis(call, lineage.spec()).await?;
        self.kept_adapters(call, lineage, Duration::from_secs(FIND_SECONDS)).await?;
        let folded = self.fold_version(call, lineage, &head.version).await?;
        same(head, &folded)?;
        Ok(json!({
            "schema": "potluck.verify/1", "manifest": head.id, "kind": "version", "digest": folded.digest, "base": folded.base,
            "height": head.version.height,
            "checked": [
                format!("version {} of `{}`, signed by its steward {}", head.version.height, lineage.name(),
                    lineage.steward().0.short()),
                format!("each of the {} versions follows from the one before", lineage.releases().len()),
                format!("rebuilt from genesis and {} adapters: digest {}, base {}", lineage.inputs().len(),
                    folded.digest, folded.base),
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
            "schema": "potluck.verify/1", "recipe": id, "kind": "recipe", "digest": digest,
            "checked": [format!("rebuilt from {} adapters: digest {digest}", recipe.inputs().len())],
        }))
    }
}

/// What is verified by name.
const VERIFIED: [KindTag; 2] = [KindTag::Adapter, KindTag::Base];

fn absent(reference: &str) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("nothing called `{reference}` is here: no adapter, base, recipe, channel or version"),
    )
    .hint(format!("what is here is verified; fetch and check an adapter with `potluck pull {reference}`"))
}
