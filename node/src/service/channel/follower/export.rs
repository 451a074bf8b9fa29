//! A version as a folder of merged safetensors for other programs: whole or not at all.

use std::path::{Path, PathBuf};

use potluck_protocol::channel::{Lineage, Release};
use serde_json::{Value, json};

use super::super::super::{Call, Service};
use super::limits::PATIENCE;
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
                "follow a channel with `potluck base follow ID`; list those that are with `potluck base channels`",
            )
        })?;
        let Some(head) = lineage.head() else {
            return Err(Failure::new(
                Kind::Usage,
                format!("`{}` has no version yet: it is its genesis", lineage.name()),
            )
            .hint("copy the genesis base itself, see `potluck base ls`"));
        };
        let staging = staging(out)?;
        let genesis = self.genesis(call, lineage.spec()).await?;
        self.kept_adapters(call, &lineage, PATIENCE).await?;
        let answer = answer(&lineage, head, out);
        self.folded_to(call, &genesis, head, &staging).await.inspect_err(|_| remove(&staging))?;
        let (note, target) = (answer.clone(), out.to_path_buf());
        self.on_store(move |_| placed(&staging, &target, &note)).await?;
        Ok(answer)
    }
}

/// Where the folder lies until it is whole and checked: beside its place, so that it is one disk. What an earlier run that
/// was killed left there is removed.
fn staging(out: &Path) -> Outcome<PathBuf> {
    let name =
        out.file_name().ok_or_else(|| Failure::new(Kind::Usage, format!("{} is no folder's name", out.display())))?;
    if out.exists() && std::fs::read_dir(out).map_or(true, |mut entries| entries.next().is_some()) {
        return Err(Failure::new(Kind::Conflict, format!("{} exists already", out.display()))
            .hint("choose another folder, or remove that one"));
    }
    let staging = out.with_file_name(format!(".{}.unchecked", name.to_string_lossy()));
    if staging.exists() {
        std::fs::remove_dir_all(&staging)
            .map_err(|error| Failure::io(format!("remove {}", staging.display()), &error))?;
    }
    Ok(staging)
}

fn remove(staging: &Path) {
    // It may not be there; what stays is removed by the next run.
    let _gone = std::fs::remove_dir_all(staging);
}

/// Gives the folder its name, with a note of what it was made of.
fn placed(staging: &Path, out: &Path, note: &Value) -> Outcome<()> {
    let writing = |error| Failure::io(format!("write {}", out.display()), &error);
    let file = staging.join("recipe.json");
    std::fs::write(&file, format!("{note:#}\n")).map_err(writing)?;
    std::fs::File::open(&file).and_then(|file| file.sync_all()).map_err(writing)?;
    if out.exists() {
        // Empty when we began; this fails if somebody filled it since.
        std::fs::remove_dir(out).map_err(writing)?;
    }
    std::fs::rename(staging, out).map_err(writing)?;
    Ok(crate::store::durable::sync_parent(out)?)
}

fn answer(lineage: &Lineage, head: &Release, out: &Path) -> Value {
    let version = &head.version;
    json!({
        "schema": "potluck.base.export/1", "folder": out, "channel": lineage.channel(), "name": lineage.name(),
        "height": version.height, "version": head.id, "parent": version.recipe.parent, "inputs": version.recipe.inputs(),
        "dtype": version.recipe.dtype, "digest": version.digest, "base": version.base,
    })
}
