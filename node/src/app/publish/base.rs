//! Publishing a base: its files become shards, a signed manifest, and an announcement on its own topic.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_protocol::manifest::{BaseInfo, FileEntry, Kind as ManifestKind, Manifest};
use potluck_protocol::text::{Name, RelPath};
use potluck_protocol::verify::WellFormed;

use crate::api::answers::Published;
use crate::api::proto::PublishBase;
use crate::app::bases::files;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::known_bases::{changed, stamps};
use crate::app::publisher::Publisher;
use crate::app::resolver::Resolver;
use crate::app::worker::Worker;
use crate::failure::{Failure, Kind, Outcome};
use crate::identity::Identity;
use crate::store::{Source, StoreError};
use crate::worker::answers::Identified;
use crate::worker::proto::BaseSource;
use crate::{config, licence, naming};

/// Answers `potluck publish --base`.
#[derive(Clone)]
pub struct BasePublisher {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) publisher: Arc<Publisher>,
    pub(in crate::app) resolver: Arc<Resolver>,
}

impl BasePublisher {
    /// Cuts a base into shards, signs what they are, and announces it.
    pub async fn publish(&self, call: &Call<'_>, publish: PublishBase) -> Outcome<Published> {
        let (name, licence) = (naming::own(&publish.name)?, licence::stated(&publish.licence)?);
        let publish = PublishBase { licence, ..publish };
        self.publisher.check_alone()?;
        if publish.licence.is_empty() {
            return Err(Failure::new(
                Kind::Usage,
                "a base is published under the licence of its weights, and none is given",
            )
            .hint("give it with --licence, e.g. --licence Apache-2.0; the model's card names it"));
        }
        let known = self.resolver.find_base(call, &publish.base).await?;
        let BaseSource::Path(place) = known.source.clone() else {
            return Err(Failure::new(Kind::Usage, "`tiny` is inside this program: everybody has it")
                .hint("publish a folder of safetensors or a .gguf file: `potluck publish --base PATH --name NAME`"));
        };
        let files = files::here(&place)?;
        let total = files.iter().map(|(_, source)| len(source)).sum::<Outcome<u64>>()?;
        self.disk.check_room(total, "shards of the base").await?;
        let paths = paths(&place, &files);
        let before = stamps(&place, &paths)?;
        call.phase(format!("reading {} whole", place.display())).await;
        let Identified { base, shapes, .. } = self.worker.identify(call, &known.source).await?;
        if let Some(id) = known.id.filter(|id| *id != base) {
            return Err(changed(&known, id, base));
        }
        call.phase("cutting it into shards").await;
        let entries = self.disk.on_store(move |store| store.import_files(files)).await?;
        if stamps(&place, &paths)? != before {
            return Err(StoreError::Changed(place).into());
        }
        let info = BaseInfo { base, architecture: shapes, recipe: None };
        self.publisher.offer(&self.sign_base(name, publish, info, entries).await?).await
    }

    /// The signed manifest of a base whose files are in the store. What they mean is known: they have not changed since the
    /// worker read them.
    async fn sign_base(
        &self,
        name: Name,
        publish: PublishBase,
        info: BaseInfo,
        files: Vec<FileEntry>,
    ) -> Outcome<WellFormed> {
        let manifest = Manifest {
            kind: ManifestKind::Base(info),
            name,
            licence: publish.licence,
            description: publish.description,
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files,
        };
        files::check(&manifest).map_err(|(path, reason)| Failure::new(Kind::Usage, format!("{path}: {reason}")))?;
        let complete = self.publisher.sign_and_store(&manifest).await?;
        let sealed = self.disk.on_store(move |store| {
            let scans = store.scan(&complete, None)?;
            let well_formed = complete.inspect_scanned(&scans, |_| Ok(())).map_err(StoreError::from)?;
            store.commit_well_formed(&well_formed)?;
            Ok::<_, StoreError>(well_formed)
        });
        sealed.await
    }
}

fn len(source: &Source) -> Outcome<u64> {
    match source {
        Source::Bytes(bytes) => Ok(bytes.len() as u64),
        Source::Path(path) => std::fs::metadata(path)
            .map(|metadata| metadata.len())
            .map_err(|error| Failure::io(format!("look at {}", path.display()), &error)),
    }
}

/// Where the files are that the manifest will hold.
fn paths(place: &Path, files: &[(RelPath, Source)]) -> Vec<PathBuf> {
    let path = |(path, source): &(RelPath, Source)| match source {
        Source::Path(path) => path.clone(),
        Source::Bytes(_) => place.join(path.as_str()),
    };
    files.iter().map(path).collect()
}
