//! A version as a folder of merged safetensors for other programs: whole or not at all.

use std::path::Path;
use std::sync::Arc;

use potluck_protocol::lineage::{Lineage, VersionEntry};

use crate::api::answers::{Exported, WeightedAdapter};
use crate::api::channel::Export;
use crate::app::call::Call;
use crate::app::channel::follower::limits::PATIENCE;
use crate::app::disk::Disk;
use crate::app::fold::{RECIPE_FILE, recipe_file};
use crate::app::reference::Names;
use crate::app::versions::Versions;
use crate::failure::{Failure, Kind, Outcome};
use crate::out_folder::Pending;

/// Answers `potluck channel export`.
#[derive(Clone)]
pub struct Exporter {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) versions: Arc<Versions>,
}

impl Exporter {
    /// Folds a version into a folder for other programs.
    pub async fn export(&self, call: &Call<'_>, reference: &str, out: &Path) -> Outcome<Exported> {
        let lineage = self.names.find_version(reference).await?.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("no channel or version `{reference}` is known here")).hint(
                "follow a channel with `potluck channel follow CHANNEL`; list those that are with `potluck channel list`",
            )
        })?;
        let Some(head) = lineage.head() else {
            return Err(Failure::new(
                Kind::Usage,
                format!("`{}` has no version yet: it is its genesis", lineage.name()),
            )
            .hint("copy the genesis base itself, see `potluck base list`"));
        };
        let genesis = self.versions.genesis(call, lineage.spec()).await?;
        self.versions.ensure_adapters(call, &lineage, PATIENCE).await?;
        let answer = answer(&lineage, head, out);
        let pending = Pending::create(out)?;
        self.versions.fold_into(call, &genesis, head, &pending.path()).await?;
        let recipe = recipe_file::<Export>(&answer)?;
        self.disk.on_store(move |_| pending.place(&[(RECIPE_FILE, &recipe)])).await?;
        Ok(answer)
    }
}

fn answer(lineage: &Lineage, head: &VersionEntry, out: &Path) -> Exported {
    let version = &head.version;
    Exported {
        folder: out.to_path_buf(),
        channel: lineage.channel(),
        name: lineage.name().clone(),
        height: version.height,
        version: head.id,
        parent: version.recipe.parent,
        inputs: WeightedAdapter::all(version.recipe.inputs()),
        dtype: version.recipe.dtype,
        digest: version.digest,
        base: version.base,
    }
}
