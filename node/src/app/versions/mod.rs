//! A version of a channel as a base: its adapters live on genesis or a view of it, or folded once into a folder.

mod adapters;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::channel::{ChannelInfo, VersionInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::limits::{NAME_MAX, VERSIONS_MAX};
use potluck_protocol::lineage::{Lineage, VersionEntry};
use potluck_protocol::manifest::Kind as ManifestKind;
use potluck_protocol::text::Name;

use crate::app::adapters::Adapters;
use crate::app::bases::Bases;
use crate::app::bases::check::Staged;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::errors::BaseError;
use crate::app::fold::Folds;
use crate::app::known_bases::{KnownBase, KnownBases};
use crate::app::lineages::{FORKS_MAX, Lineages};
use crate::app::network::Network;
use crate::app::objects::{FIND_SECONDS, Objects};
use crate::app::worker::Worker;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::temporary;
use crate::worker::answers::Folded;
use crate::worker::proto::{AdapterSource, BaseSource};

/// How long the parts of a version are looked for that a command names.
const PATIENCE: Duration = Duration::from_secs(FIND_SECONDS);

/// Makes the versions of channels usable.
#[derive(Clone)]
pub struct Versions {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) adapters: Arc<Adapters>,
    pub(in crate::app) folds: Arc<Folds>,
}

impl Versions {
    /// Genesis of a channel, a view of it, or nothing that fits and so an error that says what to add. A fork's may have to
    /// be made first.
    pub async fn shapes(&self, call: &Call<'_>, spec: &ChannelInfo) -> Result<KnownBase, BaseError> {
        match self.known.shapes_of(spec.genesis).await? {
            Some(known) => Ok(known),
            None => self.genesis(call, spec).await,
        }
    }

    /// Genesis itself. That of a fork is made from the version that it names, if it is not here.
    pub async fn genesis(&self, call: &Call<'_>, spec: &ChannelInfo) -> Result<KnownBase, BaseError> {
        self.genesis_within(call, spec, FORKS_MAX).await
    }

    async fn genesis_within(&self, call: &Call<'_>, spec: &ChannelInfo, forks: usize) -> Result<KnownBase, BaseError> {
        if let Some(known) = self.known.by_id(&spec.genesis) {
            return Ok(known);
        }
        let Some(version) = spec.forked_from.filter(|_| forks > 0) else { return Err(no_genesis(spec).into()) };
        call.phase(format!("the channel is a fork: looking for version {}", version.short())).await;
        let lineage = self.fetch_lineage(call, version).await?;
        if lineage.head().is_none_or(|head| head.version.base != spec.genesis) {
            let message =
                format!("version {} is not base {}, which the fork begins with", version.short(), spec.genesis);
            return Err(Failure::new(Kind::Verification, message).hint("tell the fork's steward").into());
        }
        // Forks of forks: each is one call deeper.
        Box::pin(self.folder_within(call, &lineage, forks - 1)).await
    }

    /// The chain up to a version, from the network where it is not here.
    pub async fn fetch_lineage(&self, call: &Call<'_>, version: ManifestId) -> Result<Lineage, BaseError> {
        let (mut next, mut channel) = (Some(version), None);
        for _ in 0..VERSIONS_MAX {
            let Some(id) = next else { break };
            self.objects.ensure_present(call, id, PATIENCE).await?;
            let manifest = self.objects.find_manifest(call, id, PATIENCE).await?;
            let ManifestKind::Version(version) = &manifest.body().kind else {
                return Err(Failure::new(Kind::Usage, format!("{} is no version of a channel", id.short())).into());
            };
            (next, channel) = (version.previous, Some(version.channel));
        }
        let channel = channel.ok_or_else(|| Failure::new(Kind::NotFound, "no version was named"))?;
        self.objects.ensure_present(call, channel, PATIENCE).await?;
        Ok(self.lineages.read(channel, Some(version)).await?)
    }

    /// A version live: what it is folded from, or a view of that, and its adapters. Nothing is folded.
    pub async fn stack(&self, call: &Call<'_>, lineage: &Lineage) -> Outcome<(BaseSource, Vec<AdapterSource>)> {
        let base = self.shapes(call, lineage.spec()).await?;
        self.ensure_adapters(call, lineage, PATIENCE).await?;
        let mut adapters = Vec::with_capacity(lineage.inputs().len());
        for (adapter, weight) in lineage.inputs() {
            adapters.push(AdapterSource { folder: self.adapters.export(*adapter).await?, weight: weight.get() as f32 });
        }
        Ok((base.source, adapters))
    }

