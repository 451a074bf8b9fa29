//! Signing as this node, and telling the network.

use std::sync::Arc;

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::catalogue::Record;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::{Authentic, Signable, Signed};
use potluck_protocol::text::Name;
use potluck_protocol::verify::{Complete, WellFormed};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::answers::Published;
use crate::app::call::{Call, ChosenBy};
use crate::app::disk::Disk;
use crate::app::inspect::is_record;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::identity::Identity;
use crate::store::StoreError;

/// Signs with the key of this node, and announces what it signed.
#[derive(Clone)]
pub struct Publisher {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) objects: Arc<Objects>,
}

impl Publisher {
    /// A body, signed by this node.
    pub fn sign<T: Signable>(&self, body: &T) -> Outcome<Authentic<T>> {
        let wrong = |reason: String| Failure::new(Kind::Usage, reason);
        let signed = Signed::sign(body, self.identity.keypair()).map_err(|error| wrong(error.to_string()))?;
        let signed = signed.ok_or_else(|| wrong("another key would have to sign this".to_owned()))?;
        signed.verify().map_err(|error| wrong(error.to_string()))
    }

    /// A manifest of ours, signed, over files that were imported just now.
    pub async fn sign_and_store(&self, manifest: &Manifest) -> Outcome<Complete> {
        let signed = self.sign(manifest)?;
        let complete = self.disk.on_store(move |store| {
            let mapped = store.map(signed)??;
            Ok::<_, StoreError>(mapped.complete(|shard| store.has_shard(shard))??)
        });
        complete.await
    }

    /// Keeps, names and announces what was just published; what the command answers.
    pub async fn offer(&self, well_formed: &WellFormed) -> Outcome<Published> {
        let manifest = well_formed.manifest();
        let (id, body) = (manifest.id(), manifest.body());
        let named = body.name.clone();
        // Pinned: what a person published is theirs to remove, nobody else's.
        self.disk.on_store(move |store| store.pin(id).and_then(|()| store.set_name(named, id))).await?;
        let announced = self.announce(manifest).await?;
        Ok(Published {
            manifest: id,
            name: body.name.to_string(),
            base: body.base(),
            bytes: body.total_bytes(),
            announced,
        })
    }

    /// Signs a record that says all in its body, keeps it, pinned, and announces it; `false` if nobody was told.
    pub async fn publish_record(
        &self,
        kind: ManifestKind,
        name: &Name,
        licence: &str,
        description: String,
    ) -> Outcome<(ManifestId, bool)> {
        self.check_alone()?;
        let manifest = Manifest {
            kind,
            name: name.clone(),
            licence: licence.to_owned(),
            description,
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files: Vec::new(),
        };
        let complete = self.sign_and_store(&manifest).await?;
        let well_formed = self.objects.inspect_record(complete).await?;
        let id = well_formed.manifest().id();
        self.disk.on_store(move |store| store.pin(id)).await?;
        Ok((id, self.announce(well_formed.manifest()).await?))
    }

    /// Tells the network of a well-formed manifest of ours; `false` if there is no network now. // I8
    pub async fn announce(&self, manifest: &Authentic<Manifest>) -> Outcome<bool> {
        let Some(network) = &self.network else { return Ok(false) };
        if !self.disk.store.is_well_formed(&manifest.id()) {
            return Err(StoreError::NotWellFormed(manifest.id()).into());
        }
        let Some(base) = manifest.body().base() else { return Ok(false) };
        self.check_alone()?;
        // A home that was restored from a copy has forgotten what it numbered since. The clock gives a number that no
        // earlier moment can have used, and what is heard of this key counts where the clock was put back.
        let known = network.handle.own_sequence().max(config::microseconds_since_1970());
        let sequence = self.disk.on_store(move |store| store.next_sequence(known)).await?;
        let announcement = Announcement {
            manifest: manifest.id(),
            manifest_len: manifest.signed().encode().map_err(StoreError::from)?.len() as u32,
            kind: KindTag::from(&manifest.body().kind),
            name: manifest.body().name.clone(),
            base,
            total_bytes: manifest.body().total_bytes(),
            publisher: self.identity.public(),
            sequence,
        };
        network.handle.subscribe(base).await?;
        network.handle.announce(self.sign(&announcement)?).await?;
        network.exchange.holds_more();
        Ok(true)
    }

    /// While another process may have this node's key, nothing is signed of which there may be only one.
    pub fn check_alone(&self) -> Outcome<()> {
        let Some(sign) = self.network.as_ref().and_then(|network| network.handle.twin()) else { return Ok(()) };
        Err(Failure::new(Kind::Conflict, format!("{sign}; while both run, this node publishes nothing")).hint(
            "stop one of the two and run the command again some minutes later; a copied home that is to stay needs a key of \
             its own: stop it, move its file `identity.key` away, and start it",
        ))
    }

    /// Announces what this node has published, when it comes to a network.
    pub async fn announce_own(&self) -> Outcome<()> {
        let own = self.identity.public();
        let summaries = self.disk.on_store(|store| store.manifests()).await?;
        for summary in summaries.into_iter().filter(|summary| summary.publisher == own) {
            // A damaged publication must not keep the daemon from starting: it says so, and serves the rest.
            if let Err(failure) = self.announce_again(summary.id).await {
                tracing::warn!("`{}` is not announced: {failure}", summary.name);
            }
        }
        Ok(())
    }

    /// With the announcement that is known already, if one is: a new one would have to travel to every catalogue.
    async fn announce_again(&self, id: ManifestId) -> Outcome<()> {
        if self.disk.store.is_well_formed(&id) {
            let complete = self.disk.complete(id).await?;
            // A base is gigabytes: that it is whole is looked at, what it means was when it was published.
            let manifest = match &complete.manifest().body().kind {
                ManifestKind::Base(_) => complete.manifest().clone(),
                kind if is_record(kind) => self.objects.inspect_record(complete).await?.manifest().clone(),
                _ => {
                    // Nobody is told how far it is.
                    let (progress, cancel) = (mpsc::channel(1).0, CancellationToken::new());
                    let call = Call { progress: &progress, cancel: &cancel, chosen_by: ChosenBy::Us };
                    self.objects.inspect(&call, complete).await?.manifest().clone()
                }
            };
            match self.known_announcement(&manifest) {
                Some((network, kept)) => network.handle.announce(kept).await?,
                None => drop(self.announce(&manifest).await?),
            }
        }
        Ok(())
    }

    /// Our own announcement of a manifest, as the network knows it.
    fn known_announcement(&self, manifest: &Authentic<Manifest>) -> Option<(&Network, Authentic<Announcement>)> {
        let (network, base) = (self.network.as_ref()?, manifest.body().base()?);
        let (id, own) = (manifest.id(), self.identity.public());
        let ours = |one: &Record| one.body().manifest == id && one.body().publisher == own;
        let known = network.handle.announcements(base).into_iter().find(ours)?;
        Some((network, (*known).clone()))
    }
}
