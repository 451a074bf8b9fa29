//! What a REF means: a folder or file, an id or the start of one, a name.

use std::path::{Path, PathBuf};

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_trainer::files;

use super::base_fetch::FIND_SECONDS;
use super::named::{no_adapter, one};
use super::note::{self, OfBase};
use super::of_base::{Of, ToRun};
use super::{Call, Service};
use crate::failure::{Failure, Kind, Outcome};
use crate::hub;
pub use crate::naming::TINY;
use crate::store::{BaseRecord, Note, StoreError};
use crate::worker::proto::BaseSource;

/// A base that can be opened.
#[derive(Clone, Debug)]
pub struct KnownBase {
    pub name: String,
    /// Known for `tiny` and for what is remembered; of another path only once it has been read.
    pub id: Option<BaseId>,
    pub source: BaseSource,
}

/// The base inside this program, whatever file holds it.
pub(super) fn is_tiny(id: &BaseId) -> bool {
    super::bases::tiny_id().is_ok_and(|tiny| tiny == *id)
}

/// An adapter as a PEFT folder.
#[derive(Clone, Debug)]
pub struct FoundAdapter {
    pub folder: PathBuf,
    /// If it is a published one.
    pub manifest: Option<ManifestId>,
}

impl Service {
    /// A base by path, name, id, or `tiny`. A version of a channel is folded into one, once; a base that is named by its id,
    /// or the start of one that was heard of, and is not here, is fetched from the swarm.
    pub(super) async fn find_base(&self, call: &Call<'_>, reference: &str) -> Outcome<KnownBase> {
        if let Some(known) = self.known_base(reference)? {
            return Ok(known);
        }
        if let Some(version) = self.find_version(reference).await? {
            return self.version_folder(call, &version).await;
        }
        let Some(id) = self.heard_base(reference).await? else {
            return Err(no_base_called(reference));
        };
        let fetched = self.base_from_swarm(call, id, None, FIND_SECONDS.into()).await?;
        let BaseRecord { id, name, path, .. } = fetched.record;
        Ok(KnownBase { name: name.to_string(), id: Some(id), source: BaseSource::Path(path.into()) })
    }

    /// A base or a version to run a model on.
    pub(super) async fn to_run(&self, call: &Call<'_>, reference: &str) -> Outcome<ToRun> {
        let base = |known: KnownBase| ToRun { source: known.source.clone(), adapters: Vec::new(), of: Of::Base(known) };
        if let Some(known) = self.known_base(reference)? {
            return Ok(base(known));
        }
        let Some(version) = self.find_version(reference).await? else {
            return self.find_base(call, reference).await.map(base);
        };
        let (source, adapters) = self.stacked(call, &version).await?;
        Ok(ToRun { source, adapters, of: Of::Version(Box::new(version)) })
    }

    /// A base that is here, by path, name, id, or `tiny`.
    pub(super) fn known_base(&self, reference: &str) -> Outcome<Option<KnownBase>> {
        let tiny = super::bases::tiny_id()?;
        if reference == TINY {
            return Ok(Some(tiny_base(tiny)));
        }
        let path = Path::new(reference);
        if path.is_absolute() {
            if let Err(error) = files::look(path) {
                return Err(no_base(&format!("{}: {error}", path.display())));
            }
            return Ok(Some(self.base_at(path)));
        }
        let bases = self.store.bases();
        let added = bases.iter().map(|base| (base.name.as_str(), base.id.to_string(), Some(base)));
        let found = one(reference, added.chain([(TINY, tiny.to_string(), None)]))?;
        Ok(found.map(|base| match base {
            Some(base) => KnownBase {
                name: base.name.to_string(),
                id: Some(base.id),
                source: BaseSource::Path(PathBuf::from(&base.path)),
            },
            None => tiny_base(tiny),
        }))
    }

    /// What lies at a path, under the id that it is remembered by as long as its files are the same.
    pub(super) fn base_at(&self, path: &Path) -> KnownBase {
        let mut here = self.store.bases().into_iter().filter(|base| Path::new(&base.path) == path);
        let known = here.find(super::bases::unchanged);
        let file = || path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let called = || known.as_ref().map_or_else(file, |base| base.name.to_string());
        let name = hub::name_of(path).unwrap_or_else(called);
        KnownBase { name, id: known.map(|base| base.id), source: BaseSource::Path(path.to_path_buf()) }
    }

    /// The base of an id, if it is here.
    pub(super) fn base_of(&self, id: &BaseId) -> Option<KnownBase> {
        if is_tiny(id) {
            return self.known_base(TINY).ok().flatten();
        }
        let record = self.store.base(id)?;
        Some(KnownBase { name: record.name.to_string(), id: Some(*id), source: BaseSource::Path(record.path.into()) })
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
        let id = self.find_pullable(reference).await?.ok_or_else(|| missing("known here"))?;
        if !self.store.is_well_formed(&id) {
            return Err(missing("complete and checked here"));
        }
        let manifest = self.on_store(move |store| store.manifest(&id)).await?;
        if let Some(kind) = manifest.map(|manifest| KindTag::from(&manifest.body().kind))
            && kind != KindTag::Adapter
        {
            return Err(no_adapter(reference, kind));
        }
        Ok(FoundAdapter { folder: self.exported(id).await?, manifest: Some(id) })
    }

    /// The PEFT folder of a well-formed adapter inside the home; written if it is not there or not as it was. One whose
    /// files were changed is set aside.
    pub(super) async fn exported(&self, id: ManifestId) -> Outcome<PathBuf> {
        let folder = self.home.layout().adapters().join(id.to_string());
        let target = folder.clone();
        let manifest = self.on_store(move |store| store.manifest(&id)?.ok_or(StoreError::NoManifest(id))).await?;
        let notes = manifest.body().base().map(|base| self.note_of(base)).transpose()?;
        self.on_store(move |store| -> Outcome<()> {
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
            Ok(store.export(&id, &target, notes.as_slice())?)
        })
        .await?;
        Ok(folder)
    }

    /// What is noted in an adapter's folder of the base that it is of.
    pub(super) fn note_of(&self, base: BaseId) -> Outcome<Note<'static>> {
        let name = self.base_of(&base).map_or_else(|| base.short(), |known| known.name);
        note::file(&OfBase { name, id: base })
    }
}

fn tiny_base(id: BaseId) -> KnownBase {
    KnownBase { name: TINY.to_owned(), id: Some(id), source: BaseSource::Tiny }
}

pub(super) fn no_base_called(reference: &str) -> Failure {
    no_base(&format!("no base `{reference}` is known here"))
}

fn no_base(what: &str) -> Failure {
    Failure::new(Kind::NotFound, what).hint(
        "list the known ones with `potluck base list`; add one with `potluck base add PATH`, from the hub with `potluck base add OWNER/NAME`, or from the swarm with `potluck base add BASE-ID`; `tiny` is always there",
    )
}
