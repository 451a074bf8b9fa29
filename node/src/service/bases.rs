//! Bases: adding, listing, showing.

use std::path::Path;
use std::sync::OnceLock;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::BaseId;
use potluck_protocol::tensor::DType;
use potluck_protocol::text::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apart::{identified, read_whole};
use super::named::{NAMED, a};
use super::resolve::{KnownBase, TINY};
use super::{Call, Service};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::naming;
use crate::store::{BaseFile, BaseRecord};
use crate::worker::jobs::described;
use crate::worker::proto::{BaseSource, Task};

/// What the worker says of a base that it has read whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identified {
    pub base: BaseId,
    /// For people, e.g. `llama, 30 layers of 576, vocabulary 49152`.
    pub architecture: String,
    pub parameters: u64,
    /// The type of its matrices.
    pub dtype: DType,
    /// Absolute paths of its files.
    pub files: Vec<String>,
}

/// The tensor of a view that is farthest from the original, beside what its format allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub tensor: String,
    /// The Frobenius norm of the difference over that of the original.
    pub error: f64,
    pub bound: f64,
}

/// The id of the base inside this program: a function of the program's own bytes, so it is computed once.
pub fn tiny_id() -> Outcome<BaseId> {
    static ID: OnceLock<Result<BaseId, String>> = OnceLock::new();
    let id = ID.get_or_init(|| potluck_trainer::tiny::base_id().map_err(|error| error.to_string()));
    id.clone()
        .map_err(|error| Failure::new(Kind::Failed, format!("the base inside this program is not readable: {error}")))
}

impl Service {
    pub(super) async fn base_add(
        &self,
        call: &Call<'_>,
        path: &Path,
        name: Option<String>,
        view_of: Option<String>,
    ) -> Outcome<Value> {
        let name = match name {
            Some(name) => naming::own(&name)?,
            None => default_name(path)?,
        };
        let text = path
            .to_str()
            .ok_or_else(|| Failure::new(Kind::Usage, "the path is not UTF-8").hint("rename it, or link to it"))?;
        call.phase(format!("reading {text} whole")).await;
        let identified = self.identify(call, &BaseSource::Path(path.to_path_buf())).await?;
        let files = stamps(path, &identified.files)?;
        let view = match view_of {
            Some(reference) => Some(self.view(call, path, &reference, identified.base).await?),
            None => None,
        };
        let view_of = view.as_ref().map(|(of, _)| *of);
        let record = BaseRecord { id: identified.base, name: name.clone(), path: text.to_owned(), files, view_of };
        self.on_store(move |store| store.add_base(record)).await?;
        if let Some(network) = &self.network {
            network.handle.subscribe(identified.base).await?;
        }
        let mut answer = shown(&name.to_string(), text, &identified);
        if let Some((of, compared)) = view {
            answer["view_of"] = json!({ "base": of, "checked": compared.is_some(), "farthest": compared });
        }
        Ok(answer)
    }

    /// The base that a file is a view of, and how far it is from it at most; `None` if that base is not here to compare.
    async fn view(
        &self,
        call: &Call<'_>,
        path: &Path,
        reference: &str,
        own: BaseId,
    ) -> Outcome<(BaseId, Option<Compared>)> {
        let Some(original) = self.known_base(reference)? else {
            let id = self.heard_base(reference).await?;
            return Ok((id.ok_or_else(|| super::resolve::no_base_called(reference))?, None));
        };
        let id = self.base_id(call, &original).await?;
        if id == own {
            return Err(
                Failure::new(Kind::Usage, "the file is that base itself, not a view of it").hint("leave --view-of out")
            );
        }
        call.phase(format!("comparing every tensor with `{}`", original.name)).await;
        let task = Task::CompareView { view: BaseSource::Path(path.to_path_buf()), original: original.source };
        let compared = self.numerics(call, config::processors(), task).await?;
        Ok((id, Some(compared)))
    }

