//! A base from the swarm, because a person asked for it by its id: found by what is announced of it, fetched, held against
//! its id, and known here from then on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::limits::NAME_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::text::Name;
use potluck_protocol::verify::Complete;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::base_check::{Staged, base_info, publishers_fault};
use super::bases::{shown, stamps};
use super::{Call, Network, Service, base_files, output};
use crate::api::answers::PulledFrom;
use crate::api::proto::BaseFetch;
use crate::exchange::Options;
use crate::failure::{Failure, Kind, Outcome};
use crate::naming;
use crate::seconds::Seconds;
use crate::store::{BaseRecord, StoreError};

/// Publications of one base that are tried: each wrong one may cost as much as the base.
const TRIED_MAX: usize = 4;

/// How long somebody is looked for who has a base that a command names, in seconds.
pub(super) const FIND_SECONDS: u64 = 60;

/// A base that was fetched.
pub(super) struct Fetched {
    pub record: BaseRecord,
    pub identified: super::Identified,
    pub bytes: u64,
    pub from: Vec<PulledFrom>,
}

impl Service {
    pub(super) async fn base_fetch(&self, call: &Call<'_>, fetch: BaseFetch) -> Outcome<Value> {
        let name = fetch.name.as_deref().map(naming::own).transpose()?;
        let id = match self.known_base(&fetch.base)?.and_then(|known| known.id) {
            Some(id) => id,
            None => self.heard_base(&fetch.base).await?.ok_or_else(|| unheard(&fetch.base))?,
        };
        if let Some(known) = self.base_of(&id) {
            call.phase(format!("base {} is here already, as `{}`", id.short(), known.name)).await;
            return self.base_show(call, &id.to_string()).await;
        }
        let fetched = self.base_from_swarm(call, id, name, fetch.timeout_seconds).await?;
        let mut answer = shown(fetched.record.name.as_str(), &fetched.record.path, &fetched.identified);
        answer["fetched_bytes"] = json!(fetched.bytes);
        answer["fetched_from"] = json!(fetched.from);
        Ok(answer)
    }

    /// Tries who announces the base, one after the other, until one publication gives its id.
    pub(super) async fn base_from_swarm(
        &self,
        call: &Call<'_>,
        id: BaseId,
        name: Option<Name>,
        seconds: Seconds,
    ) -> Outcome<Fetched> {
        let network = self.network.as_ref().ok_or_else(|| off_network(id))?;
        network.handle.subscribe(id).await?;
        call.phase(format!("looking for base {}", id.short())).await;
        let patience = seconds.duration();
        let (mut tried, mut failed) = (BTreeSet::new(), None);
        while tried.len() < TRIED_MAX {
            // Once one publication was wrong, the others that are known are tried and no more are waited for.
            let until = Instant::now() + if failed.is_some() { Duration::ZERO } else { patience };
            let Some(manifest) = next(call, network, id, &tried, until).await? else { break };
            tried.insert(manifest);
            match self.base_by_manifest(call, manifest, Some(id), name.clone(), patience).await {
                Err(failure) if is_theirs(failure.kind) => {
                    call.phase(format!("{}; looking for another", failure.message)).await;
                    failed.get_or_insert(failure);
                }
                other => return other,
            }
        }
        Err(failed.unwrap_or_else(|| nobody(id, seconds)))
    }

    /// The base of one manifest. `asked` is the base that it must be.
    pub(super) async fn base_by_manifest(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        asked: Option<BaseId>,
        name: Option<Name>,
        patience: Duration,
    ) -> Outcome<Fetched> {
        let manifest = self.found(call, id, patience).await?;
        let info = base_info(manifest.body())?;
        if let Some(asked) = asked.filter(|asked| *asked != info.base) {
            let reason = format!("it is announced for base {}, and is of base {}", asked.short(), info.base.short());
            return Err(publishers_fault(manifest.body(), (String::new(), reason)));
        }
        base_files::check(manifest.body()).map_err(|wrong| publishers_fault(manifest.body(), wrong))?;
        // Once as shards, to pass them on, and once as the files that a training run maps.
        self.check_room(manifest.body().total_bytes().saturating_mul(2), "shards and files of the base").await?;
        let whole = self.on_store(move |store| Self::complete(store, &id)).await;
        let (bytes, from, complete) = match whole {
            Ok(complete) => (0, Vec::new(), complete),
            Err(_) => {
                let pulled = self.fetch(call, id, patience).await?;
                (pulled.fetched_bytes, super::pull::from(&pulled), pulled.complete)
            }
        };
        let (record, identified) = self.install(call, complete, name).await?;
        Ok(Fetched { record, identified, bytes, from })
    }

