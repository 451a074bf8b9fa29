//! One node: the network, a store and the exchange between them, as the daemon puts them together.

use std::path::Path;

use libp2p::identity::Keypair;
use potluck_node::exchange::{Exchange, Speeds};
use potluck_node::home::Home;
use potluck_node::net::{self, Handle};
use potluck_node::scrape::Scrape;
use potluck_node::store::Store;
use potluck_node::task::Tasks;

use crate::crash::Outcome;

/// A running node.
pub struct Node {
    pub net: Handle,
    pub exchange: Exchange,
    pub store: Store,
    pub tasks: Tasks,
}

impl Node {
    /// Brings a node onto its network; it follows the base of [`super::base`].
    pub async fn start(root: &Path, identity: Keypair, config: net::Config) -> Outcome<Self> {
        let store = Store::open(&Home::open(root)?)?;
        let (net, inbound) = net::start(config, identity).await?;
        let tasks = Tasks::default();
        let exchange = Exchange::start(net.clone(), inbound, store.clone(), &tasks, Speeds::default()).await;
        net.subscribe(super::base()).await?;
        Ok(Self { net, exchange, store, tasks })
    }

    /// What its metrics are read from.
    pub fn scrape(&self) -> Scrape {
        Scrape::new(&self.net, &self.exchange, &self.store)
    }
}
