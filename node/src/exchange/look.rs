//! Many manifests and none of what they name: what a search looks at. Only the likeliest peers are asked.

use std::time::Duration;

use futures::StreamExt;
use libp2p::PeerId;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use tokio::time::{Instant, timeout_at};

use super::limits::{LOOK_AT_ONCE, LOOK_PEERS};
use super::{Exchange, ask};

impl Exchange {
    /// As many of these manifests as connected peers hand out within `patience`, each verified. Those that are here
    /// already are not asked for.
    pub async fn look_at(&self, manifests: Vec<ManifestId>, patience: Duration) -> Vec<Authentic<Manifest>> {
        let until = Instant::now() + patience;
        // A network that is being restarted has nobody connected.
        let connected = self.0.net.peers().await.unwrap_or_default();
        let connected: Vec<PeerId> = connected.iter().map(|info| info.peer).collect();
        let looks = manifests.into_iter().map(|id| self.look(id, &connected, until));
        futures::stream::iter(looks).buffer_unordered(LOOK_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    async fn look(&self, id: ManifestId, connected: &[PeerId], until: Instant) -> Option<Authentic<Manifest>> {
        if let Ok(Some(manifest)) = self.blocking(move |store| store.manifest(&id)).await {
            return Some(manifest);
        }
        for peer in self.likely(id, connected) {
            match timeout_at(until, ask::manifest(&self.0.net, peer, id)).await {
                Ok(Ok(Some(manifest))) => return Some(manifest),
                Ok(Ok(None)) => {}
                Ok(Err(error)) if error.is_fault() => self.reputation().blame(peer, Instant::now()),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a manifest was not handed out"),
                Err(_) => return None,
            }
        }
        None
    }

    /// Its publisher and those who fetched it come first, then anybody.
    fn likely(&self, id: ManifestId, connected: &[PeerId]) -> Vec<PeerId> {
        let mut likely = self.0.net.announcers(id);
        likely.extend(self.holders().of(&id));
        likely.extend(connected);
        let now = Instant::now();
        let mut peers = Vec::new();
        for peer in likely.into_iter().filter(|peer| connected.contains(peer)) {
            if peers.len() < LOOK_PEERS && !peers.contains(&peer) && !self.reputation().is_blamed(&peer, now) {
                peers.push(peer);
            }
        }
        peers
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;
    use crate::exchange::testing::{honest, publish};
    use crate::net::testing::connect;

    #[tokio::test]
    async fn a_look_brings_manifests_and_nothing_that_they_name() {
        let (one, two) = (honest(1).await, honest(2).await);
        let id = publish(&one.store, 3000);
        connect(&two.net, &one.net).await;
        let nobody = ManifestId(Digest::of(b"nobody has it"));
        let seen = two.exchange.look_at(vec![nobody, id], Duration::from_secs(10)).await;
        assert_eq!(seen.iter().map(Authentic::id).collect::<Vec<_>>(), [id]);
        assert!(two.store.manifest(&id).expect("readable").is_none(), "it is not called complete");
        assert_eq!(two.store.stat().expect("readable").shards, 0);
        let own = one.exchange.look_at(vec![id], Duration::ZERO).await;
        assert_eq!(own.len(), 1, "what is here needs nobody");
    }
}
