//! Pulling: what peers hold becomes a checked PEFT folder here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::Complete;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::inspect::{self, unknown_base};
use super::named::no_adapter;
use super::{Call, Service};
use crate::api::answers::{FetchedShards, Pulled, PulledFrom};
use crate::api::proto::Pull;
use crate::exchange::{self, Options, PullError};
use crate::failure::{Failure, Kind, Outcome};
use crate::net;
use crate::seconds::Seconds;
use crate::store::Note;

impl Service {
    pub(super) async fn pull(&self, call: &Call<'_>, pull: Pull) -> Outcome<Value> {
        let id = self.find_pullable(&pull.reference).await?.ok_or_else(|| unheard(&pull.reference))?;
        let patience = pull.timeout_seconds.duration();
        if self.network.is_none() && !self.is_whole(id).await? {
            return Err(off_network(id));
        }
        let manifest = self.found(call, id, patience).await?;
        match KindTag::from(&manifest.body().kind) {
            KindTag::Adapter => {}
            KindTag::Base => return self.pull_base(call, id, pull).await,
            other => return Err(no_adapter(&pull.reference, other)),
        }
        let apart = self.checked_apart(&manifest, &pull).await?;
        let (mut bytes, mut providers) = (0, Vec::new());
        if !self.is_whole(id).await? {
            // Once as shards and once as the folder.
            self.check_room(manifest.body().total_bytes().saturating_mul(2), "shards and files").await?;
            let fetched = self.fetch(call, id, patience).await?;
            (bytes, providers) = (fetched.fetched_bytes, from(&fetched));
        }
        let complete = self.on_store(move |store| Self::complete(store, &id)).await?;
        let folder = match &apart {
            Some((base, out)) => self.placed_apart(complete, *base, out).await?,
            None => {
                self.inspect(complete).await?;
                let note = manifest.body().base().map(|base| self.note_of(base)).transpose()?;
                self.placed(id, pull.out, note).await?
            }
        };
        Ok(json!(Pulled {
            base: None,
            manifest: id,
            name: manifest.body().name.to_string(),
            folder,
            fetched_bytes: bytes,
            fetched_from: providers,
            not_held_against: apart.map(|(base, _)| base),
        }))
    }

    /// Before a byte is fetched: whether the adapter's base is here to hold it against. If it is not, the person may want
    /// the folder all the same, for a program that has the base: the base, and where the folder goes.
    async fn checked_apart(&self, manifest: &Authentic<Manifest>, pull: &Pull) -> Outcome<Option<(BaseId, PathBuf)>> {
        let body = manifest.body();
        let Some(base) = body.base() else { return Ok(None) };
        if self.shapes_of(base).await?.is_some() {
            return Ok(None);
        }
        let Some(out) = pull.out.clone().filter(|_| pull.without_base) else {
            return Err(unknown_base(body).hint(format!(
                "add that base with `potluck base add PATH`, or from the swarm with `potluck base add {base}`, and pull it \
                 again; for a program that has the base, `potluck pull {} --without-base --out DIR` writes the PEFT folder, \
                 not held against it",
                manifest.id()
            )));
        };
        Ok(Some((base, out)))
    }

    /// The folder of an adapter whose base is not here: signed and whole, its two files fit each other and hold finite
    /// values. It is a person's folder, and stays what it is here: not well-formed, so neither announced nor run nor
    /// merged by its id. // I8
    async fn placed_apart(&self, complete: Complete, base: BaseId, out: &Path) -> Outcome<PathBuf> {
        let (target, note) = (out.to_path_buf(), self.note_of(base)?);
        self.on_store(move |store| {
            inspect::check_apart(store, &complete)?;
            Ok::<_, Failure>(store.export_apart(&complete, &target, &[note])?)
        })
        .await?;
        Ok(out.to_path_buf())
    }

    /// As a pull, but nothing is inspected or exported.
    pub(super) async fn fetch_only(&self, call: &Call<'_>, id: ManifestId, timeout_seconds: Seconds) -> Outcome<Value> {
        let fetched = self.fetch(call, id, timeout_seconds.duration()).await?;
        let answer = FetchedShards {
            fetched_bytes: fetched.fetched_bytes,
            fetched_from: from(&fetched),
            wasted_bytes: fetched.wasted_bytes,
            blamed: fetched.blamed.keys().map(|peer| peer.to_string()).collect(),
            phases: fetched.phases,
        };
        Ok(json!(answer))
    }

