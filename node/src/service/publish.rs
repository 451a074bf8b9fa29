//! Publishing: a PEFT folder becomes shards, a signed manifest, and an announcement.

use std::path::Path;

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::catalogue::Record;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::{AdapterInfo, Evaluation, Kind as ManifestKind, Manifest, Training};
use potluck_protocol::signed::{Authentic, Signable, Signed};
use potluck_protocol::text::{Name, RelPath};
use potluck_protocol::verify::{Complete, WellFormed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::inspect::{CONFIG_FILE, MODEL_FILE};
use super::note::{self, OfBase, RunRecord};
use super::of_base::Use;
use super::resolve::{FoundAdapter, KnownBase};
use super::{Call, Network, Service};
use crate::api::proto::Publish;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::temporary;
use crate::licence;
use crate::naming;
use crate::store::{Source, StoreError};
use crate::text::shell;
use crate::worker::proto::{AdapterSource, BaseSource, Measured, Task};

/// What the worker says of a folder that it has put into the portable profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Normalised {
    pub r: u32,
    pub target_modules: Vec<String>,
}

impl Service {
    pub(super) async fn publish(&self, call: &Call<'_>, publish: Publish) -> Outcome<Value> {
        let (name, licence) = (naming::own(&publish.name)?, licence::stated(&publish.licence)?);
        self.check_alone()?;
        let noted = note::read(&publish.folder)?;
        let (base, base_id) = self.base_for(call, &publish, noted.as_ref().map(|noted| &noted.of)).await?;
        let evaluations = self.evaluations(call, &base, &publish).await?;
        call.phase("checking the adapter against its base").await;
        let portable = temporary::folder(&self.home.layout().tmp(), temporary::Purpose::Publish);
        let portable = portable.map_err(|error| Failure::io("make a folder to publish from", &error))?;
        let out = portable.path().join("adapter");
        let task = Task::Normalise { base, folder: publish.folder.clone(), out: out.clone() };
        let normalised: Normalised = self.numerics(call, config::processors(), task).await?;

        let files = self.on_store(move |store| store.import_files(adapter_files(&out))).await?;
        let info = AdapterInfo {
            base: base_id,
            trained_on: base_id,
            r: normalised.r,
            target_modules: normalised.target_modules,
            parents: Vec::new(),
            training: noted.and_then(|noted| noted.run).map(training),
            evaluations,
        };
        let manifest = Manifest {
            kind: ManifestKind::Adapter(info),
            name: name.clone(),
            licence,
            description: publish.description,
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files,
        };
        let complete = self.signed_complete(&manifest).await?;
        let well_formed = self.inspect(complete).await?;
        self.offer(&well_formed).await
    }

    /// The figures of the adapter on each of the publisher's rows.
    async fn evaluations(&self, call: &Call<'_>, base: &BaseSource, publish: &Publish) -> Outcome<Vec<Evaluation>> {
        let mut evaluations = Vec::with_capacity(publish.evaluate.len());
        for (suite, data) in &publish.evaluate {
            let suite: Name = suite.parse().map_err(|error| Failure::new(Kind::Usage, error))?;
            call.phase(format!("measuring it on {suite}")).await;
            let adapters = vec![AdapterSource { folder: publish.folder.clone(), weight: 1.0 }];
            let task = Task::Eval { base: base.clone(), adapters, data: data.clone() };
            let measured: Measured = self.numerics(call, config::processors(), task).await?;
            evaluations.push(Evaluation {
                suite,
                samples: measured.samples,
                exact_match_ppm: (measured.exact_match.unwrap_or_default().clamp(0.0, 1.0) * 1e6).round() as u32,
                loss_micro: (measured.loss.max(0.0) * 1e6).round() as u64,
            });
        }
        Ok(evaluations)
    }

    /// A manifest of ours, signed, over files that were imported just now.
    pub(super) async fn signed_complete(&self, manifest: &Manifest) -> Outcome<Complete> {
        let signed = self.sign(manifest)?;
        let complete = self.on_store(move |store| {
            let mapped = store.map(signed)??;
            Ok::<_, StoreError>(mapped.complete(|shard| store.has_shard(shard))??)
        });
        complete.await
    }

    /// Keeps, names and announces what was just published; what the command answers.
    pub(super) async fn offer(&self, well_formed: &WellFormed) -> Outcome<Value> {
        let manifest = well_formed.manifest();
        let (id, body) = (manifest.id(), manifest.body());
        let named = body.name.clone();
        // Pinned: what a person published is theirs to remove, nobody else's.
        self.on_store(move |store| store.pin(id).and_then(|()| store.set_name(named, id))).await?;
        let announced = self.announce(manifest).await?;
        Ok(json!({
            "schema": "potluck.publish/1", "manifest": id, "name": body.name, "base": body.base(),
            "bytes": body.total_bytes(), "announced": announced,
        }))
    }

