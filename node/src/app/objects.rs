//! Manifests with their shards: found, fetched, checked, and here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::{Complete, WellFormed};
use tokio::sync::watch;

use crate::api::answers::PulledFrom;
use crate::app::call::{Call, ChosenBy};
use crate::app::disk::Disk;
use crate::app::errors::ObjectError;
use crate::app::inspect::{check_adapter, check_stated, is_record};
use crate::app::known_bases::KnownBases;
use crate::app::network::Network;
use crate::app::shapes::Shapes;
use crate::app::unasked::Reservation;
use crate::exchange::{self, Options, PullError};
use crate::net;
use crate::store::StoreError;

/// How long somebody is looked for who has a base that a command names, in seconds.
pub const FIND_SECONDS: u64 = 60;

/// What is here or can be had from peers, by the id of its manifest.
#[derive(Clone)]
pub struct Objects {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) shapes: Shapes,
}

impl Objects {
    /// A manifest, from here or from a peer.
    pub async fn find_manifest(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        find: Duration,
    ) -> Result<Authentic<Manifest>, ObjectError> {
        match &self.network {
            Some(network) => {
                let options = Options { find, cancel: call.cancel.clone(), ..Options::default() };
                network.exchange.find(id, options).await.map_err(|error| ObjectError::Pull { error, relayed: 0 })
            }
            None => self.disk.manifest(id).await,
        }
    }

    /// A manifest with all that it names, from the network alone. Its phases count the finding too.
    pub async fn find_and_fetch(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        timeout: Duration,
    ) -> Result<exchange::Pulled, ObjectError> {
        if self.network.is_none() {
            return Err(ObjectError::OffNetwork(id));
        }
        let began = Instant::now();
        let manifest = self.find_manifest(call, id, timeout).await?;
        let found_seconds = began.elapsed().as_secs_f64();
        let mut pulled = self.fetch(call, manifest, timeout).await?;
        pulled.phases.found_seconds += found_seconds;
        Ok(pulled)
    }

    /// Fetches the shards of a manifest that was found from whoever has them, and reports how far it is. Nothing is
    /// inspected, and nothing is fetched of an adapter that states sizes which it cannot have, or for which there is no
    /// room, or no budget if nobody here has chosen it.
    pub async fn fetch(
        &self,
        call: &Call<'_>,
        manifest: Authentic<Manifest>,
        timeout: Duration,
    ) -> Result<exchange::Pulled, ObjectError> {
        let network = self.network.as_ref().ok_or_else(|| ObjectError::OffNetwork(manifest.id()))?;
        self.check_stated(call, manifest.body()).await?;
        let stated = manifest.body().total_bytes();
        // Once as shards, and once as the folder that is made of them. // I14
        let folder = if matches!(manifest.body().kind, ManifestKind::Dataset(_)) { 0 } else { stated };
        self.disk.check_room(stated.saturating_add(folder), "shards and files of what is fetched").await?;
        let reservation = match call.chosen_by {
            ChosenBy::Us => None,
            ChosenBy::Others => {
                let reserved = network.unasked.reserve(stated);
                Some(reserved.map_err(|over| ObjectError::OverBudget { needed: stated, over })?)
            }
        };
        self.pull(call, network, manifest, timeout, reservation).await
    }

