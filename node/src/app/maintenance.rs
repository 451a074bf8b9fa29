//! Looking after the store.

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::ManifestId;
use serde_json::json;

use crate::api::answers::{StoreStat, StoreVerified};
use crate::app::disk::Disk;
use crate::app::reference::a;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{Report, Stat, Store, StoreError};

/// Things that a person reads of; `--json` has all.
const LISTED: usize = 20;

/// Answers `potluck store`.
#[derive(Clone)]
pub struct Maintenance {
    pub(in crate::app) disk: Disk,
}

impl Maintenance {
    /// What is in the store, and how large it is.
    pub async fn store_stat(&self) -> Outcome<StoreStat> {
        Ok(describe(self.disk.on_store(|store| store.stat()).await?))
    }

    /// Damage is an error that names each damaged thing.
    pub async fn store_verify(&self) -> Outcome<StoreVerified> {
        self.disk
            .on_store(|store| -> Outcome<StoreVerified> {
                let report = store.verify(|_, _| {})?;
                if !report.is_clean() {
                    return Err(damaged(store, &report)?);
                }
                Ok(StoreVerified { shards: report.shards, manifests: report.manifests })
            })
            .await
    }

    /// Makes the index again from the files; what is in the store then.
    pub async fn store_rebuild(&self) -> Outcome<StoreStat> {
        Ok(describe(self.disk.on_store(|store| store.rebuild().and_then(|_| store.stat())).await?))
    }
}

fn describe(stat: Stat) -> StoreStat {
    StoreStat {
        shards: stat.shards,
        shard_bytes: stat.shard_bytes,
        manifests: stat.held.manifests,
        held: stat.held.clone(),
        recipes: stat.recipes,
        detail: stat,
    }
}

/// What is wrong, in words, and what to type next.
fn damaged(store: &Store, report: &Report) -> Result<Failure, StoreError> {
    let count = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let mut lines = Vec::new();
    let aside = [(report.damaged_shards.len(), "damaged shard"), (report.damaged_recipes.len(), "damaged recipe")];
    lines.extend(
        aside.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{}, moved to quarantine", count(*n, what))),
    );
    lines.extend(report.damaged_manifests.iter().map(|id| format!("manifest {id} is damaged, moved to quarantine")));
    lines.extend(report.unreadable.iter().map(|text| format!("the disk cannot read shard {text}")));
    lines.extend(report.state_log_put_back.then(|| "state.log was gone, and is written again from memory".to_owned()));
    let mut again = Vec::new();
    for one in &report.incomplete {
        let (what, kind) = called(store, one.manifest)?;
        lines.push(format!("{what} lacks {}", count(one.missing.len(), "shard")));
        again.push((one.manifest, kind));
    }
    let lost = report.lost_manifests.iter().chain(&report.damaged_manifests);
    lines.extend(report.lost_manifests.iter().map(|id| format!("the content of {id} is no longer here")));
    again.extend(lost.map(|id| (*id, None)));
    let more = lines.len().saturating_sub(LISTED);
    lines.truncate(LISTED);
    lines.extend((more > 0).then(|| format!("and {more} more: `potluck --json store verify` lists all")));
    let failure =
        Failure::new(Kind::Verification, format!("the store is damaged or incomplete\n  {}", lines.join("\n  ")));
    Ok(failure.hint(remedy(report, &again)).report(json!(report)))
}

/// A manifest as people know it: by a whole id where it is not here, for nothing else can be asked for.
fn called(store: &Store, id: ManifestId) -> Result<(String, Option<KindTag>), StoreError> {
    Ok(match store.manifest(&id)? {
        Some(manifest) => {
            let kind = KindTag::from(&manifest.body().kind);
            (format!("`{}` ({}, {})", manifest.body().name, a(kind), id.short()), Some(kind))
        }
        None => (format!("manifest {id}"), None),
    })
}

fn remedy(report: &Report, again: &[(ManifestId, Option<KindTag>)]) -> String {
    let pulled = again.iter().find(|(_, kind)| matches!(kind, None | Some(KindTag::Adapter | KindTag::Base)));
    let mut steps = Vec::new();
    if !report.unreadable.is_empty() {
        steps.push("check the disk first, and copy the home to another one".to_owned());
    }
    if let Some((id, kind)) = pulled {
        let each = if again.len() > 1 { ", and so each of the others" } else { "" };
        // The start of an id means something as long as its manifest is here.
        let id = if kind.is_some() { id.short() } else { id.to_string() };
        steps.push(format!(
            "`potluck pull {id}` fetches missing content again from peers{each}; publish again what only you had"
        ));
    }
    if again.iter().any(|(_, kind)| kind.is_some_and(|kind| !matches!(kind, KindTag::Adapter | KindTag::Base))) {
        steps.push("`potluck channel update CHANNEL` fetches the records of a channel again".to_owned());
    }
    if !report.damaged_recipes.is_empty() {
        steps.push("a recipe comes back when its fold is made again: `potluck merge --fold`".to_owned());
    }
    if steps.is_empty() {
        steps.push("nothing that is here needs them: there is nothing more to do".to_owned());
    }
    steps.join("; ")
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    #[test]
    fn what_is_not_here_is_asked_for_by_its_whole_id() {
        let id = ManifestId(Digest::of(b"lost"));
        let told = remedy(&Report::default(), &[(id, None)]);
        assert!(told.contains(&format!("`potluck pull {id}`")), "{told}");
        let told = remedy(&Report::default(), &[(id, Some(KindTag::Adapter))]);
        assert!(told.contains(&format!("`potluck pull {}`", id.short())), "{told}");
    }
}
