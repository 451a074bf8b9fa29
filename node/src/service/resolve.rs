//! What a REF means: a folder or file, an id or the start of one, a name.

use std::path::{Path, PathBuf};

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::manifest::Kind as ManifestKind;
use potluck_protocol::text::Name;
use potluck_trainer::files;
use serde::{Deserialize, Serialize};

use super::base_fetch::FIND_SECONDS;
use super::{Call, Service};
use crate::failure::{Failure, Kind, Outcome};
use crate::hub;
use crate::store::BaseRecord;
use crate::worker::proto::{AdapterSource, BaseSource};

/// The base inside this program.
pub const TINY: &str = "tiny";
/// Fewer digits of an id are too likely to be a typing mistake.
const PREFIX_MIN: usize = 6;

/// A base that can be opened.
#[derive(Clone, Debug)]
pub struct KnownBase {
    pub name: String,
    /// Known for `tiny` and added bases; of a path only once it has been read.
    pub id: Option<BaseId>,
    pub source: BaseSource,
}

/// An adapter as a PEFT folder.
#[derive(Clone, Debug)]
pub struct FoundAdapter {
    pub folder: PathBuf,
    /// If it is a published one.
    pub manifest: Option<ManifestId>,
}

/// What `potluck train` notes beside the PEFT files. No path and no row is in it. // I16
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    pub base: String,
    pub base_id: BaseId,
    /// Optimiser steps that the adapter has had; 0 while it is trained.
    pub steps: u64,
    /// Labelled tokens that it was trained on, each as often as it was seen; 0 while it is trained.
    pub tokens: u64,
    pub seed: u64,
    pub learning_rate: f64,
    /// BLAKE3 of the rows' content.
    pub data: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Digest>,
    /// BLAKE3 of the chat template that rendered the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Digest>,
    /// BLAKE3 of the factors that the run began with, if it went on from an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// Of the program that trained.
    #[serde(default)]
    pub version: String,
}

/// The file of a [`RunRecord`].
pub const RUN_RECORD: &str = "potluck.json";

impl Service {
    /// A base by path, name, id, or `tiny`. A version of a channel is folded into one, once; a base that is named by its
    /// whole id and is not here is fetched from the swarm.
    pub(super) async fn find_base(&self, call: &Call<'_>, reference: &str) -> Outcome<KnownBase> {
        if let Some(known) = self.known_base(reference)? {
            return Ok(known);
        }
        if let Some(version) = self.find_version(reference).await? {
            return self.version_folder(call, &version).await;
        }
        let Ok(id) = reference.parse::<BaseId>() else {
            return Err(no_base_called(reference));
        };
        let fetched = self.base_from_swarm(call, id, None, FIND_SECONDS.into()).await?;
        let BaseRecord { id, name, path, .. } = fetched.record;
        Ok(KnownBase { name: name.to_string(), id: Some(id), source: BaseSource::Path(path.into()) })
    }

    /// What a model is run on: a base, or a version live, as its adapters on what it is folded from.
    pub(super) async fn to_run(&self, call: &Call<'_>, reference: &str) -> Outcome<(BaseSource, Vec<AdapterSource>)> {
        if let Some(known) = self.known_base(reference)? {
            return Ok((known.source, Vec::new()));
        }
        match self.find_version(reference).await? {
            Some(version) => self.stacked(call, &version).await,
            None => Ok((self.find_base(call, reference).await?.source, Vec::new())),
        }
    }

    /// A base that is here, by path, name, id, or `tiny`.
    pub(super) fn known_base(&self, reference: &str) -> Outcome<Option<KnownBase>> {
        if reference == TINY {
            let id = Some(super::bases::tiny_id()?);
            return Ok(Some(KnownBase { name: TINY.to_owned(), id, source: BaseSource::Tiny }));
        }
        let path = Path::new(reference);
        if path.is_absolute() {
            if let Err(error) = files::look(path) {
                return Err(no_base(&format!("{}: {error}", path.display())));
            }
            let name = hub::name_of(path).unwrap_or_else(|| {
                path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
            });
            return Ok(Some(KnownBase { name, id: None, source: BaseSource::Path(path.to_path_buf()) }));
        }
        let bases = self.store.bases();
        let found = one(reference, bases.iter().map(|base| (base.name.as_str(), base.id.to_string(), base)))?;
        Ok(found.map(|base| KnownBase {
            name: base.name.to_string(),
            id: Some(base.id),
            source: BaseSource::Path(PathBuf::from(&base.path)),
        }))
    }

    /// The base of an id, if it is here.
    pub(super) fn base_of(&self, id: &BaseId) -> Option<KnownBase> {
        if super::bases::tiny_id().ok().as_ref() == Some(id) {
            return self.known_base(TINY).ok().flatten();
        }
        let record = self.store.base(id)?;
        Some(KnownBase { name: record.name.to_string(), id: Some(*id), source: BaseSource::Path(record.path.into()) })
    }

