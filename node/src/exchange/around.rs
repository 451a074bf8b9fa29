//! Offers for bases that this node does not follow: what the peers that follow them stand behind. It is no part of the
//! catalogue: what one look saw is forgotten with the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::PeerId;
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::catalogue::Record;
use potluck_protocol::id::{AnnouncementId, BaseId, ManifestId};
use potluck_protocol::signed::Authentic;
use tokio::time::{Instant, timeout_at};

use super::limits::LOOK_AT_ONCE;
use super::{Exchange, ask, lock};
use crate::net::Misdeed;

impl Exchange {
    /// Announcements that connected peers stand behind, of bases that are not followed here, as far as they come within
    /// `patience`; with each, who stands behind it. All are asked at once, so that one that is silent keeps nobody.
    pub async fn look_around(&self, patience: Duration) -> Vec<(PeerId, Record)> {
        let until = Instant::now() + patience;
        // A network that is being restarted has nobody connected.
        let bases = self.0.net.bases_of_others().await.unwrap_or_default();
        let questions = bases.into_iter().flat_map(|(base, peers)| peers.into_iter().map(move |peer| (base, peer)));
        let answers = questions.map(|(base, peer)| self.stood_behind_by(peer, base, until));
        let answers: Vec<_> = futures::stream::iter(answers).buffer_unordered(4 * LOOK_AT_ONCE).collect().await;
        let all = answers.into_iter().flatten();
        let unique: BTreeMap<AnnouncementId, (PeerId, Record)> =
            all.map(|(peer, one)| (announce::id(&one), (peer, Arc::new(one)))).collect();
        *lock(&self.0.around) = unique.values().map(|(_, record)| record.clone()).collect();
        unique.into_values().collect()
    }

    /// What the last of these looks saw, so that what was shown can be named.
    pub fn seen_around(&self) -> Vec<Record> {
        lock(&self.0.around).clone()
    }

    async fn stood_behind_by(
        &self,
        peer: PeerId,
        base: BaseId,
        until: Instant,
    ) -> Vec<(PeerId, Authentic<Announcement>)> {
        match timeout_at(until, ask::announcements(&self.0.net, peer, base)).await {
            Ok(Ok(records)) => return records.into_iter().map(|record| (peer, record)).collect(),
            Ok(Err(error)) if error.is_fault() => {
                tracing::warn!(%peer, %error, "a peer lied about a base that it follows");
                self.blame(peer, Misdeed::Protocol);
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a peer said nothing of a base that it follows"),
            Err(_) => tracing::debug!(%peer, "a peer was asked about a base and is silent"),
        }
        Vec::new()
    }

    /// A peer stands behind what announces a manifest: it is asked for it before others.
    pub fn note_named(&self, manifest: ManifestId, peer: PeerId) {
        self.holders().note_named(manifest, peer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::exchange::testing::honest;
    use crate::net::testing::{announcement, base, connect, until};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_follows_no_base_sees_what_is_offered_for_those_of_others() {
        let (publisher, other) = (honest(1).await, honest(2).await);
        let own = announcement(1, "own", 1);
        publisher.net.announce(own.clone()).await.expect("it is kept");
        connect(&other.net, &publisher.net).await;
        let found = async || !other.exchange.look_around(Duration::from_secs(10)).await.is_empty();
        until(found).await;
        let seen = other.exchange.look_around(Duration::from_secs(10)).await;
        assert_eq!(seen, [(publisher.net.peer_id(), Arc::new(own.clone()))]);
        assert_eq!(other.exchange.seen_around(), [Arc::new(own)]);
        assert!(other.net.announcements(base()).is_empty(), "it is no part of the catalogue");
    }
}
