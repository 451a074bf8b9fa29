//! The node itself, its peers, and what it has heard of.

use std::path::PathBuf;

use potluck_protocol::id::{BaseId, ManifestId};

use crate::api::answers::{Bootstrap, Heard, Peer, Peers, Route, Status};
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::network::{Network, next_heard};
use crate::failure::{Failure, Kind, Outcome};
use crate::identity::Identity;
use crate::net::PeerInfo;
use crate::seconds::Seconds;

/// Answers `potluck status` and `potluck peers`.
#[derive(Clone)]
pub struct NodeStatus {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) network: Option<Network>,
    /// Where the home of a node will be that does not exist yet.
    pub(in crate::app) unmade: Option<PathBuf>,
}

impl NodeStatus {
    /// Answers `potluck status`.
    pub async fn status(&self) -> Outcome<Status> {
        let stat = self.disk.on_store(|store| store.stat()).await?;
        let (mut addresses, mut peers, mut reach, mut bootstrap) = (Vec::new(), 0, None, Vec::new());
        if let Some(network) = &self.network {
            addresses = network.handle.listen_addresses().await?;
            peers = network.handle.peers().await?.len();
            reach = Some(network.handle.reach().await?);
            bootstrap = network.handle.bootstrap().await?;
        }
        // The network's own catalogue while there is one: the store notes later what it heard.
        let heard = match &self.network {
            Some(network) => network.handle.catalogue_len(),
            None => self.disk.heard().await?.len(),
        };
        let home = self.unmade.as_deref().unwrap_or_else(|| self.disk.home.layout().root());
        let bootstrap = bootstrap.into_iter().map(|(address, health)| Bootstrap { health, address });
        Ok(Status {
            running: self.network.is_some(),
            pid: std::process::id(),
            // Without a home there is no key yet, and so no peer.
            peer: self.unmade.is_none().then(|| self.identity.peer_id().to_string()),
            home: home.to_path_buf(),
            network: self.network.as_ref().map(|network| network.name.to_string()),
            addresses,
            peers,
            bootstrap: bootstrap.collect(),
            twin: self.network.as_ref().and_then(|network| network.handle.twin()).map(|sign| sign.to_string()),
            reachability: reach.as_ref().map(|reach| reach.reachability),
            external: reach.as_ref().map(|reach| reach.external.clone()),
            relays: reach.iter().flat_map(|reach| &reach.relays).map(ToString::to_string).collect(),
            relaying: reach.as_ref().is_some_and(|reach| reach.relaying),
            adapters: stat.held.adapters,
            held: stat.held,
            heard,
            bases: self.disk.store.bases().len() + 1,
            shard_bytes: stat.shard_bytes,
        })
    }

    /// Answers `potluck peers`.
    pub async fn peers(&self) -> Outcome<Peers> {
        let network = self.network.as_ref().ok_or_else(|| {
            Failure::new(Kind::Unreachable, "no daemon runs on this home").hint("start it with `potluck up`")
        })?;
        let peers = network.handle.peers().await?;
        Ok(Peers { peers: peers.into_iter().map(describe_peer).collect() })
    }

    /// Waits until all these adapters have been heard of, or are here.
    pub async fn wait_until_heard(
        &self,
        call: &Call<'_>,
        base: &str,
        adapters: &[String],
        seconds: Seconds,
    ) -> Outcome<Heard> {
        let parse = |text: &String| text.parse::<ManifestId>().map_err(|error| Failure::new(Kind::Usage, error));
        let wanted = adapters.iter().map(parse).collect::<Outcome<Vec<_>>>()?;
        let network =
            self.network.as_ref().ok_or_else(|| Failure::new(Kind::Unreachable, "this node is on no network"))?;
        let followed = base.parse::<BaseId>().map_err(|error| Failure::new(Kind::Usage, error))?;
        // Listening first, then asking the network itself: an announcement is known there before its event goes out, and
        // may not have been noted in the store yet.
        let mut events = network.handle.events();
        let waiting = async {
            loop {
                let heard = network.handle.announcements(followed);
                let known = |id: &ManifestId| {
                    self.disk.store.is_well_formed(id) || heard.iter().any(|one| one.body().manifest == *id)
                };
                if wanted.iter().all(known) {
                    return Ok(Heard { base: followed, heard: heard.len() });
                }
                next_heard(&mut events).await?;
            }
        };
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Failure::interrupted()),
            done = tokio::time::timeout(seconds.duration(), waiting) => done.unwrap_or_else(|_| {
                Err(Failure::new(Kind::Timeout, format!("not all {} adapters were announced within {seconds} s", wanted.len()))
                    .hint("see who is connected with `potluck peers`"))
            }),
        }
    }
}

fn describe_peer(peer: PeerInfo) -> Peer {
    Peer {
        peer: peer.peer.to_string(),
        address: peer.addresses.first().map(ToString::to_string).unwrap_or_default(),
        agent: peer.agent.unwrap_or_default(),
        route: if peer.direct { Route::Direct } else { Route::Relayed },
        connected_seconds: peer.connected_for.as_secs(),
    }
}
