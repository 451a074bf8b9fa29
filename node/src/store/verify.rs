//! `store verify`: every byte hashed again.
//!
//! Damaged files are moved to `quarantine/`, so that they count as missing and can be pulled again; nothing is deleted.

use std::collections::BTreeSet;
use std::fmt;

use potluck_protocol::id::{ManifestId, RecipeId, ShardId};
use serde::Serialize;

use crate::store::Store;
use crate::store::durable::names_in;
use crate::store::error::{Result, StoreError};
use crate::store::manifest_file::{Loaded, load};
use crate::store::presence::Lacking;
use crate::store::rebuild::{scan_shards, shard_folders};
use crate::store::shards::path;

/// A manifest that is here without all of its shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// The manifest that lacks something.
    pub manifest: ManifestId,
    /// Content or table shards that are not here.
    pub missing: Vec<ShardId>,
}

/// What `store verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Good ones.
    pub shards: u64,
    /// Bytes of the shards that were read.
    pub shard_bytes: u64,
    /// Manifests that were read.
    pub manifests: u64,
    /// Recipes that were read.
    pub recipes: u64,
    /// Shards that the disk would not give.
    pub unreadable: Vec<String>,
    /// Moved to quarantine.
    pub damaged_shards: Vec<ShardId>,
    /// Manifests that are not what their name says.
    pub damaged_manifests: Vec<ManifestId>,
    /// Recipes that are not what their name says.
    pub damaged_recipes: Vec<RecipeId>,
    /// Manifests that lack shards.
    pub incomplete: Vec<Incomplete>,
    /// Marked as well-formed, or pinned, or named, and not here.
    pub lost_manifests: Vec<ManifestId>,
    /// `state.log` had been taken away from the running program, and was written again from memory.
    pub state_log_put_back: bool,
    /// Files in `shards/` under no shard's name. Left as they are.
    pub strangers: Vec<String>,
    /// Whole manifests and recipes that only a newer version can read. Left as they are.
    pub newer: Vec<String>,
}

impl Report {
    /// Nothing is damaged or missing. Strange and newer files do no harm.
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_empty()
            && self.damaged_shards.is_empty()
            && self.damaged_manifests.is_empty()
            && self.damaged_recipes.is_empty()
            && self.incomplete.is_empty()
            && self.lost_manifests.is_empty()
            && !self.state_log_put_back
    }
}

/// One line for each thing that is wrong; `clean` if nothing is.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let damaged = |what: &str, id: &dyn fmt::Display| format!("{what} {id} is damaged, moved to quarantine");
        let mut lines = Vec::new();
        lines.extend(self.unreadable.iter().map(|text| format!("shard {text}")));
        lines.extend(self.damaged_shards.iter().map(|id| damaged("shard", id)));
        lines.extend(self.damaged_manifests.iter().map(|id| damaged("manifest", id)));
        lines.extend(self.damaged_recipes.iter().map(|id| damaged("recipe", id)));
        let lacks = |one: &Incomplete| format!("manifest {} lacks {} shards", one.manifest, one.missing.len());
        lines.extend(self.incomplete.iter().map(lacks));
        lines.extend(self.lost_manifests.iter().map(|id| format!("manifest {id} is not here any more")));
        if self.state_log_put_back {
            lines.push("state.log was missing, and is written again from what this process knows of it".to_owned());
        }
        f.write_str(if lines.is_empty() { "clean" } else { "" })?;
        f.write_str(&lines.join("\n"))
    }
}