    /// The id of an adapter that is here, by name, id or start of an id; of one that was only heard of as well.
    pub(super) async fn find_manifest(&self, reference: &str) -> Outcome<Option<ManifestId>> {
        if let Ok(id) = reference.parse() {
            return Ok(Some(id));
        }
        let named = reference.parse::<Name>().ok().and_then(|name| self.store.named(&name));
        if let Some(id) = named {
            return Ok(Some(id));
        }
        let held = self.on_store(|store| store.manifests()).await?;
        let held: Vec<_> = held.into_iter().filter(|summary| summary.kind == KindTag::Adapter).collect();
        let held =
            one(reference, held.iter().map(|summary| (summary.name.as_str(), summary.id.to_string(), summary.id)))?;
        if held.is_some() {
            return Ok(held);
        }
        // A base is fetched when its whole id is given, never by a name that its publisher chose.
        let heard: Vec<_> = self.heard_of().await?.into_iter().filter(|heard| heard.kind == KindTag::Adapter).collect();
        one(reference, heard.iter().map(|heard| (heard.name.as_str(), heard.manifest.to_string(), heard.manifest)))
    }

    /// An adapter as a folder: the folder that was named, or the export of one that is here and well-formed.
    pub(super) async fn find_adapter(&self, reference: &str) -> Outcome<FoundAdapter> {
        let path = Path::new(reference);
        if path.is_absolute() {
            return Ok(FoundAdapter { folder: path.to_path_buf(), manifest: None });
        }
        let pull = || format!("fetch it with `potluck pull {reference}`, or give the path of a PEFT folder");
        let missing =
            |what: &str| Failure::new(Kind::NotFound, format!("no adapter `{reference}` is {what}")).hint(pull());
        let id = self.find_manifest(reference).await?.ok_or_else(|| missing("known here"))?;
        if !self.store.is_well_formed(&id) {
            return Err(missing("complete and checked here"));
        }
        let manifest = self.on_store(move |store| store.manifest(&id)).await?;
        if manifest.is_some_and(|manifest| !matches!(manifest.body().kind, ManifestKind::Adapter(_))) {
            return Err(Failure::new(Kind::Usage, format!("`{reference}` is no adapter"))
                .hint("a base is named with --base; find adapters with `potluck search`"));
        }
        Ok(FoundAdapter { folder: self.exported(id).await?, manifest: Some(id) })
    }

    /// The PEFT folder of a well-formed adapter inside the home; written if it is not there or not as it was. One whose
    /// files were changed is set aside.
    pub(super) async fn exported(&self, id: ManifestId) -> Outcome<PathBuf> {
        let folder = self.home.layout().adapters().join(id.to_string());
        let target = folder.clone();
        self.on_store(move |store| -> Outcome<()> {
            let manifest = store.manifest(&id)?.ok_or(crate::store::StoreError::NoManifest(id))?;
            let intact = manifest.body().files.iter().all(|file| {
                files::read(&target.join(file.path.as_str()), file.len)
                    .is_ok_and(|bytes| Digest::of(&bytes) == file.digest.0)
            });
            if intact {
                return Ok(());
            }
            // A person's change: this program writes the folder whole or not at all.
            super::output::make_room(&target)?;
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)
                    .map_err(|error| Failure::io(format!("make {}", parent.display()), &error))?;
            }
            Ok(store.export(&id, &target)?)
        })
        .await?;
        Ok(folder)
    }
}

pub(super) fn no_base_called(reference: &str) -> Failure {
    no_base(&format!("no base `{reference}` is known here"))
}

fn no_base(what: &str) -> Failure {
    Failure::new(Kind::NotFound, what).hint(
        "list the known ones with `potluck base ls`; add one with `potluck base add PATH`, from the hub with `potluck base add OWNER/NAME`, or from the swarm with `potluck base add BASE-ID`; `tiny` is always there",
    )
}

/// The one candidate with that name, or whose id starts so. Several are an error that lists them.
pub(super) fn one<T>(
    reference: &str,
    candidates: impl Iterator<Item = (impl AsRef<str>, String, T)>,
) -> Outcome<Option<T>> {
    let is_prefix = reference.len() >= PREFIX_MIN && reference.bytes().all(|b| b.is_ascii_hexdigit());
    let mut fitting: Vec<_> = candidates
        .filter(|(name, id, _)| name.as_ref() == reference || (is_prefix && id.starts_with(reference)))
        .collect();
    // One object that several announcements or records name is still one.
    fitting.sort_by(|a, b| a.1.cmp(&b.1));
    fitting.dedup_by(|a, b| a.1 == b.1);
    if fitting.len() > 1 {
        let ids: Vec<_> = fitting.iter().map(|(_, id, _)| id[..16].to_owned()).collect();
        return Err(Failure::new(Kind::Conflict, format!("`{reference}` means several: {}", ids.join(", ")))
            .hint("give more digits of the id"));
    }
    Ok(fitting.pop().map(|(_, _, found)| found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_the_start_of_an_id_means_one_thing_or_is_refused() {
        let ids = [("a", "11".repeat(32), 1), ("b", format!("11{}", "22".repeat(31)), 2), ("b", "33".repeat(32), 3)];
        let find = |reference: &str| one(reference, ids.iter().map(|(name, id, n)| (*name, id.clone(), *n)));
        assert_eq!(find("a"), Ok(Some(1)));
        assert_eq!(find("112222"), Ok(Some(2)));
        assert_eq!(find("1122"), Ok(None), "too short to be meant");
        assert_eq!(find("none"), Ok(None));
        assert_eq!(find("b").map_err(|failure| failure.kind), Err(Kind::Conflict));
    }
}
