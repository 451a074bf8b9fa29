//! Hearing what was said before one came: gossip says everything once, so a peer that follows a base as we do is asked,
//! when we meet, for the announcements that it knows.

use std::sync::Arc;

use libp2p::PeerId;
use potluck_protocol::id::BaseId;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;

use super::limits::REPLAYS;
use super::{Exchange, ask};
use crate::net::Event;

/// Until the node stops.
pub async fn run(exchange: Exchange, mut events: broadcast::Receiver<Event>) {
    let stop = exchange.0.tasks.stop().clone();
    let places = Arc::new(Semaphore::new(REPLAYS));
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        let (peer, base) = match event {
            Ok(Event::Subscribed { peer, base }) => (peer, base),
            // What was lost is heard from the next peer.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (one, stop) = (exchange.clone(), stop.clone());
        exchange.0.tasks.spawn("replay from a peer", async move {
            let _ = stop.run_until_cancelled(one.replay(peer, base)).await;
            drop(place);
        });
    }
}

impl Exchange {
    async fn replay(&self, peer: PeerId, base: BaseId) {
        match ask::announcements(&self.0.net, peer, base).await {
            Ok(all) => {
                for announcement in all {
                    // A network that is gone needs no announcements.
                    let _ = self.0.net.replayed(peer, announcement).await;
                }
            }
            Err(error) if error.is_fault() => {
                tracing::warn!(%peer, %error, "a peer replayed wrong announcements");
                self.reputation().blame(peer, Instant::now());
            }
            Err(error) => tracing::debug!(%peer, %error, "no announcements were replayed"),
        }
    }
}
