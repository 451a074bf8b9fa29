//! While peers are wanting: asks those that are here whom they know, and the DHT who follows the same bases.

use std::collections::HashMap;

use libp2p::PeerId;
use tokio::sync::broadcast;
use tokio::time::{Duration, Instant, sleep_until};

use super::super::{Exchange, ask};
use crate::net;
use crate::net::finding::Key;
use crate::net::finding::limits::{ASK_AGAIN_FIRST, ASK_AGAIN_MAX, BASES_AGAIN, BASES_LOOKED_FOR};

/// Until the node stops.
pub(super) async fn run(exchange: Exchange, mut events: broadcast::Receiver<net::Event>) {
    let stop = exchange.0.tasks.stop().clone();
    let mut meet = Meet { exchange, asked: HashMap::new(), bases_at: Instant::now(), first_base: 0 };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => match event {
                Ok(net::Event::Connected(_)) => next = Instant::now(),
                Ok(net::Event::Disconnected(peer)) => drop(meet.asked.remove(&peer)),
                Err(broadcast::error::RecvError::Closed) => return,
                // Whose coming was lost is seen at the next round.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            () = sleep_until(next) => {
                meet.round().await;
                next = Instant::now() + ASK_AGAIN_FIRST;
            }
        }
    }
}

struct Meet {
    exchange: Exchange,
    /// When each connected peer is asked next, and the pause after that.
    asked: HashMap<PeerId, (Instant, Duration)>,
    bases_at: Instant,
    /// Where the next round among the bases begins.
    first_base: usize,
}

impl Meet {
    async fn round(&mut self) {
        // A network that is being restarted has nobody connected.
        let peers = self.exchange.0.net.peers().await.unwrap_or_default();
        let peers: Vec<PeerId> = peers.iter().filter(|info| info.agent.is_some()).map(|info| info.peer).collect();
        self.asked.retain(|peer, _| peers.contains(peer));
        if peers.len() >= self.exchange.0.net.target() {
            return;
        }
        let now = Instant::now();
        for peer in peers {
            let (at, pause) = self.asked.entry(peer).or_insert((now, ASK_AGAIN_FIRST));
            if *at <= now {
                (*at, *pause) = (now + *pause, (*pause * 2).min(ASK_AGAIN_MAX));
                self.ask(peer);
            }
        }
        if self.bases_at <= now {
            self.bases_at = now + BASES_AGAIN;
            self.look_for_bases().await;
        }
    }

    fn ask(&self, peer: PeerId) {
        let net = self.exchange.0.net.clone();
        let exchange = self.exchange.clone();
        let stop = self.exchange.0.tasks.stop().clone();
        self.exchange.0.tasks.spawn("ask for peers", async move {
            let Some(answer) = stop.run_until_cancelled(ask::peers(&net, peer)).await else { return };
            match answer {
                // The network may have ended.
                Ok(named) => drop(net.hint(peer, named).await),
                Err(error) if error.is_fault() => {
                    tracing::warn!(%peer, %error, "a peer answered nonsense when it was asked for peers");
                    exchange.reputation().blame(peer, Instant::now());
                }
                Err(error) => tracing::debug!(%peer, %error, "a peer named nobody"),
            }
        });
    }

    async fn look_for_bases(&mut self) {
        let bases = self.exchange.0.net.followed().await.unwrap_or_default();
        let some: Vec<_> = bases.iter().cycle().skip(self.first_base).take(bases.len().min(BASES_LOOKED_FOR)).collect();
        self.first_base = (self.first_base + some.len()).checked_rem(bases.len()).unwrap_or(0);
        let keys: Vec<Key> = some.into_iter().map(|base| Key::base(*base)).collect();
        let (net, stop) = (self.exchange.0.net.clone(), self.exchange.0.tasks.stop().clone());
        self.exchange.0.tasks.spawn("look for peers of bases", async move {
            for key in keys {
                if stop.run_until_cancelled(net.find_providers(key)).await.is_none() {
                    return;
                }
            }
        });
    }
}
