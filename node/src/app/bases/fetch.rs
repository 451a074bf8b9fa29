//! A base from the swarm, because a person asked for it by its id: found by what is announced of it, fetched, held against
//! its id, and known here from then on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::text::Name;
use potluck_protocol::verify::Complete;
use tokio::time::{Instant, timeout_at};

use crate::api::answers::{Base, PulledFrom};
use crate::api::proto::BaseFetch;
use crate::app::bases::check::{Staged, base_info, publishers_fault};
use crate::app::bases::{Bases, describe, files};
use crate::app::call::Call;
use crate::app::errors::BaseError;
use crate::app::known_bases::{stamps, unchanged};
use crate::app::network::{Network, next_heard};
use crate::app::objects::providers;
use crate::app::shapes::noted;
use crate::failure::{Failure, Kind, Outcome};
use crate::seconds::Seconds;
use crate::store::BaseRecord;
use crate::worker::answers::Identified;
use crate::{naming, out_folder};

/// Publications of one base that are tried: each wrong one may cost as much as the base.
const TRIED_MAX: usize = 4;

/// A base that was fetched.
pub struct Fetched {
    pub record: BaseRecord,
    pub identified: Identified,
    pub bytes: u64,
    pub from: Vec<PulledFrom>,
}

impl Bases {
    /// Answers `potluck base add ID`.
    pub async fn fetch(&self, call: &Call<'_>, fetch: BaseFetch) -> Outcome<Base> {
        let name = fetch.name.as_deref().map(naming::own).transpose()?;
        let id = match self.names.known_base(&fetch.base)?.and_then(|known| known.id) {
            Some(id) => id,
            None => self.names.heard_base(&fetch.base).await?.ok_or_else(|| unheard(&fetch.base))?,
        };
        if let Some(known) = self.known.by_id(&id) {
            call.phase(format!("base {} is here already, as `{}`", id.short(), known.name)).await;
            return self.describe_known(call, &known).await;
        }
        let fetched = self.fetch_by_id(call, id, name, fetch.timeout_seconds).await?;
        let base = describe(fetched.record.name.as_str(), &fetched.record.path, fetched.identified);
        Ok(Base { fetched_bytes: Some(fetched.bytes), fetched_from: Some(fetched.from), ..base })
    }

    /// Tries who announces the base, one after the other, until one publication gives its id.
    pub async fn fetch_by_id(
        &self,
        call: &Call<'_>,
        id: BaseId,
        name: Option<Name>,
        seconds: Seconds,
    ) -> Result<Fetched, BaseError> {
        let network = self.network.as_ref().ok_or(BaseError::OffNetwork(id))?;
        network.handle.subscribe(id).await?;
        call.phase(format!("looking for base {}", id.short())).await;
        let patience = seconds.duration();
        let (mut tried, mut failed) = (BTreeSet::new(), None);
        while tried.len() < TRIED_MAX {
            // Once one publication was wrong, the others that are known are tried and no more are waited for.
            let until = Instant::now() + if failed.is_some() { Duration::ZERO } else { patience };
            let Some(manifest) = next(call, network, id, &tried, until).await? else { break };
            tried.insert(manifest);
            match self.fetch_publication(call, manifest, Some(id), name.clone(), patience).await {
                Err(error) if error.is_theirs() => {
                    call.phase(format!("{error}; looking for another")).await;
                    failed.get_or_insert(error);
                }
                other => return other,
            }
        }
        Err(failed.unwrap_or_else(|| nobody(id, seconds).into()))
    }

    /// The base of one manifest. `asked` is the base that it must be.
    pub async fn fetch_publication(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        asked: Option<BaseId>,
        name: Option<Name>,
        patience: Duration,
    ) -> Result<Fetched, BaseError> {
        let manifest = self.objects.find_manifest(call, id, patience).await?;
        let info = base_info(manifest.body())?;
        if let Some(asked) = asked.filter(|asked| *asked != info.base) {
            let reason = format!("it is announced for base {}, and is of base {}", asked.short(), info.base.short());
            return Err(publishers_fault(manifest.body(), (String::new(), reason)));
        }
        files::check(manifest.body()).map_err(|wrong| publishers_fault(manifest.body(), wrong))?;
        let whole = self.disk.complete(id).await;
        let (bytes, from, complete) = match whole {
            Ok(complete) => {
                self.disk.check_room(manifest.body().total_bytes(), "the files of the base").await?;
                (0, Vec::new(), complete)
            }
            Err(_) => {
                let pulled = self.objects.fetch(call, manifest, patience).await?;
                (pulled.fetched_bytes, providers(&pulled), pulled.complete)
            }
        };
        let (record, identified) = self.install(call, complete, name).await?;
        Ok(Fetched { record, identified, bytes, from })
    }

