//! Which bases are known here, and where they lie.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use potluck_protocol::id::BaseId;

use crate::app::disk::Disk;
use crate::app::errors::ObjectError;
use crate::app::lineages::{FORKS_MAX, Lineages};
use crate::failure::{Failure, Kind, Outcome};
use crate::hub;
use crate::naming::TINY;
use crate::store::{BaseFile, BaseRecord};
use crate::worker::proto::BaseSource;

/// A base that can be opened.
#[derive(Clone, Debug)]
pub struct KnownBase {
    pub name: String,
    /// Known for `tiny` and for what is remembered; of another path only once it has been read.
    pub id: Option<BaseId>,
    pub source: BaseSource,
}

/// The id of the base inside this program: a function of the program's own bytes, so it is computed once.
pub fn tiny_id() -> Outcome<BaseId> {
    static ID: OnceLock<Result<BaseId, String>> = OnceLock::new();
    let id = ID.get_or_init(|| potluck_trainer::tiny::base_id().map_err(|error| error.to_string()));
    id.clone()
        .map_err(|error| Failure::new(Kind::Failed, format!("the base inside this program is not readable: {error}")))
}

/// The bases that this home remembers, and the one inside this program.
#[derive(Clone)]
pub struct KnownBases {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) lineages: Lineages,
}

impl KnownBases {
    /// The ids of all bases that are known here.
    pub fn ids(&self) -> Outcome<Vec<BaseId>> {
        let added = self.disk.store.bases().into_iter().map(|base| base.id);
        Ok([tiny_id()?].into_iter().chain(added).collect())
    }

    /// What lies at a path, under the id that it is remembered by as long as its files are the same.
    pub fn at(&self, path: &Path) -> KnownBase {
        let mut here = self.disk.store.bases().into_iter().filter(|base| Path::new(&base.path) == path);
        let known = here.find(unchanged);
        let file = || path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let called = || known.as_ref().map_or_else(file, |base| base.name.to_string());
        let name = hub::name_of(path).unwrap_or_else(called);
        KnownBase { name, id: known.map(|base| base.id), source: BaseSource::Path(path.to_path_buf()) }
    }

    /// The base of an id, if it is here.
    pub fn by_id(&self, id: &BaseId) -> Option<KnownBase> {
        if is_tiny(id) {
            return tiny_id().ok().map(tiny_base);
        }
        let record = self.disk.store.base(id)?;
        Some(KnownBase { name: record.name.to_string(), id: Some(*id), source: BaseSource::Path(record.path.into()) })
    }

    /// A base here with the shapes of `base`: itself, a view of it, or what the version of that id is folded from. // I6
    pub async fn shapes_of(&self, base: BaseId) -> Result<Option<KnownBase>, ObjectError> {
        let mut base = base;
        let mut versions = None;
        for _ in 0..=FORKS_MAX {
            if let Some(known) = self.by_id(&base).or_else(|| self.view_of(&base)) {
                return Ok(Some(known));
            }
            let all = match versions.take() {
                Some(all) => all,
                None => self.lineages.versions().await?,
            };
            let of = all.iter().find(|(_, version)| version.base == base).map(|(_, version)| version.recipe.parent);
            versions = Some(all);
            match of {
                Some(genesis) => base = genesis,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A base here that was noted as a view of this one, e.g. a quantised file of it.
    pub fn view_of(&self, base: &BaseId) -> Option<KnownBase> {
        let record = self.disk.store.bases().into_iter().find(|record| record.view_of == Some(*base))?;
        let source = BaseSource::Path(PathBuf::from(&record.path));
        Some(KnownBase { name: record.name.to_string(), id: Some(record.id), source })
    }
}

/// The base inside this program, whatever file holds it.
pub fn is_tiny(id: &BaseId) -> bool {
    tiny_id().is_ok_and(|tiny| tiny == *id)
}

/// The base inside this program, under its id.
pub fn tiny_base(id: BaseId) -> KnownBase {
    KnownBase { name: TINY.to_owned(), id: Some(id), source: BaseSource::Tiny }
}

/// The files of a known base are another base now.
pub fn changed(known: &KnownBase, was: BaseId, is: BaseId) -> Failure {
    let message =
        format!("the files of base `{}` have changed: it was {}, it is {}", known.name, was.short(), is.short());
    Failure::new(Kind::Verification, message)
        .hint("put the old files back, or add the new ones with `potluck base add PATH --name NAME`")
}

/// [`stamp`] of each.
pub fn stamps(base: &Path, files: &[impl AsRef<Path>]) -> Outcome<Vec<BaseFile>> {
    files.iter().map(|file| stamp(base, file.as_ref())).collect()
}

/// Length and time of a file, by which a later change is noticed.
fn stamp(base: &Path, file: &Path) -> Outcome<BaseFile> {
    let doing = |error: &std::io::Error| Failure::io(format!("look at {}", file.display()), error);
    let metadata = std::fs::metadata(file).map_err(|error| doing(&error))?;
    let modified = metadata.modified().map_err(|error| doing(&error))?;
    let nanos = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let relative = file.strip_prefix(base).unwrap_or(file).to_string_lossy().into_owned();
    Ok(BaseFile { path: relative, len: metadata.len(), mtime_nanos: nanos })
}

/// Whether the files of a base are as they were when it was noted.
pub fn unchanged(record: &BaseRecord) -> bool {
    let base = Path::new(&record.path);
    record.files.iter().all(|file| {
        let path = if file.path.is_empty() { base.to_path_buf() } else { base.join(&file.path) };
        stamp(base, &path).is_ok_and(|now| now == *file)
    })
}
