//! Verifying again what was verified before: bytes rot, and nobody need believe us.

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::RecipeId;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::Kind as ManifestKind;

use crate::api::answers::{RecipeTag, Verified, VerifiedKind};
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::fold::Folds;
use crate::app::known_bases::KnownBases;
use crate::app::network::Network;
use crate::app::objects::{FIND_SECONDS, Objects};
use crate::app::reference::Names;
use crate::app::versions::{Versions, same};
use crate::failure::{Failure, Kind, Outcome};
use crate::{config, naming};

/// What is verified by name.
const VERIFIED: [KindTag; 2] = [KindTag::Adapter, KindTag::Base];

/// Answers `potluck verify`.
#[derive(Clone)]
pub struct Verifier {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) folds: Arc<Folds>,
    pub(in crate::app) versions: Arc<Versions>,
}

impl Verifier {
    /// Answers `potluck verify`: a recipe, a version, or whatever else has a manifest here.
    pub async fn verify(&self, call: &Call<'_>, id: &str) -> Outcome<Verified> {
        if let Some(recipe) = self.names.find_recipe(id).await? {
            return self.verify_recipe(call, recipe).await;
        }
        if let Some(version) = self.version_to_verify(call, id).await? {
            return self.verify_version(call, &version).await;
        }
        let manifest = self.names.find_id(id, &VERIFIED).await?.ok_or_else(|| absent(id))?;
        if self.disk.on_store(move |store| store.manifest(&manifest)).await?.is_none() {
            return Err(absent(id));
        }
        // Reading checks the signature of the manifest and the hash of every shard; inspecting checks the meaning.
        let complete = self.disk.complete(manifest).await?;
        let shards = complete.mapped().shards().count();
        let kind = KindTag::from(&complete.manifest().body().kind);
        let (well_formed, meaning) = match kind {
            KindTag::Base => {
                let (well_formed, staged) = self.bases.inspect(call, complete).await?;
                (well_formed, format!("weights and tokenizer give base {}", staged.identified.base))
            }
            KindTag::Adapter => (
                self.objects.inspect(call, complete).await?,
                "names, shapes and finite values against its base".to_owned(),
            ),
            _ => (self.objects.inspect(call, complete).await?, "its files are what it says".to_owned()),
        };
        let body = well_formed.manifest().body();
        Ok(Verified {
            manifest: Some(manifest),
            recipe: None,
            kind: VerifiedKind::Manifest(kind),
            digest: None,
            base: None,
            height: None,
            checked: vec![
                format!("signature of {}", body.publisher.0.short()),
                format!("{shards} shards, {} files, {} bytes", body.files.len(), body.total_bytes()),
                meaning,
            ],
        })
    }

    /// One that is here, or that peers hand out by its id.
    async fn version_to_verify(&self, call: &Call<'_>, reference: &str) -> Outcome<Option<Lineage>> {
        if let Some(version) = self.names.find_version(reference).await? {
            return Ok(Some(version));
        }
        let known = self.names.find_known(reference, &VERIFIED).await?;
        if known.as_ref().is_some_and(|known| known.kind != KindTag::Version) {
            return Ok(None);
        }
        let Some(id) = known.map(|known| known.id).or_else(|| naming::whole(reference)) else { return Ok(None) };
        let here = self.disk.on_store(move |store| store.manifest(&id)).await?;
        let manifest = match here {
            Some(manifest) => manifest,
            None if self.network.is_some() => {
                self.objects.find_manifest(call, id, Duration::from_secs(FIND_SECONDS)).await?
            }
            None => return Ok(None),
        };
        match manifest.body().kind {
            ManifestKind::Version(_) => Ok(Some(self.versions.fetch_lineage(call, id).await?)),
            _ => Ok(None),
        }
    }

    /// Rebuilds a version from genesis and compares. // I10
    async fn verify_version(&self, call: &Call<'_>, lineage: &Lineage) -> Outcome<Verified> {
        let Some(head) = lineage.head() else {
            return Err(Failure::new(
                Kind::NotFound,
                format!("channel `{}` has no version in force here", lineage.name()),
            )
            .hint("take one with `potluck channel update CHANNEL`"));
        };
        // First: without it the adapters cannot be checked either.
        self.versions.genesis(call, lineage.spec()).await?;
        self.versions.ensure_adapters(call, lineage, Duration::from_secs(FIND_SECONDS)).await?;
        let folded = self.versions.refold(call, lineage, &head.version).await?;
        same(head, &folded)?;
        let (height, steward, inputs) = (head.version.height, lineage.steward(), lineage.inputs().len());
        Ok(Verified {
            manifest: Some(head.id),
            recipe: None,
            kind: VerifiedKind::Manifest(KindTag::Version),
            digest: Some(folded.digest),
            base: Some(folded.base),
            height: Some(height),
            checked: vec![
                format!("version {height} of `{}`, signed by its steward {}", lineage.name(), steward.0.short()),
                format!("each of the {} versions follows from the one before", lineage.versions().len()),
                format!("rebuilt from genesis and {inputs} adapters: digest {}, base {}", folded.digest, folded.base),
            ],
        })
    }

    /// Rebuilds from genesis and compares. // I10
    async fn verify_recipe(&self, call: &Call<'_>, id: RecipeId) -> Outcome<Verified> {
        let recipe = self.disk.on_store(move |store| store.recipe(&id)).await?;
        let recipe =
            recipe.ok_or_else(|| Failure::new(Kind::NotFound, format!("recipe {} is not here", id.short())))?;
        let noted = self.disk.store.folded(&id).ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!("recipe {} was never folded here, there is nothing to compare with", id.short()),
            )
            .hint("fold it with `potluck merge --fold`")
        })?;
        let base = self.known.by_id(&recipe.parent).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("the recipe's base {} is not known here", recipe.parent))
                .hint("add it with `potluck base add PATH`")
        })?;
        self.bases.id(call, &base).await?;
        let digest = self.folds.fold(call, &base, &recipe, None, config::processors()).await?.digest;
        if digest != noted {
            return Err(Failure::new(
                Kind::Verification,
                format!("rebuilding recipe {} gives {digest}, it was {noted}", id.short()),
            )
            .hint("one of the two folds was wrong: check this machine's memory, and run it again"));
        }
        Ok(Verified {
            manifest: None,
            recipe: Some(id),
            kind: VerifiedKind::Recipe(RecipeTag::Recipe),
            digest: Some(digest),
            base: None,
            height: None,
            checked: vec![format!("rebuilt from {} adapters: digest {digest}", recipe.inputs().len())],
        })
    }
}

fn absent(reference: &str) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("nothing called `{reference}` is stored here: no adapter, base, recipe, channel or version"),
    )
    .hint(format!("what is here is verified; fetch and check an adapter with `potluck pull {reference}`"))
}