    /// Judges a base that is here as shards, and makes it known.
    async fn install(
        &self,
        call: &Call<'_>,
        complete: Complete,
        name: Option<Name>,
    ) -> Result<(BaseRecord, Identified), BaseError> {
        let (well_formed, staged) = self.inspect(call, complete).await?;
        let (id, manifest) = (staged.identified.base, well_formed.manifest().clone());
        self.disk
            .on_store(move |store| {
                store.commit_well_formed(&well_formed)?;
                store.pin(well_formed.manifest().id())
            })
            .await?;
        let name = || name.unwrap_or_else(|| self.free_name(&manifest.body().name, id));
        let identified = staged.identified.clone();
        let record = self.settle(staged, name).await?;
        if let Some(network) = &self.network {
            network.handle.subscribe(id).await?;
        }
        Ok((record, identified))
    }

    /// Puts a base in its place in the home, and notes it under a name. Two commands that want the same base at once: the
    /// second finds it in its place.
    pub async fn settle(&self, staged: Staged, name: impl FnOnce() -> Name) -> Outcome<BaseRecord> {
        let _alone = self.settling.lock().await;
        let id = staged.identified.base;
        if let Some(record) = self.disk.store.base(&id).filter(unchanged) {
            return Ok(record);
        }
        let (target, name) = (self.disk.home.layout().bases().join(id.to_string()), name());
        self.disk.on_store(move |store| settle(staged, &target, name, store)).await
    }
}

/// Moves the files to their place and notes the base.
fn settle(staged: Staged, target: &Path, name: Name, store: &crate::store::Store) -> Outcome<BaseRecord> {
    let from = staged.folder.path().join("base");
    let moving = |error| Failure::io(format!("move the base to {}", target.display()), &error);
    // It may lie there already, whole: a process was killed before it noted the base. Else somebody has changed it.
    if out_folder::same(&from, target).unwrap_or(false) {
        potluck_trainer::files::sync_parent(target).map_err(moving)?;
    } else {
        out_folder::make_room(target)?;
        potluck_trainer::files::rename(&from, target).map_err(moving)?;
    }
    let place = target.join(&staged.inner);
    let file = |path: &String| target.join(Path::new(path).strip_prefix(&from).unwrap_or(Path::new(path)));
    let files: Vec<_> = staged.identified.files.iter().map(file).collect();
    // Joining an empty path leaves a separator at the end.
    let place = if staged.inner.as_os_str().is_empty() { target.to_path_buf() } else { place };
    let path = place.to_str().ok_or_else(|| Failure::new(Kind::Usage, "the home's path is not UTF-8"))?.to_owned();
    let files = stamps(&place, &files)?;
    let record = BaseRecord { id: staged.identified.base, name, path, files, view_of: None };
    store.set_shapes(noted(&staged.identified))?;
    store.add_base(record.clone())?;
    Ok(record)
}

/// The next publication of the base: the smallest first, so that a liar costs no more than the truth. `None` if none
/// is heard of in time.
async fn next(
    call: &Call<'_>,
    network: &Network,
    base: BaseId,
    tried: &BTreeSet<ManifestId>,
    until: Instant,
) -> Outcome<Option<ManifestId>> {
    // Listening first: what is heard before the look at the catalogue is in it.
    let mut events = network.handle.events();
    loop {
        let announced = network.handle.announcements(base);
        let bases = announced.iter().map(|record| record.body()).filter(|body| body.kind == KindTag::Base);
        let untried = bases.filter(|body| !tried.contains(&body.manifest));
        if let Some(next) = untried.min_by_key(|body| (body.total_bytes, body.manifest)) {
            return Ok(Some(next.manifest));
        }
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(Failure::interrupted()),
            heard = timeout_at(until, next_heard(&mut events)) => match heard {
                Ok(heard) => heard?,
                Err(_) => return Ok(None),
            },
        }
    }
}

fn unheard(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("no known base has an id that starts with {reference}"))
        .hint("give the full id (64 hex digits), or list known bases with `potluck search --kind base`")
}

fn nobody(id: BaseId, seconds: Seconds) -> Failure {
    Failure::new(Kind::NotFound, format!("nobody announced the files of base {} within {seconds} s", id.short())).hint(
        "see who is connected with `potluck peers`; if it is a manifest's id, use `potluck pull ID`; or add the base from a folder, a .gguf file or the hub: `potluck base add PATH | OWNER/NAME`",
    )
}
