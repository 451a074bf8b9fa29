//! Publishing: a PEFT folder becomes shards, a signed manifest, and an announcement.

use std::path::Path;
use std::sync::Arc;

use potluck_protocol::id::BaseId;
use potluck_protocol::manifest::{AdapterInfo, Evaluation, Kind as ManifestKind, Manifest, Training};
use potluck_protocol::text::{Name, RelPath};
use potluck_trainer::peft::{CONFIG_FILE, MODEL_FILE};

use crate::api::answers::Published;
use crate::api::proto::Publish;
use crate::app::adapters::of_base::Use;
use crate::app::adapters::{Adapters, FoundAdapter};
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::known_bases::{KnownBase, KnownBases};
use crate::app::objects::Objects;
use crate::app::publisher::Publisher;
use crate::app::resolver::Resolver;
use crate::app::worker::Worker;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::temporary;
use crate::identity::Identity;
use crate::store::Source;
use crate::text::shell;
use crate::worker::answers::Normalised;
use crate::worker::note;
use crate::worker::note::{OfBase, RunRecord};
use crate::worker::proto::{AdapterSource, BaseSource, Measured, Task};
use crate::{config, licence, naming};

/// Answers `potluck publish` for an adapter.
#[derive(Clone)]
pub struct AdapterPublisher {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) publisher: Arc<Publisher>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) adapters: Arc<Adapters>,
    pub(in crate::app) resolver: Arc<Resolver>,
}

impl AdapterPublisher {
    /// Checks and measures an adapter, signs it, and announces it.
    pub async fn publish(&self, call: &Call<'_>, publish: Publish) -> Outcome<Published> {
        let (name, licence) = (naming::own(&publish.name)?, licence::stated(&publish.licence)?);
        self.publisher.check_alone()?;
        let noted = note::read(&publish.folder)?;
        let (base, base_id) = self.base_for(call, &publish, noted.as_ref().map(|noted| &noted.of)).await?;
        let evaluations = self.evaluations(call, &base, &publish).await?;
        call.phase("checking the adapter against its base").await;
        let portable = temporary::folder(&self.disk.home.layout().tmp(), temporary::Purpose::Publish);
        let portable = portable.map_err(|error| Failure::io("make a folder to publish from", &error))?;
        let out = portable.path().join("adapter");
        let task = Task::Normalise { base, of: base_id, folder: publish.folder.clone(), out: out.clone() };
        let normalised: Normalised = self.worker.compute(call, config::processors(), task).await?;

        let files = self.disk.on_store(move |store| store.import_files(adapter_files(&out))).await?;
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
        let complete = self.publisher.sign_and_store(&manifest).await?;
        let well_formed = self.objects.inspect(call, complete).await?;
        self.publisher.offer(&well_formed).await
    }

    /// The figures of the adapter on each of the publisher's rows.
    async fn evaluations(&self, call: &Call<'_>, base: &BaseSource, publish: &Publish) -> Outcome<Vec<Evaluation>> {
        let mut evaluations = Vec::with_capacity(publish.evaluate.len());
        for (suite, data) in &publish.evaluate {
            let suite: Name = suite.parse().map_err(|error| Failure::new(Kind::Usage, error))?;
            call.phase(format!("measuring it on {suite}")).await;
            let adapters = vec![AdapterSource { folder: publish.folder.clone(), weight: 1.0 }];
            let task = Task::Eval { base: base.clone(), adapters, data: data.clone() };
            let measured: Measured = self.worker.compute(call, config::processors(), task).await?;
            evaluations.push(Evaluation {
                suite,
                samples: measured.samples,
                exact_match_ppm: (measured.exact_match.unwrap_or_default().clamp(0.0, 1.0) * 1e6).round() as u32,
                loss_micro: (measured.loss.max(0.0) * 1e6).round() as u64,
            });
        }
        Ok(evaluations)
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
            (Some(reference), _) => self.resolver.find_base(call, reference).await?,
            (None, Some(of)) => self.find_noted_base(of).map_err(|failure| {
                failure.hint(format!(
                    "give its path: {}; or fetch it from peers with `potluck base add {}`",
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
        self.adapters.check_of(call, &folder, &known, Use::Make).await?;
        let id = self.bases.id(call, &known).await?;
        Ok((known.source, id))
    }

    /// The base that a run noted, if it is known here and its files are where they were.
    fn find_noted_base(&self, of: &OfBase) -> Outcome<KnownBase> {
        let (name, id) = (&of.name, of.id.short());
        let known = self.known.by_id(&of.id).ok_or_else(|| {
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
