//! Bases: adding and listing them, and knowing which is which. Apart from that: which files make one, what is judged of one
//! that came from the swarm, and how one is fetched.

pub mod files;
pub mod check;
pub mod hunt;
pub mod fetch;

use std::path::Path;
use std::sync::Arc;

use potluck_protocol::id::BaseId;
use potluck_protocol::limits::NAME_MAX;
use potluck_protocol::text::Name;
use tokio::sync::Mutex;

use crate::api::answers::{self, Base, ListedBase, ViewOf};
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::known_bases::{KnownBase, KnownBases, changed, is_tiny, stamps, tiny_base, tiny_id, unchanged};
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::app::reference::{Names, no_base_called};
use crate::app::shapes::Shapes;
use crate::app::worker::Worker;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::BaseRecord;
use crate::worker::answers::{Described, Distance, Identified};
use crate::worker::jobs::describe_tiny;
use crate::worker::proto::{BaseSource, Task};
use crate::{config, naming};

/// Adds bases, and knows their ids.
#[derive(Clone)]
pub struct Bases {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) shapes: Shapes,
    /// Those whose publications of bases led nowhere.
    pub(in crate::app) publishers: hunt::Publishers,
    /// Held while a base is put in its place.
    pub(in crate::app) settling: Arc<Mutex<()>>,
}

impl Bases {
    /// Answers `potluck base add PATH`.
    pub async fn add(
        &self,
        call: &Call<'_>,
        path: &Path,
        name: Option<String>,
        view_of: Option<String>,
    ) -> Outcome<Base> {
        let name = match name {
            Some(name) => naming::own(&name)?,
            None => default_name(path)?,
        };
        let text = path
            .to_str()
            .ok_or_else(|| Failure::new(Kind::Usage, "the path is not UTF-8").hint("rename it, or link to it"))?;
        call.phase(format!("reading {text} whole")).await;
        let identified = self.worker.identify(call, &BaseSource::Path(path.to_path_buf())).await?;
        let files = stamps(path, &identified.files)?;
        let view = match view_of {
            Some(reference) => Some(self.compare_view(call, path, &reference, identified.base).await?),
            None => None,
        };
        let view_of = view.as_ref().map(|(of, _)| *of);
        let record = BaseRecord { id: identified.base, name: name.clone(), path: text.to_owned(), files, view_of };
        self.shapes.note(&identified).await?;
        self.disk.on_store(move |store| store.add_base(record)).await?;
        if let Some(network) = &self.network {
            network.handle.subscribe(identified.base).await?;
        }
        let view_of = view.map(|(base, farthest)| ViewOf { base, checked: farthest.is_some(), farthest });
        Ok(Base { view_of, ..describe(name.as_str(), text, identified) })
    }

    /// Reads a known base whole, and says what it is.
    pub async fn describe_known(&self, call: &Call<'_>, known: &KnownBase) -> Outcome<Base> {
        let identified = self.worker.identify(call, &known.source).await?;
        if known.id == Some(identified.base) && known.source != BaseSource::Tiny {
            self.shapes.try_note(&identified.base, &identified.shapes, identified.dtype).await;
        }
        Ok(describe(&known.name, &place(&known.source), identified))
    }

    /// Hears of what is announced for every base that is known here.
    pub async fn subscribe(&self) -> Outcome<()> {
        let Some(network) = &self.network else { return Ok(()) };
        for base in self.known.ids()? {
            network.handle.subscribe(base).await?;
        }
        Ok(())
    }

    /// The base that a file is a view of, and how far it is from it at most; `None` if that base is not here to compare.
    async fn compare_view(
        &self,
        call: &Call<'_>,
        path: &Path,
        reference: &str,
        own: BaseId,
    ) -> Outcome<(BaseId, Option<Distance>)> {
        let Some(original) = self.names.known_base(reference)? else {
            let id = self.names.heard_base(reference).await?;
            return Ok((id.ok_or_else(|| no_base_called(reference))?, None));
        };
        let id = self.id(call, &original).await?;
        if id == own {
            return Err(
                Failure::new(Kind::Usage, "the file is that base itself, not a view of it").hint("leave --view-of out")
            );
        }
        call.phase(format!("comparing every tensor with `{}`", original.name)).await;
        let task = Task::CompareView { view: BaseSource::Path(path.to_path_buf()), original: original.source };
        let compared = self.worker.compute(call, config::processors(), task).await?;
        Ok((id, Some(compared)))
    }

