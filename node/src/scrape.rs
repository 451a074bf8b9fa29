//! What a scrape of the metrics reads: the counters of the parts, and what is looked up at that moment.

use std::sync::Arc;

use crate::exchange::Exchange;
use crate::metrics::page::{Levels, Page};
use crate::metrics::server::Source;
use crate::net::Handle;
use crate::store::Store;
use crate::task;

/// What the metrics server asks for the page. Cheap to clone.
#[derive(Clone)]
pub struct Scrape {
    page: Arc<Page>,
    net: Handle,
    store: Store,
}

impl Scrape {
    /// Of these parts of a node.
    pub fn new(net: &Handle, exchange: &Exchange, store: &Store) -> Self {
        let page = Arc::new(Page::new(&[net.metrics(), exchange.metrics()], net.life()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::counters::{ExchangeCounters, Pull};
    use crate::metrics::page::Life;
    use crate::net::counters::NetCounters;
    use crate::net::misdeed::Denied;

    #[test]
    fn the_page_has_every_name_once_and_ends_as_it_should() {
        let (net, exchange) = (NetCounters::default(), ExchangeCounters::default());
        net.denied.inc(Denied::TooOften);
        exchange.pulls.add(Pull::Completed, 3);
        let page = Page::new(&[&net, &exchange], Life::default());
        let text = page.text(Levels { store_bytes: 7, ..Levels::default() }).expect("it can be written");
        assert!(text.contains("potluck_connections_denied_total{reason=\"too_often\"} 1\n"), "{text}");
        assert!(text.contains("potluck_pulls_total{state=\"completed\"} 3\n"), "{text}");
        assert!(text.contains("potluck_store_bytes 7\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut names: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{text}");
    }
}