    /// A manifest, from here or from a peer.
    pub(super) async fn found(&self, call: &Call<'_>, id: ManifestId, find: Duration) -> Outcome<Authentic<Manifest>> {
        match &self.network {
            Some(network) => {
                let options = Options { find, cancel: call.cancel.clone(), ..Options::default() };
                Ok(network.exchange.find(id, options).await?)
            }
            None => self.on_store(move |store| store.manifest(&id)?.ok_or(StoreError::NoManifest(id))).await,
        }
    }

    /// Judges a base that is here as shards, and makes it known.
    async fn install(
        &self,
        call: &Call<'_>,
        complete: Complete,
        name: Option<Name>,
    ) -> Outcome<(BaseRecord, super::Identified)> {
        let (well_formed, staged) = self.inspect_base(call, complete).await?;
        let (id, manifest) = (staged.identified.base, well_formed.manifest().clone());
        self.on_store(move |store| {
            store.commit_well_formed(&well_formed)?;
            store.pin(well_formed.manifest().id())
        })
        .await?;
        // Two commands that want the same base at once: the second finds it in its place.
        let _alone = self.settling.lock().await;
        if let Some(record) = self.store.base(&id).filter(super::bases::unchanged) {
            return Ok((record, staged.identified));
        }
        let name = name.unwrap_or_else(|| self.free_name(&manifest.body().name, id));
        let target = self.home.layout().bases().join(id.to_string());
        let identified = staged.identified.clone();
        let record = self.on_store(move |store| settle(staged, &target, name, store)).await?;
        if let Some(network) = &self.network {
            network.handle.subscribe(id).await?;
        }
        Ok((record, identified))
    }

    /// A name for a base that nobody here chose, unless it means something else already or reads as something else: nobody
    /// takes a name away.
    pub(super) fn free_name(&self, name: &Name, id: BaseId) -> Name {
        let taken = |name: &str| {
            let base = self.store.bases().iter().any(|base| base.name.as_str() == name && base.id != id);
            let channel = || self.store.channels().iter().any(|channel| channel.name.as_str() == name);
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

/// Moves the files to their place and notes the base.
pub(super) fn settle(staged: Staged, target: &Path, name: Name, store: &crate::store::Store) -> Outcome<BaseRecord> {
    let from = staged.folder.path().join("base");
    let moving = |error| Failure::io(format!("move the base to {}", target.display()), &error);
    // It may lie there already, whole: a process was killed before it noted the base. Else somebody has changed it.
    if !output::same(&from, target).unwrap_or(false) {
        output::make_room(target)?;
        std::fs::rename(&from, target).map_err(moving)?;
    }
    crate::store::durable::sync_parent(target)?;
    let place = target.join(&staged.inner);
    let file = |path: &String| target.join(Path::new(path).strip_prefix(&from).unwrap_or(Path::new(path)));
    let files: Vec<_> = staged.identified.files.iter().map(file).collect();
    // Joining an empty path leaves a separator at the end.
    let place = if staged.inner.as_os_str().is_empty() { target.to_path_buf() } else { place };
    let path = place.to_str().ok_or_else(|| Failure::new(Kind::Usage, "the home's path is not UTF-8"))?.to_owned();
    let files = stamps(&place, &files)?;
    let record = BaseRecord { id: staged.identified.base, name, path, files, view_of: None };
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
            heard = timeout_at(until, super::look::next_heard(&mut events)) => match heard {
                Ok(heard) => heard?,
                Err(_) => return Ok(None),
            },
        }
    }
}

/// Whether another publication may do better. What is our own trouble would be the same with it.
fn is_theirs(kind: Kind) -> bool {
    match kind {
        Kind::Failed | Kind::NotFound | Kind::Verification | Kind::Timeout | Kind::Incompatible => true,
        Kind::Usage | Kind::Unreachable | Kind::NoSpace | Kind::Denied | Kind::Conflict | Kind::Interrupted => false,
    }
}

pub(super) fn off_network(id: BaseId) -> Failure {
    Failure::new(Kind::Unreachable, format!("base {} is not here, and this node is on no network", id.short())).hint(
        format!("fetch it with `potluck base add {id} --bootstrap ADDRESS`, or run `potluck up` in another terminal"),
    )
}

fn unheard(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("no base whose id starts with {reference} was heard of"))
        .hint("give the whole id (64 hex digits); or see what was heard of with `potluck search --kind base`")
}

fn nobody(id: BaseId, seconds: Seconds) -> Failure {
    Failure::new(Kind::NotFound, format!("nobody announced the files of base {} within {seconds} s", id.short())).hint(
        "see who is connected with `potluck peers`; if it is a manifest's id, use `potluck pull ID`; or add the base from a folder, a .gguf file or the hub: `potluck base add PATH | OWNER/NAME`",
    )
}