    /// A version as a folder of its own, folded if it is not here yet; it is a base of this node from then on.
    pub async fn folder(&self, call: &Call<'_>, lineage: &Lineage) -> Result<KnownBase, BaseError> {
        self.folder_within(call, lineage, FORKS_MAX).await
    }

    async fn folder_within(&self, call: &Call<'_>, lineage: &Lineage, forks: usize) -> Result<KnownBase, BaseError> {
        let Some(head) = lineage.head() else { return self.genesis_within(call, lineage.spec(), forks).await };
        if let Some(known) = self.known.by_id(&head.version.base) {
            return Ok(known);
        }
        let genesis = self.genesis_within(call, lineage.spec(), forks).await?;
        self.ensure_adapters(call, lineage, PATIENCE).await?;
        let folder = temporary::folder(&self.disk.home.layout().tmp(), temporary::Purpose::Version);
        let folder = folder.map_err(|error| Failure::io("make a folder to fold in", &error))?;
        let out = folder.path().join("base");
        self.fold_into(call, &genesis, head, &out).await?;
        let identified = self.worker.identify(call, &BaseSource::Path(out)).await?;
        let staged = Staged { folder, inner: PathBuf::new(), identified };
        let record = self.bases.settle(staged, || self.version_name(lineage.name(), head)).await?;
        let source = BaseSource::Path(PathBuf::from(&record.path));
        Ok(KnownBase { name: record.name.to_string(), id: Some(record.id), source })
    }

    /// Folds a version into a folder that is not known to anybody yet. It is what the version states, or an error. // I10
    pub async fn fold_into(
        &self,
        call: &Call<'_>,
        genesis: &KnownBase,
        head: &VersionEntry,
        out: &Path,
    ) -> Outcome<()> {
        let version = &head.version;
        self.bases.id(call, genesis).await?;
        let shapes = self.objects.shapes.of(call, genesis).await?;
        let values: u64 = shapes.tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
        // At most: a version's type may be half as wide.
        self.disk.check_room(values.saturating_mul(4), "the folded version").await?;
        call.phase(format!("folding version {} into {}", version.height, genesis.name)).await;
        let folded = self.folds.fold(call, genesis, &version.recipe, Some(out), config::processors()).await?;
        same(head, &folded)
    }

    /// What the version's recipe gives on this machine.
    pub async fn refold(&self, call: &Call<'_>, lineage: &Lineage, version: &VersionInfo) -> Outcome<Folded> {
        let genesis = self.genesis(call, lineage.spec()).await?;
        self.bases.id(call, &genesis).await?;
        let count = version.recipe.inputs().len();
        call.phase(format!("folding version {} from genesis, {count} adapters", version.height)).await;
        let folded = self.folds.fold(call, &genesis, &version.recipe, None, config::processors()).await?;
        let (recipe, digest) = (version.recipe.clone(), folded.digest);
        self.disk.on_store(move |store| store.put_recipe(&recipe).and_then(|id| store.set_folded(id, digest))).await?;
        Ok(folded)
    }

    /// `CHANNEL-vN`, or with the start of its id if that is taken.
    fn version_name(&self, channel: &Name, head: &VersionEntry) -> Name {
        let taken = |name: &Name| self.disk.store.bases().iter().any(|base| base.name == *name);
        let end = format!("-v{}", head.version.height);
        let named = |end: String| {
            let kept: String = channel.as_str().chars().take(NAME_MAX - end.len()).collect();
            format!("{kept}{end}").parse::<Name>().unwrap_or_else(|_| channel.clone())
        };
        let name = named(end.clone());
        if taken(&name) { named(format!("{end}-{}", head.version.base.short())) } else { name }
    }
}

/// The weights are those that the version's steward signed.
pub fn same(head: &VersionEntry, folded: &Folded) -> Outcome<()> {
    let version = &head.version;
    let wrong = if folded.digest != version.digest {
        format!("digest {}, it states {}", folded.digest, version.digest)
    } else if folded.base != version.base {
        format!("base {}, it states {}", folded.base, version.base)
    } else {
        return Ok(());
    };
    Err(Failure::new(
        Kind::Verification,
        format!(
            "version {} ({}) is not what it states: folding it here gives {wrong}",
            version.height,
            head.id.short()
        ),
    )
    .hint("do not use it; `potluck channel follow CHANNEL --audit` checks every version so and tells other followers"))
}

fn no_genesis(spec: &ChannelInfo) -> Failure {
    Failure::new(Kind::NotFound, format!("the channel's genesis, base {}, is not known here", spec.genesis)).hint(
        format!(
            "add it with `potluck base add PATH`, or from peers with `potluck base add {}`; a quantised file of it is \
         enough to use versions: `potluck base add FILE.gguf --view-of {0}`",
            spec.genesis
        ),
    )
}