impl Store {
    /// Checks everything. `progress` gets the number of shards checked and of all, about every thousandth.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Report> {
        let mut report = Report::default();
        self.verify_shards(&mut report, &mut progress)?;
        self.verify_manifests(&mut report)?;
        self.verify_recipes(&mut report)?;
        self.verify_state(&mut report)?;
        Ok(report)
    }

    fn verify_shards(&self, report: &mut Report, progress: &mut impl FnMut(u64, u64)) -> Result<()> {
        let all = scan_shards(self.layout())?;
        let total = all.len() as u64;
        for (done, (id, _)) in (1..).zip(&all) {
            match self.shard(id) {
                Ok(Some(shard)) => {
                    report.shards += 1;
                    report.shard_bytes += shard.bytes().len() as u64;
                }
                Ok(None) => report.damaged_shards.push(*id),
                Err(StoreError::Io { source, .. }) => report.unreadable.push(format!("{id}: {source}")),
                Err(error) => return Err(error),
            }
            if done == total || done % (total / 1000 + 1) == 0 {
                progress(done, total);
            }
        }
        report.strangers = self.strangers()?;
        Ok(())
    }

    fn strangers(&self) -> Result<Vec<String>> {
        let mut strangers = Vec::new();
        for folder in shard_folders(self.layout())? {
            for entry in std::fs::read_dir(&folder).map_err(StoreError::io("list", &folder))? {
                let found = entry.map_err(StoreError::io("list", &folder))?.path();
                let id = found.file_name().and_then(|name| name.to_str()?.parse::<ShardId>().ok());
                if id.is_none_or(|id| path(self.layout(), &id) != found) {
                    strangers.push(found.display().to_string());
                }
            }
        }
        Ok(strangers)
    }

    fn verify_manifests(&self, report: &mut Report) -> Result<()> {
        for id in names_in::<ManifestId>(&self.layout().manifests())? {
            let manifest = match load(self.layout(), &id)? {
                Loaded::Good(manifest) => *manifest,
                Loaded::None => continue,
                Loaded::Damaged(reason) => {
                    report.damaged_manifests.push(id);
                    self.quarantine_manifest(&id, &reason)?;
                    continue;
                }
                Loaded::Newer => {
                    report.newer.push(self.layout().manifests().join(id.to_string()).display().to_string());
                    continue;
                }
            };
            report.manifests += 1;
            let Lacking { missing, unreadable } = self.lacking_of(manifest)?;
            if unreadable {
                report.damaged_manifests.push(id);
            }
            if !missing.is_empty() {
                report.incomplete.push(Incomplete { manifest: id, missing });
            }
        }
        Ok(())
    }

    fn verify_recipes(&self, report: &mut Report) -> Result<()> {
        for id in self.recipes()? {
            match self.recipe(&id) {
                Ok(Some(_)) => report.recipes += 1,
                Ok(None) => report.damaged_recipes.push(id),
                Err(StoreError::Newer { path, .. }) => report.newer.push(path.display().to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn verify_state(&self, report: &mut Report) -> Result<()> {
        let mut log = crate::store::lock(&self.0.log);
        report.state_log_put_back = log.put_back()?;
        let state = log.state();
        let said = state.well_formed.iter().chain(&state.pins).chain(state.names.values());
        let lost: BTreeSet<ManifestId> =
            said.filter(|id| !self.layout().manifests().join(id.to_string()).exists()).copied().collect();
        report.lost_manifests = lost.into_iter().filter(|id| !report.damaged_manifests.contains(id)).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{Fixture, bytes, files_below};

    #[test]
    fn one_flipped_bit_in_each_of_many_shards_is_found() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let ids: Vec<_> = (0..50).map(|n| fixture.add(&store, &format!("n{n}"), 700)).collect();
        assert!(store.verify(|_, _| ()).expect("readable").is_clean());
        let files = files_below(&store.layout().shards());
        let (rotten, good) = files.split_at(100);
        for (n, file) in rotten.iter().enumerate() {
            let mut content = fs::read(file).expect("there");
            let draw = bytes(&n.to_string(), 8).iter().fold(0usize, |sum, byte| sum * 31 + *byte as usize);
            let bit = draw % (content.len() * 8);
            content[bit / 8] ^= 1 << (bit % 8);
            fs::write(file, content).expect("writable");
        }
        let mut last = (0, 0);
        let report = store.verify(|done, total| last = (done, total)).expect("readable");
        assert_eq!((report.damaged_shards.len(), report.shards), (100, good.len() as u64));
        assert_eq!(last, (files.len() as u64, files.len() as u64));
        let named = |id: &ShardId| rotten.iter().any(|file| file.ends_with(id.to_string()));
        assert!(report.damaged_shards.iter().all(named));
        assert!(report.incomplete.iter().all(|one| ids.contains(&one.manifest) && one.missing.iter().all(named)));
        assert_eq!(report.to_string().lines().count(), 100 + report.incomplete.len());
        let again = store.verify(|_, _| ()).expect("readable");
        assert!(again.damaged_shards.is_empty() && !again.is_clean(), "moved aside, still missing");
        assert_eq!(again.incomplete, report.incomplete);
    }

    #[test]
    fn a_log_that_was_taken_away_from_a_running_store_is_written_again_and_said() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let id = fixture.add(&store, "a", 100);
        store.pin(id).expect("room");
        fs::remove_file(store.layout().state_log()).expect("there");
        let report = store.verify(|_, _| ()).expect("readable");
        assert!(!report.is_clean() && report.to_string().contains("state.log was missing"), "{report}");
        assert!(store.verify(|_, _| ()).expect("readable").is_clean());
        drop(store);
        assert_eq!(fixture.open().pins(), [id], "nothing is lost");
    }

    #[test]
    fn lost_and_strange_files_are_named() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let (a, b) = (fixture.add(&store, "a", 100), fixture.add(&store, "b", 100));
        fs::remove_file(store.layout().manifests().join(a.to_string())).expect("there");
        fs::write(store.layout().manifests().join(b.to_string()), b"rotten").expect("writable");
        let folder = shard_folders(store.layout()).expect("readable").remove(0);
        fs::write(folder.join("notes.txt"), b"mine").expect("writable");
        let report = store.verify(|_, _| ()).expect("readable");
        assert_eq!((report.lost_manifests, report.damaged_manifests), (vec![a], vec![b]));
        assert_eq!(report.strangers.len(), 1);
        assert!(folder.join("notes.txt").exists());
    }
}