    pub(super) async fn base_list(&self) -> Outcome<Value> {
        let tiny = KnownBase { name: TINY.to_owned(), id: Some(tiny_id()?), source: BaseSource::Tiny };
        let added = self.store.bases().into_iter().map(|base| KnownBase {
            name: base.name.to_string(),
            id: Some(base.id),
            source: BaseSource::Path(base.path.into()),
        });
        let known: Vec<_> = [tiny].into_iter().chain(added).collect();
        // Their heads alone are read, and of some the files may have gone.
        let bases = self.on_store(move |_| Ok::<_, Failure>(known.iter().map(listed).collect::<Vec<_>>())).await?;
        Ok(json!({ "schema": "potluck.base.list/1", "bases": bases }))
    }

    pub(super) async fn base_show(&self, call: &Call<'_>, reference: &str) -> Outcome<Value> {
        if self.known_base(reference)?.is_none() && self.known_channel(reference)?.is_some() {
            return Err(Failure::new(Kind::Usage, format!("`{reference}` is a channel, not a base"))
                .hint(format!("show its versions with `potluck channel show {reference}`")));
        }
        if let Some(failure) = self.no_base_but(reference).await? {
            return Err(failure);
        }
        let known = self.find_base(call, reference).await?;
        let identified = self.identify(call, &known.source).await?;
        Ok(shown(&known.name, &place(&known.source), &identified))
    }

    /// What to say of something that is no base and has the name or the id; nothing, if it may be one.
    async fn no_base_but(&self, reference: &str) -> Outcome<Option<Failure>> {
        if self.known_base(reference)?.is_some() || self.find_version(reference).await?.is_some() {
            return Ok(None);
        }
        let Some(kind) = self.find_known(reference, &NAMED).await?.map(|known| known.kind) else { return Ok(None) };
        let hint = match kind {
            KindTag::Base => return Ok(None),
            KindTag::Channel => format!(
                "look at its rules with `potluck show {reference}`, follow it with `potluck channel follow {reference}`"
            ),
            _ => format!("look at it with `potluck show {reference}`"),
        };
        let message = format!("`{reference}` is {}, and no base of that name or id is known here", a(kind));
        Ok(Some(Failure::new(Kind::NotFound, message).hint(hint)))
    }

    /// The ids of all bases that are known here.
    pub fn known_bases(&self) -> Outcome<Vec<BaseId>> {
        let added = self.store.bases().into_iter().map(|base| base.id);
        Ok([tiny_id()?].into_iter().chain(added).collect())
    }

    /// Reads a base whole, unless that was done for this very command.
    pub(super) async fn identify(&self, call: &Call<'_>, source: &BaseSource) -> Outcome<Identified> {
        match &self.read {
            Some(read) if read.source == *source => Ok(read.identified.clone()),
            _ => {
                let _at_work = self.workers.token();
                identified(call, source).await
            }
        }
    }

    /// The id of a base; read whole only if it is not known yet, or its files have changed since. What was read whole is
    /// remembered where it lies, so that it is known by its id, and need not be read again.
    pub(super) async fn base_id(&self, call: &Call<'_>, known: &KnownBase) -> Outcome<BaseId> {
        if let (BaseSource::Tiny, Some(id)) = (&known.source, known.id) {
            return Ok(id);
        }
        // It may have been read and remembered since it was found.
        let noted = match &known.source {
            BaseSource::Path(path) if known.id.is_none() => self.base_at(path).id,
            _ => known.id,
        };
        let record = noted.and_then(|id| self.store.base(&id));
        if let Some(record) = record.filter(unchanged) {
            return Ok(record.id);
        }
        let identified = match &self.read {
            Some(read) if read.source == known.source => read.identified.clone(),
            _ => {
                let _at_work = self.workers.token();
                read_whole(call, &known.source).await?
            }
        };
        if let Some(id) = known.id.filter(|id| *id != identified.base) {
            return Err(changed(known, id, identified.base));
        }
        self.remember(known, &identified).await?;
        Ok(identified.base)
    }

