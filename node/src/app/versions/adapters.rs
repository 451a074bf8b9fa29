//! The adapters of a version: fetched, checked, and if one is gone, said which and where it was last seen.

use std::time::Duration;

use potluck_protocol::announce::Announcement;
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};

use crate::app::call::Call;
use crate::app::versions::Versions;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::peers::Remembered;

/// Of those that announced it, so many are named: anybody may have.
const ANNOUNCERS_SHOWN: usize = 8;

/// An adapter that nobody handed out whole.
struct Gone {
    id: ManifestId,
    /// Its name and publisher, as far as they are known.
    known: Option<(String, String)>,
    last_seen: String,
}

impl Versions {
    /// Makes every adapter of the lineage's last version be here, whole and checked; how many bytes came.
    pub async fn ensure_adapters(&self, call: &Call<'_>, lineage: &Lineage, patience: Duration) -> Outcome<u64> {
        let (mut bytes, mut gone) = (0, Vec::new());
        let height = lineage.head().map_or(0, |head| head.version.height);
        for (n, (adapter, _)) in lineage.inputs().iter().enumerate() {
            call.phase(format!("adapter {} of {} of version {height}", n + 1, lineage.inputs().len())).await;
            match self.objects.ensure_present(call, *adapter, patience).await {
                Ok(came) => bytes += came,
                Err(error) if error.is_missing() => gone.push(self.describe_gone(*adapter).await?),
                Err(error) => return Err(Failure::from(error).context(format!("adapter {}", adapter.short()))),
            }
        }
        if !gone.is_empty() {
            return Err(gone_failure(lineage, &gone));
        }
        self.check_lineage(lineage).await?;
        Ok(bytes)
    }

    /// An adapter goes into a version only if it is for genesis or for a version of the same channel. // I6
    async fn check_lineage(&self, lineage: &Lineage) -> Outcome<()> {
        for (adapter, _) in lineage.inputs() {
            let id = *adapter;
            let manifest = self.disk.on_store(move |store| store.manifest(&id)).await?;
            let own = manifest.as_ref().and_then(|manifest| match &manifest.body().kind {
                ManifestKind::Adapter(adapter) => Some(adapter.base),
                _ => None,
            });
            if own.is_some_and(|own| lineage.is_of(&own)) {
                continue;
            }
            let own = own.map_or_else(|| "no adapter".to_owned(), |own| format!("for base {}", own.short()));
            let height = lineage.head().map_or(0, |head| head.version.height);
            return Err(Failure::new(
                Kind::Incompatible,
                format!(
                    "version {height} of `{}` takes {}, which is {own}: neither genesis nor a version of this channel",
                    lineage.name(),
                    id.short()
                ),
            )
            .hint("the version before stays in force; tell its steward, or fork from that version"));
        }
        Ok(())
    }

    async fn describe_gone(&self, id: ManifestId) -> Outcome<Gone> {
        let here = self.disk.on_store(move |store| store.manifest(&id)).await?;
        // The network's own catalogue while there is one: the store notes later what it heard.
        let all: Vec<Announcement> = match &self.network {
            Some(network) => network.handle.every_announcement().iter().map(|record| record.body().clone()).collect(),
            None => self.disk.heard().await?,
        };
        let heard = all.into_iter().find(|heard| heard.manifest == id);
        let of = |manifest: &Manifest| (manifest.name.to_string(), manifest.publisher.0.short());
        let known = here
            .map(|manifest| of(manifest.body()))
            .or_else(|| heard.map(|heard| (heard.name.to_string(), heard.publisher.0.short())));
        Ok(Gone { id, known, last_seen: self.last_seen(id).await })
    }

    /// Who had it or said so, and when they were last connected.
    async fn last_seen(&self, id: ManifestId) -> String {
        let Some(network) = &self.network else { return "this node is on no network".to_owned() };
        let now = config::seconds_since_1970();
        let remembered = Remembered::open(&self.disk.home.layout().peers(), network.name.clone(), now);
        let connected = network.handle.peers().await.unwrap_or_default();
        let mut peers = network.handle.announcers(id);
        peers.truncate(ANNOUNCERS_SHOWN);
        peers.extend(network.exchange.holders_of(&id));
        peers.sort();
        peers.dedup();
        let seen = peers.iter().map(|peer| {
            let when = if connected.iter().any(|info| info.peer == *peer) {
                "connected now".to_owned()
            } else {
                let ago = remembered.seen(peer).map(|seen| now.saturating_sub(seen));
                ago.map_or_else(|| "not connected since long".to_owned(), |ago| format!("connected {} ago", span(ago)))
            };
            format!("{peer}, {when}")
        });
        let seen: Vec<_> = seen.collect();
        if seen.is_empty() { "at no peer that this node has met".to_owned() } else { seen.join("; ") }
    }
}

fn gone_failure(lineage: &Lineage, gone: &[Gone]) -> Failure {
    let height = lineage.head().map_or(0, |head| head.version.height);
    let lines = gone.iter().map(|gone| {
        let known = gone.known.as_ref().map(|(name, publisher)| format!("`{name}` by {publisher}, "));
        format!("{}{} (last seen: {})", known.unwrap_or_default(), gone.id, gone.last_seen)
    });
    let lines: Vec<_> = lines.collect();
    let (count, what) = (gone.len(), if gone.len() == 1 { "adapter is" } else { "adapters are" });
    Failure::new(
        Kind::NotFound,
        format!(
            "version {height} of `{}` cannot be rebuilt, {count} {what} gone: {}; the version before stays in force",
            lineage.name(),
            lines.join("; ")
        ),
    )
    .hint("whoever has it can serve it again with `potluck up`; then `potluck channel update CHANNEL`")
}

/// For people.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
