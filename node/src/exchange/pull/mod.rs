//! Pulling what a manifest names: fetch its table shards, then its content shards, and make it visible. Before that,
//! `find` gets the manifest itself.

mod candidates;
mod dials;
mod provider;
mod session;
mod shard_writer;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::fetch::Fetch;
use potluck_protocol::id::{Digest, ManifestId, ShardId};
use potluck_protocol::limits::SHARD_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::shard::ShardRow;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::Complete;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Exchange, PullError};
use crate::store::StoreError;
use session::Session;

/// How a pull is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Peers that may have it, beside those that are connected or announced it.
    pub hints: Vec<PeerId>,
    /// How long to look for somebody who has the manifest.
    pub find: Duration,
    /// How long to go on without a single new shard.
    pub patience: Duration,
    /// How long all of it may take.
    pub deadline: Option<Duration>,
    /// Ends the pull; what has arrived is kept.
    pub cancel: CancellationToken,
    /// Told about every step; a slow listener sees the newest.
    pub progress: Option<watch::Sender<Progress>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hints: Vec::new(),
            find: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            deadline: None,
            cancel: CancellationToken::new(),
            progress: None,
        }
    }
}

/// How far a pull is. Counts what had to be fetched, not what was here before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Shards of this stage that have come.
    pub shards: usize,
    /// Shards that this stage has to fetch.
    pub shards_total: usize,
    /// Bytes of the shards that have come.
    pub bytes: u64,
    /// Bytes that this stage has to fetch.
    pub bytes_total: u64,
    /// Peers that have delivered something.
    pub providers: usize,
}

/// A pull that succeeded.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Everything is here and visible; its content has not been inspected.
    pub complete: Complete,
    /// Bytes of shards that came over the network and were kept.
    pub fetched_bytes: u64,
    /// The same by peer.
    pub fetched_from: BTreeMap<PeerId, u64>,
    /// Bytes of shards that were here already.
    pub had_bytes: u64,
    /// Bytes of good shards that came twice.
    pub wasted_bytes: u64,
    /// Peers that sent wrong bytes, with what was wrong.
    pub blamed: BTreeMap<PeerId, String>,
    /// Where the time went.
    pub phases: Phases,
}

/// Where the time of a pull went.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = PullPhases)]
pub struct Phases {
    /// Until the manifest's tables were here; finding the manifest is not part of a pull.
    pub found_seconds: f64,
    /// From then until every shard had come, was verified and written.
    pub content_seconds: f64,
    /// From then until all of it was durable and visible.
    pub durable_seconds: f64,
}

/// The manifest alone: of what it names nothing is fetched.
pub(super) async fn find(exchange: &Exchange, id: ManifestId, options: Options) -> Result<Found, PullError> {
    match exchange.blocking(move |store| store.manifest(&id)).await? {
        Some(manifest) => Ok(manifest),
        None => Session::new(exchange, id, options).await.find().await,
    }
}

/// Everything that `manifest` names, from whoever has it. The manifest itself is asked of nobody: it was found before.
pub(super) async fn run(exchange: &Exchange, manifest: Found, options: Options) -> Result<Pulled, PullError> {
    let (began, id) = (Instant::now(), manifest.id());
    // Nothing of it may be collected while it is incomplete. // I9
    let _pin = exchange.0.store.pin_temporarily(id);
    let mut session = Session::new(exchange, id, options).await;
    session.fetch(missing(exchange, id, table_shards(manifest.body())).await?).await?;
    let mapped = exchange.blocking(move |store| store.map(manifest)).await??;
    let shards: Vec<ShardRow> = mapped.shards().collect();
    let found = Instant::now();
    let written = session.fetch(missing(exchange, id, shards.clone()).await?).await?;
    let complete = exchange
        .blocking(move |store| {
            let complete = mapped.complete(|shard| store.has_shard(shard))??;
            store.commit(&complete)?;
            Ok::<_, StoreError>(complete)
        })
        .await?;
    let phases = Phases {
        found_seconds: (found - began).as_secs_f64(),
        content_seconds: (written - found).as_secs_f64(),
        durable_seconds: written.elapsed().as_secs_f64(),
    };
    Ok(session.finish(complete, distinct_bytes(&shards), phases))
}

/// The shards of all shard tables.
fn table_shards(manifest: &Manifest) -> Vec<ShardRow> {
    let pieces = manifest.files.iter().flat_map(|file| {
        let last = file.table_len as usize % SHARD_MAX;
        file.table.iter().enumerate().map(move |(n, id)| {
            let is_last = n + 1 == file.table.len();
            let len = if is_last && last > 0 { last } else { SHARD_MAX };
            ShardRow { id: *id, len: len as u32 }
        })
    });
    pieces.collect()
}

/// What the store does not have: nothing else is ever fetched.
async fn missing(exchange: &Exchange, id: ManifestId, shards: Vec<ShardRow>) -> Result<Fetch, PullError> {
    let missing = exchange.blocking(move |store| {
        let mut missing = Vec::new();
        for row in shards {
            if !store.has_shard(&row.id)? {
                missing.push(row);
            }
        }
        Ok::<_, StoreError>(missing)
    });
    Ok(Fetch::new(missing.await?, seed(exchange.0.net.peer_id(), id)))
}

/// Another one for each node and manifest, so that downloaders that begin together begin with different shards.
fn seed(us: PeerId, id: ManifestId) -> u64 {
    let digest = Digest::of(&[us.to_bytes().as_slice(), &id.0.0].concat()).0;
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn distinct_bytes(shards: &[ShardRow]) -> u64 {
    let mut seen: HashSet<ShardId> = HashSet::new();
    shards.iter().filter(|row| seen.insert(row.id)).map(|row| u64::from(row.len)).sum()
}

/// A manifest that the store has or a peer gave us, its signatures checked.
type Found = Authentic<Manifest>;