    /// A person who gives the id of a base's manifest asks for that base.
    async fn pull_base(&self, call: &Call<'_>, id: ManifestId, pull: Pull) -> Outcome<Value> {
        let patience = pull.timeout_seconds.duration();
        let fetched = self.base_by_manifest(call, id, None, None, patience).await?;
        let folder = match pull.out {
            Some(out) => self.placed(id, Some(out), None).await?,
            None => PathBuf::from(&fetched.record.path),
        };
        Ok(json!({
            "schema": "potluck.pull/1", "manifest": id, "name": fetched.record.name, "folder": folder,
            "fetched_bytes": fetched.bytes, "fetched_from": fetched.from, "base": fetched.record.id,
        }))
    }

    pub(super) async fn fetch(&self, call: &Call<'_>, id: ManifestId, timeout: Duration) -> Outcome<exchange::Pulled> {
        let network = self.network.as_ref().ok_or_else(|| off_network(id))?;
        let (steps, mut seen) = watch::channel(exchange::Progress::default());
        let options = Options {
            find: timeout,
            patience: timeout,
            cancel: call.cancel.clone(),
            progress: Some(steps),
            ..Options::default()
        };
        let pulling = network.exchange.pull(id, options);
        tokio::pin!(pulling);
        let mut reporting = true;
        loop {
            tokio::select! {
                biased;
                pulled = &mut pulling => match pulled {
                    Ok(pulled) => return Ok(pulled),
                    Err(error) => return Err(explained(error, &network.handle).await),
                },
                changed = seen.changed(), if reporting => {
                    reporting = changed.is_ok();
                    let (done, total) = { let now = seen.borrow_and_update(); (now.bytes, now.bytes_total) };
                    call.count("fetched", done, total).await;
                }
            }
        }
    }

    async fn is_whole(&self, id: ManifestId) -> Outcome<bool> {
        match self.on_store(move |store| Self::complete(store, &id)).await {
            Ok(_) => Ok(true),
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Verification) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The folder that was asked for, with a note in it, or the one inside the home, which has its own.
    async fn placed(&self, id: ManifestId, out: Option<PathBuf>, note: Option<Note<'static>>) -> Outcome<PathBuf> {
        let Some(out) = out else { return self.exported(id).await };
        let target = out.clone();
        self.on_store(move |store| store.export(&id, &target, note.as_slice())).await?;
        Ok(out)
    }
}

/// With the reason that the network knows, if a pull failed because relays carry no shards.
async fn explained(error: PullError, network: &net::Handle) -> Failure {
    let asked = match &error {
        PullError::Incomplete { asked, .. } => asked.clone(),
        _ => Vec::new(),
    };
    let failure = Failure::from(error);
    let peers = network.peers().await.unwrap_or_default();
    let relayed = peers.iter().filter(|info| !info.direct && asked.contains(&info.peer)).count();
    if relayed == 0 {
        return failure;
    }
    failure.hint(format!(
        "{relayed} of the peers asked are reached through a relay only, and a relay carries no shards; the pull goes on \
         from what is here once a node with an open port has the adapter too: run the same command again then"
    ))
}

/// Who sent how much.
pub(super) fn from(pulled: &exchange::Pulled) -> Vec<PulledFrom> {
    pulled.fetched_from.iter().map(|(peer, bytes)| PulledFrom { peer: peer.to_string(), bytes: *bytes }).collect()
}

fn off_network(id: ManifestId) -> Failure {
    Failure::new(Kind::Unreachable, format!("{} is not here, and this node is on no network", id.short()))
        .hint("run `potluck up --bootstrap ADDRESS` in another terminal")
}

fn unheard(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("nothing called `{reference}` is known here"))
        .hint("find it with `potluck search`; an id that this node has not heard of is given whole (64 hex digits), as its publisher got it from `potluck publish`")
}