    /// The pull itself. What comes is here, also of a pull that fails or is dropped.
    async fn pull(
        &self,
        call: &Call<'_>,
        network: &Network,
        manifest: Authentic<Manifest>,
        timeout: Duration,
        mut reservation: Option<Reservation<'_>>,
    ) -> Result<exchange::Pulled, ObjectError> {
        let (steps, mut seen) = watch::channel(exchange::Progress::default());
        let options =
            Options { patience: timeout, cancel: call.cancel.clone(), progress: Some(steps), ..Options::default() };
        let pulling = network.exchange.pull(manifest, options);
        tokio::pin!(pulling);
        let mut reporting = true;
        loop {
            tokio::select! {
                biased;
                pulled = &mut pulling => match pulled {
                    Ok(pulled) => {
                        reservation.iter_mut().for_each(|one| one.came(pulled.fetched_bytes));
                        return Ok(pulled);
                    }
                    Err(error) => {
                        let relayed = count_relayed(&error, &network.handle).await;
                        return Err(ObjectError::Pull { error, relayed });
                    }
                },
                changed = seen.changed(), if reporting => {
                    reporting = changed.is_ok();
                    let (done, total) = { let now = seen.borrow_and_update(); (now.bytes, now.bytes_total) };
                    reservation.iter_mut().for_each(|one| one.came(done));
                    call.count("fetched", done, total).await;
                }
            }
        }
    }

    /// What can be said of an adapter before it is here.
    async fn check_stated(&self, call: &Call<'_>, manifest: &Manifest) -> Result<(), ObjectError> {
        let ManifestKind::Adapter(adapter) = &manifest.kind else { return Ok(()) };
        let architecture = match self.known.shapes_of(adapter.base).await? {
            Some(base) => Some(self.shapes.of(call, &base).await?),
            None => None,
        };
        Ok(check_stated(manifest, architecture.as_ref()).map_err(StoreError::from)?)
    }

    /// Makes a manifest be here whole and checked; how many bytes came for it. // I8
    pub async fn ensure_present(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        patience: Duration,
    ) -> Result<u64, ObjectError> {
        let here = self.disk.complete(id).await;
        if here.is_ok() && self.disk.store.is_well_formed(&id) {
            return Ok(0);
        }
        let (complete, bytes) = match here {
            Ok(complete) => (complete, 0),
            Err(_) => {
                let manifest = self.find_manifest(call, id, patience).await?;
                let pulled = self.fetch(call, manifest, patience).await?;
                (pulled.complete, pulled.fetched_bytes)
            }
        };
        self.inspect(call, complete).await?;
        Ok(bytes)
    }

    /// Checks a manifest that is here whole against its base, and notes that it is well-formed. // I6, I8
    pub async fn inspect(&self, call: &Call<'_>, complete: Complete) -> Result<WellFormed, ObjectError> {
        let manifest = complete.manifest();
        if is_record(&manifest.body().kind) {
            return self.inspect_record(complete).await;
        }
        let base = match manifest.body().base() {
            Some(base) => self.known.shapes_of(base).await?,
            None => None,
        };
        let base = base.ok_or_else(|| ObjectError::unknown_base(manifest.body()))?;
        let architecture = self.shapes.of(call, &base).await?;
        self.disk
            .try_store(move |store| {
                let well_formed = check_adapter(store, complete, &architecture)?;
                store.commit_well_formed(&well_formed)?;
                Ok(well_formed)
            })
            .await
    }

    /// What says something about a channel: its files are what it says, and it fits nothing but its own lineage, which is
    /// looked at where it is used.
    pub async fn inspect_record(&self, complete: Complete) -> Result<WellFormed, ObjectError> {
        self.disk
            .try_store(move |store| {
                let scans = store.scan(&complete, None)?;
                let well_formed = complete.inspect_scanned(&scans, |_| Ok(()))?;
                store.commit_well_formed(&well_formed)?;
                Ok(well_formed)
            })
            .await
    }
}

/// How many of the peers that were asked for shards are reached through a relay only.
async fn count_relayed(error: &PullError, network: &net::Handle) -> usize {
    let PullError::Incomplete { asked, .. } = error else { return 0 };
    let peers = network.peers().await.unwrap_or_default();
    peers.iter().filter(|info| !info.direct && asked.contains(&info.peer)).count()
}

/// Who sent how much.
pub fn providers(pulled: &exchange::Pulled) -> Vec<PulledFrom> {
    pulled.fetched_from.iter().map(|(peer, bytes)| PulledFrom { peer: peer.to_string(), bytes: *bytes }).collect()
}
