//! Publishing a base: its files become shards, a signed manifest, and an announcement on its own topic.

use std::path::PathBuf;

use potluck_protocol::id::BaseId;
use potluck_protocol::manifest::{BaseInfo, Kind as ManifestKind, Manifest};
use potluck_protocol::text::{Name, RelPath};
use serde_json::Value;

use super::bases::stamps;
use super::inspect::architecture;
use super::{Call, Service, base_files};
use crate::api::proto::PublishBase;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{Source, StoreError};
use crate::worker::proto::BaseSource;

impl Service {
    pub(super) async fn publish_base(&self, call: &Call<'_>, publish: PublishBase) -> Outcome<Value> {
        let name: Name = publish.name.parse().map_err(|error| Failure::new(Kind::Usage, error))?;
        if publish.licence.trim().is_empty() {
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
        let before = stamps(&place, &paths(&place, &files))?;
        call.phase(format!("reading {} whole", place.display())).await;
        let base = self.checked_id(call, &known).await?;
        let shapes = self.on_store(move |_| architecture(&known)).await?;
        call.phase("cutting it into shards").await;
        let again = paths(&place, &files);
        let entries = self.on_store(move |store| store.import_files(files)).await?;
        if stamps(&place, &again)? != before {
            return Err(StoreError::Changed(place).into());
        }
        let info = BaseInfo { base, architecture: shapes, recipe: None };
        let manifest = Manifest {
            kind: ManifestKind::Base(info.clone()),
            name,
            licence: publish.licence,
            description: publish.description,
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files: entries,
        };
        base_files::check(&manifest)
            .map_err(|(path, reason)| Failure::new(Kind::Usage, format!("{path}: {reason}")))?;
        let complete = self.signed_complete(&manifest).await?;
        let well_formed = self.on_store(move |store| {
            let scans = store.scan(&complete, None)?;
            // What the files mean is known: they have not changed since the worker read them.
            let checked = complete.inspect_scanned(&scans, |_| Ok(())).map_err(StoreError::from)?;
            store.commit_well_formed(&checked)?;
            Ok::<_, StoreError>(checked)
        });
        self.offer(&well_formed.await?).await
    }

    /// The id of a base, read whole whatever is known of its files.
    async fn checked_id(&self, call: &Call<'_>, known: &super::resolve::KnownBase) -> Outcome<BaseId> {
        let found = self.identify(call, &known.source).await?.base;
        match known.id.filter(|id| *id != found) {
            Some(_) => self.base_id(call, known).await,
            None => Ok(found),
        }
    }

    /// Refuses what would fill the disk, before it is begun. // I14
    pub(super) async fn check_room(&self, bytes: u64, what: &str) -> Outcome<()> {
        let free = self.on_store(|store| store.free_bytes()).await?;
        if free >= bytes.saturating_add(RESERVE) {
            return Ok(());
        }
        let text = crate::text::bytes;
        let message = format!("{what}: {} are needed and {} are free", text(bytes), text(free));
        Err(Failure::new(Kind::NoSpace, message)
            .hint("free some space on the disk of the home folder, or use another one with `--home DIR`"))
    }
}

/// Left free beside what is written: room for the index, the log and other programs.
const RESERVE: u64 = 64 << 20;

fn len(source: &Source) -> Outcome<u64> {
    match source {
        Source::Bytes(bytes) => Ok(bytes.len() as u64),
        Source::Path(path) => std::fs::metadata(path)
            .map(|metadata| metadata.len())
            .map_err(|error| Failure::io(format!("look at {}", path.display()), &error)),
    }
}

/// Where the files are that the manifest will hold.
fn paths(place: &std::path::Path, files: &[(RelPath, Source)]) -> Vec<PathBuf> {
    let path = |(path, source): &(RelPath, Source)| match source {
        Source::Path(path) => path.clone(),
        Source::Bytes(_) => place.join(path.as_str()),
    };
    files.iter().map(path).collect()
}
