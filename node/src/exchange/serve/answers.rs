//! What is answered to each request.

use std::collections::BTreeSet;
use std::sync::Arc;

use libp2p::PeerId;
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::catalogue::{Compare, Wanted};
use potluck_protocol::codec::Heard;
use potluck_protocol::id::{BaseId, ManifestId, ShardId};
use potluck_protocol::limits::{ADDRESS_MAX, ADDRESSES_MAX, OWN_SHARD_MIN, PROVIDERS_MAX};
use tokio::sync::OwnedSemaphorePermit;

use super::super::limits::BUSY_RETRY_MS;
use super::super::uploads::Uploader;
use super::super::{Exchange, lock};
use super::asked::Pending;
use super::{Answer, ServeError};
use crate::net::discovery::Named;
use crate::store::StoreError;

impl Exchange {
    pub(super) async fn answer(
        &self,
        uploader: &Uploader,
        relayed: bool,
        pending: &Pending,
    ) -> Result<Answer, ServeError> {
        let asker = uploader.peer();
        if pending.is_called_back() {
            return Ok(Answer::Whole(Reply::Refused(Refusal::Cancelled)));
        }
        let request = match &pending.request {
            Heard::Known(request) => request,
            // A later version asks for what this one cannot have.
            Heard::Later(_) => return Ok(Answer::Whole(Reply::Refused(Refusal::NotFound))),
        };
        let reply = match request {
            // Whoever relays pays for it: nobody who follows the protocol asks.
            Request::Shard(_) if relayed => Reply::Refused(Refusal::NotFound),
            Request::Shard(id) => return self.shard(uploader, *id).await,
            Request::Manifest(id) => self.manifest(asker, *id).await?,
            Request::Have(shards) => self.have(shards.clone()).await?,
            Request::Providers(id) => self.providers(asker, *id).await,
            Request::Announcements(base) => self.announcements(*base),
            Request::Compare(compare) => self.compare(asker, compare),
            Request::Records(wanted) => self.records(wanted),
            Request::Peers => self.peers_for(asker).await,
            // Taken out of the line where requests are read.
            Request::Cancel(_) => Reply::Refused(Refusal::Cancelled),
        };
        Ok(Answer::Whole(reply))
    }

    async fn manifest(&self, asker: PeerId, id: ManifestId) -> Result<Reply, ServeError> {
        let Ok(_place) = self.0.asking.try_acquire() else { return Ok(busy()) };
        let Some(manifest) = self.blocking(move |store| store.manifest(&id)).await? else {
            return Ok(Reply::Refused(Refusal::NotFound));
        };
        // Who asks for it may have it soon: something to tell others, and no reason to ask it ourselves.
        self.holders().note_asker(id, asker);
        Ok(Reply::Manifest(manifest.signed().encode().map_err(StoreError::from)?))
    }

    async fn have(&self, shards: Vec<ShardId>) -> Result<Reply, ServeError> {
        let Ok(_place) = self.0.asking.try_acquire() else { return Ok(busy()) };
        let flags = self.blocking(move |store| shards.iter().map(|id| store.has_shard(id)).collect::<Result<_, _>>());
        Ok(Reply::Have(flags.await?))
    }

    async fn shard(&self, uploader: &Uploader, id: ShardId) -> Result<Answer, ServeError> {
        let (Some(its), Some(place)) = (uploader.place(), self.place()) else { return Ok(Answer::Whole(busy())) };
        // Only what hashes to its name comes out of the store. // I8
        Ok(match self.blocking(move |store| store.shard(&id)).await? {
            Some(shard) => {
                if shard.bytes().len() >= OWN_SHARD_MIN {
                    lock(&self.0.turns).give_back_shard(uploader.asker());
                }
                Answer::Shard(shard, [its, place])
            }
            None => Answer::Whole(Reply::Refused(Refusal::NotFound)),
        })
    }

    async fn providers(&self, asker: PeerId, id: ManifestId) -> Reply {
        let mut peers = self.holders().of(&id);
        peers.extend(self.0.net.announcers(id));
        peers.extend(self.holders().askers(&id));
        let mut seen = BTreeSet::from([asker, self.0.net.peer_id()]);
        peers.retain(|peer| seen.insert(*peer));
        let named = self.0.net.addresses_for(asker, peers).await.unwrap_or_default();
        Reply::Providers(named.into_iter().filter_map(provider).take(PROVIDERS_MAX).collect())
    }

    /// What we stand behind: it has places of its own in others' catalogues, and is what a search sees of a base that
    /// its node does not follow.
    fn announcements(&self, base: BaseId) -> Reply {
        let records = self.0.net.known().with(|catalogue| catalogue.stood_behind(base));
        Reply::Announcements(records.iter().filter_map(|one| one.signed().encode().ok()).collect())
    }

    fn compare(&self, asker: PeerId, compare: &Compare) -> Reply {
        let differing = self.0.net.known().with(|catalogue| catalogue.compare(compare));
        if !differing.0.is_empty() {
            // Full: the next comparison finds it.
            let _ = self.0.asked.try_send((asker, compare.base));
        }
        Reply::Differing(differing)
    }

    fn records(&self, wanted: &Wanted) -> Reply {
        Reply::Records(self.0.net.known().with(|catalogue| catalogue.answer(wanted)))
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.0.serving).try_acquire_owned();
        place.inspect_err(|_| self.0.stalls.make_room()).ok()
    }
}

/// As it is said; `None` if no address of it can be.
fn provider((peer, addresses): Named) -> Option<Provider> {
    let addresses = addresses.iter().map(|address| address.to_vec());
    let addresses: Vec<_> = addresses.filter(|one| one.len() <= ADDRESS_MAX).take(ADDRESSES_MAX).collect();
    (!addresses.is_empty()).then(|| Provider { peer: peer.to_bytes(), addresses })
}

pub(in crate::exchange) fn busy() -> Reply {
    Reply::Refused(Refusal::Busy { retry_ms: BUSY_RETRY_MS })
}