    /// Answers `potluck base list`.
    pub async fn list(&self, call: &Call<'_>) -> Outcome<answers::Bases> {
        let tiny = tiny_base(tiny_id()?);
        let added = self.disk.store.bases().into_iter().map(|base| KnownBase {
            name: base.name.to_string(),
            id: Some(base.id),
            source: BaseSource::Path(base.path.into()),
        });
        let known: Vec<_> = [tiny].into_iter().chain(added).collect();
        let mut bases = Vec::with_capacity(known.len());
        for known in known {
            // Of some the files may have gone.
            let described = match known.source {
                BaseSource::Tiny => self.disk.on_store(|_| describe_tiny()).await.ok(),
                BaseSource::Path(_) => self.shapes.now(call, &known).await.ok(),
            };
            if call.cancel.is_cancelled() {
                return Err(Failure::interrupted());
            }
            bases.extend(list_entry(known, described));
        }
        Ok(answers::Bases { bases })
    }

    /// The id of a base; read whole only if it is not known yet, or its files have changed since. What was read whole is
    /// remembered where it lies, so that it is known by its id, and need not be read again.
    pub async fn id(&self, call: &Call<'_>, known: &KnownBase) -> Outcome<BaseId> {
        if let (BaseSource::Tiny, Some(id)) = (&known.source, known.id) {
            return Ok(id);
        }
        // It may have been read and remembered since it was found.
        let noted = match &known.source {
            BaseSource::Path(path) if known.id.is_none() => self.known.at(path).id,
            _ => known.id,
        };
        let record = noted.and_then(|id| self.disk.store.base(&id));
        if let Some(record) = record.filter(unchanged) {
            return Ok(record.id);
        }
        let identified = self.worker.read_whole(call, &known.source).await?;
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
        let before = self.disk.store.base(&id);
        let BaseSource::Path(path) = &known.source else { return Ok(()) };
        if before.as_ref().is_some_and(unchanged) || is_tiny(&id) {
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
        self.shapes.note(identified).await?;
        self.disk.on_store(move |store| store.add_base(record)).await?;
        match &self.network {
            Some(network) => Ok(network.handle.subscribe(id).await?),
            None => Ok(()),
        }
    }

    /// A name for a base that nobody here chose, unless it means something else already or reads as something else: nobody
    /// takes a name away.
    pub fn free_name(&self, name: &Name, id: BaseId) -> Name {
        let taken = |name: &str| {
            let base = self.disk.store.bases().iter().any(|base| base.name.as_str() == name && base.id != id);
            let channel = || self.disk.store.channels().iter().any(|channel| channel.name.as_str() == name);
            naming::misleading(name).is_some() || base || channel()
        };
        if !taken(name.as_str()) {
            return name.clone();
        }
        let short = id.short();
        let kept: String = name.as_str().chars().take(NAME_MAX - short.len() - 1).collect();
        format!("{kept}-{short}").parse().unwrap_or_else(|_| name.clone())
    }
}

/// For people.
fn place(source: &BaseSource) -> String {
    match source {
        BaseSource::Tiny => "inside this program".to_owned(),
        BaseSource::Path(path) => path.display().to_string(),
    }
}

/// A line of the list: what `base show` says as well, as far as it is known.
fn list_entry(known: KnownBase, described: Option<Described>) -> Option<ListedBase> {
    let parameters = described.as_ref().map(Described::parameters);
    let architecture = described.map(|described| described.architecture());
    Some(ListedBase { name: known.name, base: known.id?, place: place(&known.source), architecture, parameters })
}

/// What `potluck base show` says of a base.
pub fn describe(name: &str, place: &str, identified: Identified) -> Base {
    Base {
        name: name.to_owned(),
        base: identified.base,
        place: place.to_owned(),
        architecture: identified.architecture,
        parameters: identified.parameters,
        view_of: None,
        fetched_bytes: None,
        fetched_from: None,
    }
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
