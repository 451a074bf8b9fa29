//! Peers from peers: while some are wanting, asks those that are here whom they know, and the DHT who follows the same
//! bases; answers peers that ask the same of us.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use libp2p::PeerId;
use potluck_protocol::bulk::{Provider, Reply};
use potluck_protocol::limits::{ADDRESS_MAX, ADDRESSES_MAX, PROVIDERS_MAX};
use tokio::sync::broadcast;
use tokio::time::{Duration, Instant, sleep_until};

use super::serve::busy;
use super::{Exchange, ask, lock};
use crate::net;
use crate::net::discovery::limits::{ASK_AGAIN_FIRST, ASK_AGAIN_MAX, BASES_AGAIN, BASES_LOOKED_FOR};
use crate::net::discovery::{Key, Named};

/// Until the node stops.
pub async fn run(exchange: Exchange, mut events: broadcast::Receiver<net::Event>) {
    let stop = exchange.0.tasks.stop().clone();
    let mut search = PeerSearch { exchange, asked: HashMap::new(), bases_at: Instant::now(), first_base: 0 };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => match event {
                Ok(net::Event::Connected(_)) => next = Instant::now(),
                Ok(net::Event::Disconnected(peer)) => drop(search.asked.remove(&peer)),
                Err(broadcast::error::RecvError::Closed) => return,
                // Whose coming was lost is seen at the next round.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            () = sleep_until(next) => {
                search.round().await;
                next = Instant::now() + ASK_AGAIN_FIRST;
            }
        }
    }
}

struct PeerSearch {
    exchange: Exchange,
    /// When each connected peer is asked next, and the pause after that.
    asked: HashMap<PeerId, (Instant, Duration)>,
    bases_at: Instant,
    /// Where the next round among the bases begins.
    first_base: usize,
}

impl PeerSearch {
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
        let bases = self.exchange.0.net.followed_bases().await.unwrap_or_default();
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

impl Exchange {
    /// The answer to a peer that asks whom we know.
    pub(super) async fn peers_for(&self, asker: PeerId) -> Reply {
        if !lock(&self.0.peer_questions).take(asker, self.now_ms()) {
            return busy();
        }
        let peers = self.0.net.peers_for(asker).await.unwrap_or_default();
        Reply::Peers(peers.into_iter().filter_map(provider).take(PROVIDERS_MAX).collect())
    }
}

fn provider((peer, addresses): Named) -> Option<Provider> {
    let addresses = addresses.iter().map(|address| address.to_vec()).filter(|bytes| bytes.len() <= ADDRESS_MAX);
    let addresses: Vec<_> = addresses.take(ADDRESSES_MAX).collect();
    (!addresses.is_empty()).then(|| Provider { peer: peer.to_bytes(), addresses })
}