    /// The base that the person named, else the one that the run noted, which this home remembers by its place; both must
    /// be one if there are both. // I6
    async fn base_for(
        &self,
        call: &Call<'_>,
        publish: &Publish,
        noted: Option<&OfBase>,
    ) -> Outcome<(BaseSource, BaseId)> {
        let again = || {
            let (folder, name) = (shell(&publish.folder.to_string_lossy()), shell(&publish.name));
            format!("`potluck publish {folder} --name {name} --base PATH`")
        };
        let known = match (&publish.base, noted) {
            (Some(reference), _) => self.find_base(call, reference).await?,
            (None, Some(of)) => self.noted_base(of).map_err(|failure| {
                failure.hint(format!(
                    "say where it lies: {}; or fetch it from the swarm with `potluck base add {}`",
                    again(),
                    of.id
                ))
            })?,
            (None, None) => {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("{} does not say which base it is of", publish.folder.display()),
                )
                .hint(format!("name its base: {}", again())));
            }
        };
        let folder = FoundAdapter { folder: publish.folder.clone(), manifest: None };
        self.check_of(call, &folder, &known, Use::Make).await?;
        let id = self.base_id(call, &known).await?;
        Ok((known.source, id))
    }

    /// The base that a run noted, if it is known here and its files are where they were.
    fn noted_base(&self, of: &OfBase) -> Outcome<KnownBase> {
        let (name, id) = (&of.name, of.id.short());
        let known = self.base_of(&of.id).ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!("the base {name} ({id}) that this adapter is of is not known in this home"),
            )
        })?;
        match &known.source {
            BaseSource::Path(path) if !path.exists() => Err(Failure::new(
                Kind::NotFound,
                format!("the base {name} ({id}) that this adapter is of was at {}, and is gone", path.display()),
            )),
            _ => Ok(known),
        }
    }

    /// Tells the network of a well-formed manifest of ours; `false` if there is no network now. // I8
    pub(super) async fn announce(&self, manifest: &Authentic<Manifest>) -> Outcome<bool> {
        let Some(network) = &self.network else { return Ok(false) };
        if !self.store.is_well_formed(&manifest.id()) {
            return Err(StoreError::NotWellFormed(manifest.id()).into());
        }
        let Some(base) = manifest.body().base() else { return Ok(false) };
        self.check_alone()?;
        // A home that was restored from a copy has forgotten what it numbered since. The clock gives a number that no
        // earlier moment can have used, and what is heard of this key counts where the clock was put back.
        let known = network.handle.own_sequence().max(config::microseconds_since_1970());
        let sequence = self.on_store(move |store| store.next_sequence(known)).await?;
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
    pub(super) fn check_alone(&self) -> Outcome<()> {
        let Some(sign) = self.network.as_ref().and_then(|network| network.handle.twin()) else { return Ok(()) };
        Err(Failure::new(Kind::Conflict, format!("{sign}; while both run, nothing is published here")).hint(
            "stop one of the two and run the command again some minutes later; a copied home that is to stay needs a key of \
             its own: stop it, move its file `identity` away, and start it",
        ))
    }

    /// Announces what this node has published, when it comes to a network.
    pub async fn announce_own(&self) -> Outcome<()> {
        let own = self.identity.public();
        let summaries = self.on_store(|store| store.manifests()).await?;
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
        if self.store.is_well_formed(&id) {
            let complete = self.on_store(move |store| Self::complete(store, &id)).await?;
            // A base is gigabytes: that it is whole is looked at, what it means was when it was published.
            let manifest = match &complete.manifest().body().kind {
                ManifestKind::Base(_) => complete.manifest().clone(),
                _ => self.inspect(complete).await?.manifest().clone(),
            };
            match self.announced(&manifest) {
                Some((network, kept)) => network.handle.announce(kept).await?,
                None => drop(self.announce(&manifest).await?),
            }
        }
        Ok(())
    }

    /// Our own announcement of a manifest, as the network knows it.
    fn announced(&self, manifest: &Authentic<Manifest>) -> Option<(&Network, Authentic<Announcement>)> {
        let (network, base) = (self.network.as_ref()?, manifest.body().base()?);
        let (id, own) = (manifest.id(), self.identity.public());
        let ours = |one: &Record| one.body().manifest == id && one.body().publisher == own;
        let known = network.handle.announcements(base).into_iter().find(ours)?;
        Some((network, (*known).clone()))
    }

    pub(super) fn sign<T: Signable>(&self, body: &T) -> Outcome<Authentic<T>> {
        let wrong = |reason: String| Failure::new(Kind::Usage, reason);
        let signed = Signed::sign(body, self.identity.keypair()).map_err(|error| wrong(error.to_string()))?;
        let signed = signed.ok_or_else(|| wrong("another key would have to sign this".to_owned()))?;
        signed.verify().map_err(|error| wrong(error.to_string()))
    }
}

/// The two files of a folder in the portable profile.
fn adapter_files(folder: &Path) -> Vec<(RelPath, Source)> {
    [CONFIG_FILE, MODEL_FILE]
        .iter()
        .filter_map(|name| Some((RelPath::new(*name).ok()?, Source::Path(folder.join(name)))))
        .collect()
}

fn training(record: RunRecord) -> Training {
    Training {
        steps: record.steps,
        tokens: record.tokens,
        seed: record.seed,
        learning_rate_nano: (record.learning_rate * 1e9).round() as u64,
        data: record.data,
    }
}
