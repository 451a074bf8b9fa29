//! A version of a channel as a base: its adapters live on genesis or a view of it, or folded once into a folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::{ChannelInfo, Lineage, Release, VersionInfo};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::limits::{NAME_MAX, VERSIONS_MAX};
use potluck_protocol::manifest::Kind as ManifestKind;
use potluck_protocol::text::Name;

use super::base_check::Staged;
use super::base_fetch::{FIND_SECONDS, settle};
use super::channel::FORKS_MAX;
use super::inspect::architecture;
use super::named::one;
use super::resolve::KnownBase;
use super::{Call, Folded, Service};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::temporary;
use crate::worker::proto::{AdapterSource, BaseSource};

/// How long the parts of a version are looked for that a command names.
const PATIENCE: Duration = Duration::from_secs(FIND_SECONDS);

impl Service {
    /// What a channel's name or id, a version's id, or the id of its weights as a base means: the channel up to there. Of
    /// a channel that is what is in force here.
    pub(super) async fn find_version(&self, reference: &str) -> Outcome<Option<Lineage>> {
        if let Some(channel) = self.known_channel(reference)? {
            return self.lineage_in_force(&channel).await.map(Some);
        }
        let versions = self.stored_versions().await?;
        let by_id = versions.iter().map(|(id, version)| ("", id.to_string(), (*id, version.channel)));
        let found = match one(reference, by_id)? {
            Some(found) => Some(found),
            // The same weights may be several versions'; any of them will do.
            None => {
                let by_base =
                    versions.iter().map(|(id, version)| ("", version.base.to_string(), (*id, version.channel)));
                one(reference, by_base)?
            }
        };
        match found {
            Some((id, channel)) => self.lineage(channel, Some(id)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Every version whose records are here and checked.
    async fn stored_versions(&self) -> Outcome<Vec<(ManifestId, Box<VersionInfo>)>> {
        self.on_store(|store| {
            let ids = store.manifests()?.into_iter().filter(|one| one.kind == KindTag::Version).map(|one| one.id);
            let mut versions = Vec::new();
            for id in ids.filter(|id| store.is_well_formed(id)) {
                if let Some(manifest) = store.manifest(&id)?
                    && let ManifestKind::Version(version) = &manifest.body().kind
                {
                    versions.push((id, version.clone()));
                }
            }
            Ok::<_, crate::store::StoreError>(versions)
        })
        .await
    }

    /// A base here with the shapes of `base`: itself, a view of it, or what the version of that id is folded from. // I6
    pub(super) async fn shapes_of(&self, base: BaseId) -> Outcome<Option<KnownBase>> {
        let mut base = base;
        let mut versions = None;
        for _ in 0..=FORKS_MAX {
            if let Some(known) = self.base_of(&base).or_else(|| self.view_of(&base)) {
                return Ok(Some(known));
            }
            let all = match versions.take() {
                Some(all) => all,
                None => self.stored_versions().await?,
            };
            let of = all.iter().find(|(_, version)| version.base == base).map(|(_, version)| version.recipe.parent);
            versions = Some(all);
            match of {
                Some(genesis) => base = genesis,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A base here that was noted as a view of this one, e.g. a quantised file of it.
    pub(super) fn view_of(&self, base: &BaseId) -> Option<KnownBase> {
        let record = self.store.bases().into_iter().find(|record| record.view_of == Some(*base))?;
        let source = BaseSource::Path(PathBuf::from(&record.path));
        Some(KnownBase { name: record.name.to_string(), id: Some(record.id), source })
    }

    /// Genesis of a channel, a view of it, or nothing that fits and so an error that says what to add. A fork's may have to
    /// be made first.
    pub(super) async fn shapes(&self, call: &Call<'_>, spec: &ChannelInfo) -> Outcome<KnownBase> {
        match self.shapes_of(spec.genesis).await? {
            Some(known) => Ok(known),
            None => self.genesis(call, spec).await,
        }
    }

    /// Genesis itself. That of a fork is made from the version that it names, if it is not here.
    pub(super) async fn genesis(&self, call: &Call<'_>, spec: &ChannelInfo) -> Outcome<KnownBase> {
        self.genesis_within(call, spec, FORKS_MAX).await
    }

    async fn genesis_within(&self, call: &Call<'_>, spec: &ChannelInfo, forks: usize) -> Outcome<KnownBase> {
        if let Some(known) = self.base_of(&spec.genesis) {
            return Ok(known);
        }
        let Some(version) = spec.forked_from.filter(|_| forks > 0) else { return Err(no_genesis(spec)) };
        call.phase(format!("the channel is a fork: looking for version {}", version.short())).await;
        let lineage = self.lineage_of(call, version).await?;
        if lineage.head().is_none_or(|head| head.version.base != spec.genesis) {
            let message =
                format!("version {} is not base {}, which the fork begins with", version.short(), spec.genesis);
            return Err(Failure::new(Kind::Verification, message).hint("tell the fork's steward"));
        }
        // Forks of forks: each is one call deeper.
        Box::pin(self.folder_within(call, &lineage, forks - 1)).await
    }

    /// The chain up to a version, from the network where it is not here.
    pub(super) async fn lineage_of(&self, call: &Call<'_>, version: ManifestId) -> Outcome<Lineage> {
        let (mut next, mut channel) = (Some(version), None);
        for _ in 0..VERSIONS_MAX {
            let Some(id) = next else { break };
            self.kept(call, id, PATIENCE).await?;
            let manifest = self.found(call, id, PATIENCE).await?;
            let ManifestKind::Version(version) = &manifest.body().kind else {
                return Err(Failure::new(Kind::Usage, format!("{} is no version of a channel", id.short())));
            };
            (next, channel) = (version.previous, Some(version.channel));
        }
        let channel = channel.ok_or_else(|| Failure::new(Kind::NotFound, "no version was named"))?;
        self.kept(call, channel, PATIENCE).await?;
        self.lineage(channel, Some(version)).await
    }

    /// A version live: what it is folded from, or a view of that, and its adapters. Nothing is folded.
    pub(super) async fn stacked(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
    ) -> Outcome<(BaseSource, Vec<AdapterSource>)> {
        let base = self.shapes(call, lineage.spec()).await?;
        self.kept_adapters(call, lineage, PATIENCE).await?;
        let mut adapters = Vec::with_capacity(lineage.inputs().len());
        for (adapter, weight) in lineage.inputs() {
            adapters.push(AdapterSource { folder: self.exported(*adapter).await?, weight: weight.get() as f32 });
        }
        Ok((base.source, adapters))
    }

    /// A version as a folder of its own, folded if it is not here yet; it is a base of this node from then on.
    pub(super) async fn version_folder(&self, call: &Call<'_>, lineage: &Lineage) -> Outcome<KnownBase> {
        self.folder_within(call, lineage, FORKS_MAX).await
    }

    async fn folder_within(&self, call: &Call<'_>, lineage: &Lineage, forks: usize) -> Outcome<KnownBase> {
        let Some(head) = lineage.head() else { return self.genesis_within(call, lineage.spec(), forks).await };
        if let Some(known) = self.base_of(&head.version.base) {
            return Ok(known);
        }
        let genesis = self.genesis_within(call, lineage.spec(), forks).await?;
        self.kept_adapters(call, lineage, PATIENCE).await?;
        let folder = temporary::folder(&self.home.layout().tmp(), temporary::Purpose::Version);
        let folder = folder.map_err(|error| Failure::io("make a folder to fold in", &error))?;
        let out = folder.path().join("base");
        self.folded_to(call, &genesis, head, &out).await?;
        let identified = self.identify(call, &BaseSource::Path(out)).await?;
        // Two commands that want the same version at once: the second finds it in its place.
        let _alone = self.settling.lock().await;
        if let Some(known) = self.base_of(&head.version.base) {
            return Ok(known);
        }
        let name = self.version_name(lineage.name(), head);
        let target = self.home.layout().bases().join(identified.base.to_string());
        let staged = Staged { folder, inner: PathBuf::new(), identified };
        let record = self.on_store(move |store| settle(staged, &target, name, store)).await?;
        let source = BaseSource::Path(PathBuf::from(&record.path));
        Ok(KnownBase { name: record.name.to_string(), id: Some(record.id), source })
    }

    /// Folds a version into a folder that is not known to anybody yet. It is what the version states, or an error. // I10
    pub(super) async fn folded_to(
        &self,
        call: &Call<'_>,
        genesis: &KnownBase,
        head: &Release,
        out: &Path,
    ) -> Outcome<()> {
        let version = &head.version;
        self.base_id(call, genesis).await?;
        let known = genesis.clone();
        let shapes = self.on_store(move |_| architecture(&known)).await?;
        let values: u64 = shapes.tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
        // At most: a version's type may be half as wide.
        self.check_room(values.saturating_mul(4), "the folded version").await?;
        call.phase(format!("folding version {} into {}", version.height, genesis.name)).await;
        let folded = self.rebuild(call, genesis, &version.recipe, Some(out), config::processors()).await?;
        same(head, &folded)
    }

    /// `CHANNEL-vN`, or with the start of its id if that is taken.
    fn version_name(&self, channel: &Name, head: &Release) -> Name {
        let taken = |name: &Name| self.store.bases().iter().any(|base| base.name == *name);
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
pub(super) fn same(head: &Release, folded: &Folded) -> Outcome<()> {
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
    Failure::new(Kind::NotFound, format!("the channel's genesis, base {}, is not known here", spec.genesis)).hint(format!(
        "add it with `potluck base add PATH`, or from the swarm with `potluck base add {}`; a quantised file of it is \
         enough to use versions: `potluck base add FILE.gguf --view-of {0}`",
        spec.genesis
    ))
}
