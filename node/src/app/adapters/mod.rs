//! Adapters that are here, as PEFT folders.

pub mod of_base;
pub mod pull;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_trainer::files;

use crate::app::bases::Bases;
use crate::app::disk::Disk;
use crate::app::known_bases::KnownBases;
use crate::app::reference::{Names, no_adapter};
use crate::failure::{Failure, Kind, Outcome};
use crate::out_folder;
use crate::store::Note;
use crate::worker::note;
use crate::worker::note::OfBase;

/// An adapter as a PEFT folder.
#[derive(Clone, Debug)]
pub struct FoundAdapter {
    pub folder: PathBuf,
    /// If it is a published one.
    pub manifest: Option<ManifestId>,
}

/// The adapters of this home.
#[derive(Clone)]
pub struct Adapters {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) bases: Arc<Bases>,
}

impl Adapters {
    /// An adapter as a folder: the folder that was named, or the export of one that is here and well-formed.
    pub async fn find(&self, reference: &str) -> Outcome<FoundAdapter> {
        let path = Path::new(reference);
        if path.is_absolute() {
            return Ok(FoundAdapter { folder: path.to_path_buf(), manifest: None });
        }
        let pull = || format!("fetch it with `potluck pull {reference}`, or give the path of a PEFT folder");
        let missing =
            |what: &str| Failure::new(Kind::NotFound, format!("no adapter `{reference}` is {what}")).hint(pull());
        let id = self.names.find_pullable(reference).await?.ok_or_else(|| missing("known here"))?;
        if !self.disk.store.is_well_formed(&id) {
            return Err(missing("complete and checked here"));
        }
        let manifest = self.disk.on_store(move |store| store.manifest(&id)).await?;
        if let Some(kind) = manifest.map(|manifest| KindTag::from(&manifest.body().kind))
            && kind != KindTag::Adapter
        {
            return Err(no_adapter(reference, kind));
        }
        Ok(FoundAdapter { folder: self.export(id).await?, manifest: Some(id) })
    }

    /// The PEFT folder of a well-formed adapter inside the home; written if it is not there or not as it was. One whose
    /// files were changed is set aside.
    pub async fn export(&self, id: ManifestId) -> Outcome<PathBuf> {
        let folder = self.disk.home.layout().adapters().join(id.to_string());
        let target = folder.clone();
        let manifest = self.disk.manifest(id).await?;
        let notes = manifest.body().base().map(|base| self.note_of(base)).transpose()?;
        self.disk
            .on_store(move |store| -> Outcome<()> {
                let intact = manifest.body().files.iter().all(|file| {
                    files::read(&target.join(file.path.as_str()), file.len)
                        .is_ok_and(|bytes| Digest::of(&bytes) == file.digest.0)
                });
                if intact {
                    return Ok(());
                }
                // A person's change: this program writes the folder whole or not at all.
                out_folder::make_room(&target)?;
                if let Some(parent) = target.parent() {
                    std::fs::create_dir_all(parent)
                        .map_err(|error| Failure::io(format!("make {}", parent.display()), &error))?;
                }
                Ok(store.export(&id, &target, notes.as_slice())?)
            })
            .await?;
        Ok(folder)
    }

    /// What is noted in an adapter's folder of the base that it is of.
    pub fn note_of(&self, base: BaseId) -> Outcome<Note<'static>> {
        let name = self.known.by_id(&base).map_or_else(|| base.short(), |known| known.name);
        note::file(&OfBase { name, id: base })
    }
}
