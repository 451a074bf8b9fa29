//! What a scrape of the metrics reads: the counters of the parts, and what is looked up at that moment.

use std::sync::Arc;

use crate::exchange::Exchange;
use crate::metrics::page::{Levels, Page};
use crate::metrics::server::Source;
use crate::net::Handle;
use crate::store::Store;
use crate::task;

/// Cheap to clone.
#[derive(Clone)]
pub struct Scrape {
    page: Arc<Page>,
    net: Handle,
    store: Store,
}

impl Scrape {
    pub fn new(net: &Handle, exchange: &Exchange, store: &Store) -> Self {
        let page = Arc::new(Page::new(net.metrics(), exchange.metrics(), net.life()));
        Self { page, net: net.clone(), store: store.clone() }
    }

    async fn levels(&self) -> Result<Levels, String> {
        let store = self.store.clone();
        let totals = task::blocking(move || store.shard_totals()).await.map_err(|error| error.to_string())?;
        let (store_shards, store_bytes) = totals.map_err(|error| error.to_string())?;
        Ok(Levels {
            // A swarm that is being built anew has no peers.
            peers: self.net.peers().await.map_or(0, |peers| peers.len() as u64),
            banned: self.net.banned().len() as u64,
            catalogue_records: self.net.catalogue_len() as u64,
            store_shards,
            store_bytes,
        })
    }
}

impl Source for Scrape {
    async fn text(&self) -> Result<String, String> {
        let levels = self.levels().await?;
        self.page.text(levels).map_err(|error| error.to_string())
    }
}
