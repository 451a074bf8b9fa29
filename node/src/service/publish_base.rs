//! Publishing a base: its files become shards, a signed manifest, and an announcement on its own topic.

use std::path::{Path, PathBuf};

use potluck_protocol::manifest::{BaseInfo, FileEntry, Kind as ManifestKind, Manifest};
use potluck_protocol::text::{Name, RelPath};
use potluck_protocol::verify::WellFormed;
use serde_json::Value;

use super::bases::{changed, stamps};
use super::inspect::architecture;
use super::{Call, Service, base_files};
use crate::api::proto::PublishBase;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::licence;
use crate::naming;
use crate::store::{Source, StoreError};
use crate::worker::proto::BaseSource;

impl Service {
    pub(super) async fn publish_base(&self, call: &Call<'_>, publish: PublishBase) -> Outcome<Value> {
        let (name, licence) = (naming::own(&publish.name)?, licence::stated(&publish.licence)?);
        let publish = PublishBase { licence, ..publish };
        self.check_alone()?;
        if publish.licence.is_empty() {
            return Err(Failure::new(
                Kind::Usage,
                "a base is published under the licence of its weights, and none is given",
            )
            .hint("give it with --licence, e.g. --licence Apache-2.0; the model's card names it"));
        }
        let known = self.find_base(call, &publish.base).await?;
        let BaseSource::Path(place) = known.source.clone() else {
            return Err(Failure::new(Kind::Usage, "`tiny` is inside this program: everybody has it")
                .hint("publish a folder of safetensors or a .gguf file: `potluck publish --base PATH --name NAME`"));
        };
        let files = base_files::here(&place)?;
        let total = files.iter().map(|(_, source)| len(source)).sum::<Outcome<u64>>()?;
        self.check_room(total, "shards of the base").await?;
        let paths = paths(&place, &files);
        let before = stamps(&place, &paths)?;
        call.phase(format!("reading {} whole", place.display())).await;
        let base = self.identify(call, &known.source).await?.base;
        if let Some(id) = known.id.filter(|id| *id != base) {
            return Err(changed(&known, id, base));
        }
        let shapes = self.on_store(move |_| architecture(&known)).await?;
        call.phase("cutting it into shards").await;
        let entries = self.on_store(move |store| store.import_files(files)).await?;
        if stamps(&place, &paths)? != before {
            return Err(StoreError::Changed(place).into());
        }
        let info = BaseInfo { base, architecture: shapes, recipe: None };
        self.offer(&self.sealed(name, publish, info, entries).await?).await
    }

    /// The signed manifest of a base whose files are in the store. What they mean is known: they have not changed since the
    /// worker read them.
    async fn sealed(
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
        base_files::check(&manifest)
            .map_err(|(path, reason)| Failure::new(Kind::Usage, format!("{path}: {reason}")))?;
        let complete = self.signed_complete(&manifest).await?;
        let sealed = self.on_store(move |store| {
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
