//! Pulling: what peers hold becomes a checked PEFT folder here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::Complete;

use crate::api::answers::{FetchedShards, Pulled};
use crate::api::proto::Pull;
use crate::app::adapters::Adapters;
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::errors::ObjectError;
use crate::app::inspect::check_apart;
use crate::app::known_bases::KnownBases;
use crate::app::network::Network;
use crate::app::objects::{self, Objects};
use crate::app::reference::{Names, no_adapter};
use crate::failure::{Failure, Kind, Outcome};
use crate::seconds::Seconds;
use crate::store::Note;

/// Answers `potluck pull`.
#[derive(Clone)]
pub struct Puller {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) adapters: Arc<Adapters>,
}

impl Puller {
    /// Fetches an adapter or a base, checks it, and gives the folder that it is in.
    pub async fn pull(&self, call: &Call<'_>, pull: Pull) -> Outcome<Pulled> {
        let id = self.names.find_pullable(&pull.reference).await?.ok_or_else(|| unheard(&pull.reference))?;
        let patience = pull.timeout_seconds.duration();
        if self.network.is_none() && !self.disk.is_whole(id).await? {
            return Err(ObjectError::OffNetwork(id).into());
        }
        let manifest = self.objects.find_manifest(call, id, patience).await?;
        match KindTag::from(&manifest.body().kind) {
            KindTag::Adapter => {}
            KindTag::Base => return self.pull_base(call, id, pull).await,
            other => return Err(no_adapter(&pull.reference, other)),
        }
        let apart = self.check_base_here(&manifest, &pull).await?;
        let (mut bytes, mut providers) = (0, Vec::new());
        if !self.disk.is_whole(id).await? {
            let fetched = self.objects.fetch(call, manifest.clone(), patience).await?;
            (bytes, providers) = (fetched.fetched_bytes, objects::providers(&fetched));
        }
        let complete = self.disk.complete(id).await?;
        let folder = match &apart {
            Some((base, out)) => self.write_unchecked(complete, *base, out).await?,
            None => {
                self.objects.inspect(call, complete).await?;
                let note = manifest.body().base().map(|base| self.adapters.note_of(base)).transpose()?;
                self.write_folder(id, pull.out, note).await?
            }
        };
        Ok(Pulled {
            base: None,
            manifest: id,
            name: manifest.body().name.to_string(),
            folder,
            fetched_bytes: bytes,
            fetched_from: providers,
            not_held_against: apart.map(|(base, _)| base),
        })
    }

    /// Before a byte is fetched: whether the adapter's base is here to hold it against. If it is not, the person may want
    /// the folder all the same, for a program that has the base: the base, and where the folder goes.
    async fn check_base_here(&self, manifest: &Authentic<Manifest>, pull: &Pull) -> Outcome<Option<(BaseId, PathBuf)>> {
        let body = manifest.body();
        let Some(base) = body.base() else { return Ok(None) };
        if self.known.shapes_of(base).await?.is_some() {
            return Ok(None);
        }
        let Some(out) = pull.out.clone().filter(|_| pull.without_base) else {
            return Err(Failure::from(ObjectError::unknown_base(body)).hint(format!(
                "add that base with `potluck base add PATH`, or from peers with `potluck base add {base}`, and pull it \
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
    async fn write_unchecked(&self, complete: Complete, base: BaseId, out: &Path) -> Outcome<PathBuf> {
        let (target, note) = (out.to_path_buf(), self.adapters.note_of(base)?);
        self.disk
            .on_store(move |store| {
                check_apart(store, &complete)?;
                store.export_apart(&complete, &target, &[note])
            })
            .await?;
        Ok(out.to_path_buf())
    }

    /// As a pull, but nothing is inspected or exported.
    pub async fn fetch_only(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        timeout_seconds: Seconds,
    ) -> Outcome<FetchedShards> {
        let fetched = self.objects.find_and_fetch(call, id, timeout_seconds.duration()).await?;
        Ok(FetchedShards {
            fetched_bytes: fetched.fetched_bytes,
            fetched_from: objects::providers(&fetched),
            wasted_bytes: fetched.wasted_bytes,
            blamed: fetched.blamed.keys().map(|peer| peer.to_string()).collect(),
            phases: fetched.phases,
        })
    }

    /// A person who gives the id of a base's manifest asks for that base.
    async fn pull_base(&self, call: &Call<'_>, id: ManifestId, pull: Pull) -> Outcome<Pulled> {
        let patience = pull.timeout_seconds.duration();
        let fetched = self.bases.fetch_publication(call, id, None, None, patience).await?;
        let folder = match pull.out {
            Some(out) => self.write_folder(id, Some(out), None).await?,
            None => PathBuf::from(&fetched.record.path),
        };
        Ok(Pulled {
            manifest: id,
            name: fetched.record.name.to_string(),
            folder,
            fetched_bytes: fetched.bytes,
            fetched_from: fetched.from,
            base: Some(fetched.record.id),
            not_held_against: None,
        })
    }

    /// The folder that was asked for, with a note in it, or the one inside the home, which has its own.
    async fn write_folder(
        &self,
        id: ManifestId,
        out: Option<PathBuf>,
        note: Option<Note<'static>>,
    ) -> Outcome<PathBuf> {
        let Some(out) = out else { return self.adapters.export(id).await };
        let target = out.clone();
        self.disk.on_store(move |store| store.export(&id, &target, note.as_slice())).await?;
        Ok(out)
    }
}

fn unheard(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("nothing called `{reference}` is known here"))
        .hint("find it with `potluck search`; an id that is not known here must be given in full (64 hex digits), as `potluck publish` printed it")
}