    /// Notes a base of this machine by its place. One that is known already keeps its name, and its place as long as its
    /// files are there.
    async fn remember(&self, known: &KnownBase, identified: &Identified) -> Outcome<()> {
        let id = identified.base;
        let before = self.store.base(&id);
        let BaseSource::Path(path) = &known.source else { return Ok(()) };
        if before.as_ref().is_some_and(unchanged) || super::resolve::is_tiny(&id) {
            return Ok(());
        }
        let text = path.to_str().ok_or_else(|| Failure::new(Kind::Usage, "the base's path is not UTF-8"))?.to_owned();
        let files = stamps(path, &identified.files)?;
        let (name, view_of) = match before {
            Some(before) => (before.name, before.view_of),
            // A file may be called anything; what it was called is no reason not to train on it.
            None => {
                let called = plain_name(&known.name).parse::<Name>().or_else(|_| Name::new("base"));
                (self.free_name(&called.map_err(|error| Failure::new(Kind::Failed, error))?, id), None)
            }
        };
        let record = BaseRecord { id, name, path: text, files, view_of };
        self.on_store(move |store| store.add_base(record)).await?;
        match &self.network {
            Some(network) => Ok(network.handle.subscribe(id).await?),
            None => Ok(()),
        }
    }
}

/// The files of a known base are another base now.
pub(super) fn changed(known: &KnownBase, was: BaseId, is: BaseId) -> Failure {
    let message =
        format!("the files of base `{}` have changed: it was {}, it is {}", known.name, was.short(), is.short());
    Failure::new(Kind::Verification, message)
        .hint("put the old files back, or add the new ones with `potluck base add PATH --name NAME`")
}

/// For people.
fn place(source: &BaseSource) -> String {
    match source {
        BaseSource::Tiny => "inside this program".to_owned(),
        BaseSource::Path(path) => path.display().to_string(),
    }
}

/// A line of the list: what `base show` says as well, as far as it can be read.
fn listed(known: &KnownBase) -> Value {
    let described = described(&known.source).ok();
    json!({
        "name": known.name, "base": known.id, "place": place(&known.source),
        "architecture": described.as_ref().map(|described| &described.architecture),
        "parameters": described.as_ref().map(|described| described.parameters),
    })
}

pub(super) fn shown(name: &str, place: &str, identified: &Identified) -> Value {
    json!({
        "schema": "potluck.base.show/1", "name": name, "base": identified.base, "place": place,
        "architecture": identified.architecture, "parameters": identified.parameters,
    })
}

/// The file's or folder's own name, with what a name may not hold replaced.
fn default_name(path: &Path) -> Outcome<Name> {
    let called = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    naming::own(&plain_name(&called))
        .map_err(|failure| failure.context("the path gives no name").hint("give one with --name"))
}

/// What a file or a repository of the hub is called, as far as a name can hold it.
fn plain_name(called: &str) -> String {
    let stem = called.rsplit('/').next().unwrap_or(called);
    let stem = stem.strip_suffix(".gguf").unwrap_or(stem);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let text: String = stem.chars().map(plain).take(potluck_protocol::limits::NAME_MAX).collect();
    text.trim_matches(['.', '-']).to_owned()
}

/// [`stamp`] of each.
pub(super) fn stamps(base: &Path, files: &[impl AsRef<Path>]) -> Outcome<Vec<BaseFile>> {
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

pub(super) fn unchanged(record: &BaseRecord) -> bool {
    let base = Path::new(&record.path);
    record.files.iter().all(|file| {
        let path = if file.path.is_empty() { base.to_path_buf() } else { base.join(&file.path) };
        stamp(base, &path).is_ok_and(|now| now == *file)
    })
}
