//! The small questions of one pull: who has the manifest, who has which shards, who else might.

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::fetch::{Event, Fetch, Holdings};
use potluck_protocol::id::ShardId;

use super::super::ask;
use super::Found;
use super::session::Session;

/// The answers, each from a task of its own.
pub enum Note {
    Manifest(PeerId, Result<Option<Box<Found>>, ask::AskError>),
    Have(PeerId, Result<Vec<bool>, ask::AskError>),
    /// Further peers that may have it.
    Named(Vec<(PeerId, Vec<Multiaddr>)>),
}

impl Session {
    pub(super) fn failed(&mut self, peer: PeerId, error: &ask::AskError) {
        if error.is_fault() {
            self.blame(peer, error.to_string());
        } else {
            tracing::debug!(%peer, %error, "a question was not answered");
        }
    }

    pub(super) fn ask_manifest(&self, peer: PeerId) {
        let (net, id, notes) = (self.exchange.0.net.clone(), self.id, self.notes.0.clone());
        self.exchange.0.tasks.spawn("ask for a manifest", async move {
            let manifest = ask::manifest(&net, peer, id).await.map(|found| found.map(Box::new));
            // The pull may have ended.
            let _ = notes.send(Note::Manifest(peer, manifest)).await;
            if let Ok(peers) = ask::providers(&net, peer, id).await {
                let _ = notes.send(Note::Named(peers)).await;
            }
        });
    }

    pub(super) fn ask_have(&self, peer: PeerId, wants: Vec<ShardId>) {
        let (net, id, notes) = (self.exchange.0.net.clone(), self.id, self.notes.0.clone());
        self.exchange.0.tasks.spawn("ask for shards", async move {
            let _ = notes.send(Note::Have(peer, ask::have(&net, peer, &wants).await)).await;
            if let Ok(peers) = ask::providers(&net, peer, id).await {
                let _ = notes.send(Note::Named(peers)).await;
            }
        });
    }

    pub(super) fn has(&mut self, fetch: &mut Fetch, peer: PeerId, result: Result<Vec<bool>, ask::AskError>) {
        match result {
            Ok(flags) => {
                let all = flags.iter().all(|flag| *flag);
                if !all {
                    self.candidates.ask_again(peer);
                }
                let holdings = if all { Holdings::All } else { Holdings::These(flags) };
                self.feed(fetch, Event::Found { peer, holdings });
            }
            Err(error) => {
                self.candidates.ask_again(peer);
                self.failed(peer, &error);
            }
        }
    }

    pub(super) fn named(&mut self, peers: Vec<(PeerId, Vec<Multiaddr>)>) {
        for (peer, addresses) in peers {
            self.candidates.named(&self.exchange, peer, addresses);
        }
    }
}
