//! The node itself, its peers, and what it has heard of.

use std::path::PathBuf;

use libp2p::Multiaddr;
use potluck_protocol::id::{BaseId, ManifestId};
use serde_json::{Value, json};

use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::network::{Network, next_heard};
use crate::failure::{Failure, Kind, Outcome};
use crate::identity::Identity;
use crate::net::Health;
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
    pub async fn status(&self) -> Outcome<Value> {
        let stat = self.disk.on_store(|store| store.stat()).await?;
        let (mut addresses, mut peers, mut reach, mut bootstrap) = (Vec::new(), 0, None, Vec::new());
        if let Some(network) = &self.network {
            addresses = network.handle.listen_addresses().await?;
            peers = network.handle.peers().await?.len();
            reach = Some(network.handle.reach().await?);
            bootstrap = network.handle.bootstrap().await?;
        }
        Ok(json!({
            "schema": "potluck.status/1",
            "running": self.network.is_some(),
            "pid": std::process::id(),
            // Without a home there is no key yet, and so no peer.
            "peer": self.unmade.is_none().then(|| self.identity.peer_id().to_string()),
            "home": self.unmade.as_deref().unwrap_or_else(|| self.disk.home.layout().root()),
            "network": self.network.as_ref().map(|network| network.name.as_str()),
            "addresses": addresses,
            "peers": peers,
            "bootstrap": bootstrap.iter().map(|(address, health)| describe_bootstrap(address, health)).collect::<Vec<_>>(),
            "twin": self.network.as_ref().and_then(|network| network.handle.twin()).map(|sign| sign.to_string()),
            "reachability": reach.as_ref().map(|reach| reach.reachability),
            "external": reach.as_ref().map(|reach| &reach.external),
            "relays": reach.iter().flat_map(|reach| &reach.relays).map(ToString::to_string).collect::<Vec<_>>(),
            "relaying": reach.as_ref().is_some_and(|reach| reach.relaying),
            "held": stat.held,
            "adapters": stat.held.adapters,
            "heard": self.disk.heard().await?.len(),
            "bases": self.disk.store.bases().len() + 1,
            "shard_bytes": stat.shard_bytes,
        }))
    }

    /// Answers `potluck peers`.
    pub async fn peers(&self) -> Outcome<Value> {
        let network = self.network.as_ref().ok_or_else(|| {
            Failure::new(Kind::Unreachable, "no daemon runs on this home").hint("start it with `potluck up`")
        })?;
        let peers = network.handle.peers().await?;
        let peers: Vec<_> = peers
            .into_iter()
            .map(|peer| {
                json!({
                    "peer": peer.peer.to_string(),
                    "address": peer.addresses.first().map(ToString::to_string).unwrap_or_default(),
                    "agent": peer.agent.unwrap_or_default(),
                    "route": if peer.direct { "direct" } else { "relayed" },
                    "connected_seconds": peer.connected_for.as_secs(),
                })
            })
            .collect();
        Ok(json!({ "schema": "potluck.peers/1", "peers": peers }))
    }

    /// Waits until all these adapters have been heard of, or are here.
    pub async fn wait_until_heard(
        &self,
        call: &Call<'_>,
        base: &str,
        adapters: &[String],
        seconds: Seconds,
    ) -> Outcome<Value> {
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
                    return Ok(json!({ "schema": "potluck.heard/1", "base": base, "heard": heard.len() }));
                }
                next_heard(&mut events).await?;
            }
        };
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Failure::interrupted()),
            done = tokio::time::timeout(seconds.duration(), waiting) => done.unwrap_or_else(|_| {
                Err(Failure::new(Kind::Timeout, format!("not all {} adapters were heard of within {seconds} s", wanted.len()))
                    .hint("see who is connected with `potluck peers`"))
            }),
        }
    }
}

/// One bootstrap address: `address`, `state` and, where it fails, `reason`.
fn describe_bootstrap(address: &Multiaddr, health: &Health) -> Value {
    let mut line = json!(health);
    line["address"] = json!(address);
    line
}
