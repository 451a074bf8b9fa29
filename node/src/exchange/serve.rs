//! Answers the requests of other nodes from the store.
//!
//! One task a stream, one request at a time on it; what waits for the disk runs where waiting is allowed. A request
//! that finds no place is answered with `Busy`.

use std::sync::Arc;

use libp2p::PeerId;
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::catalogue::{Compare, Wanted};
use potluck_protocol::id::{BaseId, ManifestId, ShardId};
use potluck_protocol::limits::{ADDRESS_MAX, ADDRESSES_MAX, ANNOUNCEMENTS_MAX, DATA_MAX, PROVIDERS_MAX};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::limits::{BUSY_RETRY_MS, SEND_SHARD};
use super::{Exchange, lock};
use crate::net::{FrameError, Inbound, Misdeed};
use crate::store::StoreError;

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Our fault, not the peer's.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the peer did not take a shard within {} s", SEND_SHARD.as_secs())]
    TooSlow,
}

/// Serves every stream that comes, until the node stops or the network is gone.
pub async fn run(exchange: Exchange, mut inbound: mpsc::Receiver<Inbound>) {
    let stop = exchange.0.tasks.stop().clone();
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = inbound.recv() => stream,
        };
        let Some(stream) = stream else { return };
        let (one, stop) = (exchange.clone(), stop.clone());
        exchange.0.tasks.spawn("bulk stream", async move {
            // Stopping resets the streams: their peers ask others.
            let _ = stop.run_until_cancelled(one.serve(stream)).await;
        });
    }
}

impl Exchange {
    async fn serve(&self, mut stream: Inbound) {
        let peer = stream.peer();
        match self.answer_all(&mut stream).await {
            Ok(()) => drop(stream.close().await),
            Err(ServeError::Frame(error)) if error.is_fault() => {
                tracing::warn!(%peer, %error, "a peer sent requests that make no sense");
                self.blame(peer, Misdeed::Protocol);
            }
            Err(ServeError::Store(error)) => tracing::error!(%error, "the store cannot be read for a peer"),
            Err(error) => tracing::debug!(%peer, %error, "a bulk stream ended early"),
        }
    }

    async fn answer_all(&self, stream: &mut Inbound) -> Result<(), ServeError> {
        while let Some(request) = stream.receive().await? {
            match request {
                Request::Manifest(id) => stream.send(&self.manifest(stream.peer(), id).await?).await?,
                Request::Have(shards) => stream.send(&self.have(shards).await?).await?,
                Request::Shard(id) => self.shard(stream, id).await?,
                Request::Providers(id) => stream.send(&self.providers(stream.peer(), id).await).await?,
                Request::Announcements(base) => stream.send(&self.announcements(base)).await?,
                Request::Compare(compare) => stream.send(&self.compare(stream.peer(), &compare)).await?,
                Request::Cancel(_) => {}
                Request::Records(wanted) => stream.send(&self.records(stream.peer(), &wanted)).await?,
            }
        }
        Ok(())
    }

    async fn manifest(&self, asker: PeerId, id: ManifestId) -> Result<Reply, ServeError> {
        let Some(_place) = self.place() else { return Ok(busy()) };
        let Some(manifest) = self.blocking(move |store| store.manifest(&id)).await? else {
            return Ok(Reply::Refused(Refusal::NotFound));
        };
        // Who asks for it will have it soon.
        self.holders().note(id, asker);
        Ok(Reply::Manifest(manifest.signed().encode().map_err(StoreError::from)?))
    }

    async fn have(&self, shards: Vec<ShardId>) -> Result<Reply, ServeError> {
        let Some(_place) = self.place() else { return Ok(busy()) };
        let flags = self.blocking(move |store| shards.iter().map(|id| store.has_shard(id)).collect::<Result<_, _>>());
        Ok(Reply::Have(flags.await?))
    }

    /// Sends a shard in pieces. Its place is kept until it is sent, for so long it is in memory.
    async fn shard(&self, stream: &mut Inbound, id: ShardId) -> Result<(), ServeError> {
        let Some(_place) = self.place() else { return Ok(stream.send(&busy()).await?) };
        // Only what hashes to its name comes out of the store. // I8
        let Some(shard) = self.blocking(move |store| store.shard(&id)).await? else {
            return Ok(stream.send(&Reply::Refused(Refusal::NotFound)).await?);
        };
        let len = shard.bytes().len();
        let send = async {
            for (n, piece) in shard.bytes().chunks(DATA_MAX).enumerate() {
                let offset = (n * DATA_MAX) as u32;
                stream.send(&Reply::Shard { len: len as u32, offset, bytes: piece.to_vec() }).await?;
            }
            Ok(())
        };
        timeout(SEND_SHARD, send).await.unwrap_or(Err(ServeError::TooSlow))
    }

    async fn providers(&self, asker: PeerId, id: ManifestId) -> Reply {
        let mut peers = self.holders().of(&id);
        peers.extend(self.0.net.announcers(id));
        let mut providers: Vec<Provider> = Vec::new();
        for peer in peers {
            let bytes = peer.to_bytes();
            let new = peer != asker && peer != self.0.net.peer_id() && !providers.iter().any(|one| one.peer == bytes);
            if !new || providers.len() == PROVIDERS_MAX {
                continue;
            }
            let addresses = self.0.net.addresses(peer).await.unwrap_or_default();
            let addresses = addresses.iter().map(|address| address.to_vec());
            let addresses: Vec<_> = addresses.filter(|one| one.len() <= ADDRESS_MAX).take(ADDRESSES_MAX).collect();
            if !addresses.is_empty() {
                providers.push(Provider { peer: bytes, addresses });
            }
        }
        Reply::Providers(providers)
    }

    /// For nodes from before the catalogue.
    fn announcements(&self, base: BaseId) -> Reply {
        let known = self.0.net.announcements(base);
        let some = known.iter().take(ANNOUNCEMENTS_MAX);
        Reply::Announcements(some.filter_map(|one| one.signed().encode().ok()).collect())
    }

    fn compare(&self, asker: PeerId, compare: &Compare) -> Reply {
        if !self.may_ask(asker) {
            return busy();
        }
        let differing = self.0.net.known().with(|catalogue| catalogue.compare(compare));
        if !differing.0.is_empty() {
            // Full: the next comparison finds it.
            let _ = self.0.asked.try_send((asker, compare.base));
        }
        Reply::Differing(differing)
    }

    fn records(&self, asker: PeerId, wanted: &Wanted) -> Reply {
        if !self.may_ask(asker) {
            return busy();
        }
        Reply::Records(self.0.net.known().with(|catalogue| catalogue.answer(wanted)))
    }

    fn may_ask(&self, asker: PeerId) -> bool {
        lock(&self.0.questions).take(asker, self.now_ms())
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.serving).try_acquire_owned().ok()
    }
}

fn busy() -> Reply {
    Reply::Refused(Refusal::Busy { retry_ms: BUSY_RETRY_MS })
}
