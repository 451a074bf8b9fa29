//! A version as a folder of merged safetensors for other programs: whole or not at all.

use std::path::Path;

use potluck_protocol::channel::{Lineage, Release};
use potluck_trainer::base::staged::StagedFolder;
use serde_json::{Value, json};

use super::super::super::{Call, Service, output};
use super::limits::PATIENCE;
use crate::api::answers::WeightedAdapter;
use crate::failure::{Failure, Kind, Outcome};

impl Service {
    pub(in crate::service::channel) async fn channel_export(
        &self,
        call: &Call<'_>,
        reference: &str,
        out: &Path,
    ) -> Outcome<Value> {
        let lineage = self.find_version(reference).await?.ok_or_else(|| {
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
        let genesis = self.genesis(call, lineage.spec()).await?;
        self.kept_adapters(call, &lineage, PATIENCE).await?;
        let answer = answer(&lineage, head, out);
        let staged = StagedFolder::create(out).map_err(|error| output::unwritable(out, &error))?;
        self.folded_to(call, &genesis, head, &staged.path()).await?;
        let (note, target) = (answer.clone(), out.to_path_buf());
        self.on_store(move |_| placed(staged, &target, &note)).await?;
        Ok(answer)
    }
}

/// Gives the folder its name, with a note of what it was made of.
fn placed(staged: StagedFolder, out: &Path, note: &Value) -> Outcome<()> {
    let written = staged.write("recipe.json", format!("{note:#}\n").as_bytes()).and_then(|()| staged.commit());
    written.map_err(|error| output::unwritable(out, &error))
}

fn answer(lineage: &Lineage, head: &Release, out: &Path) -> Value {
    let version = &head.version;
    json!({
        "schema": "potluck.channel.export/1", "folder": out, "channel": lineage.channel(), "name": lineage.name(),
        "height": version.height, "version": head.id, "parent": version.recipe.parent, "inputs": WeightedAdapter::all(version.recipe.inputs()),
        "dtype": version.recipe.dtype, "digest": version.digest, "base": version.base,
    })
}
