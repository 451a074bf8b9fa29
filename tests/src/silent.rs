//! A peer that is connected, takes every question and never answers; and that passes on what it is given to announce.

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use potluck_node::net::{self, Config, Handle};
use potluck_protocol::announce::Announcement;
use potluck_protocol::id::BaseId;
use potluck_protocol::signed::Authentic;
use tokio::runtime::{Builder, Runtime};

use crate::crash::Outcome;

/// Ends when it is dropped.
pub struct Silent {
    runtime: Runtime,
    net: Handle,
}

impl Silent {
    /// Dials `address`. Its peer id is below `below`: of those that are asked in the order of their ids it is the first.
    pub fn start(network: &str, address: &str, below: &str) -> Outcome<Self> {
        let below: PeerId = below.parse()?;
        let identity = loop {
            let identity = Keypair::generate_ed25519();
            if identity.public().to_peer_id() < below {
                break identity;
            }
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Config { bootstrap: vec![address.parse::<Multiaddr>()?], ..Config::loopback(network.parse()?) };
        let (net, mut inbound) = runtime.block_on(net::start(config, identity))?;
        runtime.spawn(async move {
            let mut kept = Vec::new();
            while let Some(stream) = inbound.recv().await {
                kept.push(stream);
            }
        });
        Ok(Self { runtime, net })
    }

    /// Where others reach it.
    pub fn address(&self) -> Outcome<String> {
        let addresses = self.runtime.block_on(self.net.listen_addresses())?;
        Ok(addresses.first().ok_or("it listens nowhere")?.to_string())
    }

    /// Says something to everybody who follows the base.
    pub fn announce(&self, base: BaseId, announcement: Authentic<Announcement>) -> Outcome<()> {
        self.runtime.block_on(async {
            self.net.subscribe(base).await?;
            Ok(self.net.announce(announcement).await?)
        })
    }
}
