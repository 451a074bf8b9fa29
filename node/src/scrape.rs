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
    use std::collections::BTreeSet;

    use potluck_protocol::bulk::{Refusal, Reply, Request};
    use potluck_protocol::catalogue::RoundOutcome;
    use potluck_protocol::codec::Heard;

    use super::*;
    use crate::exchange::counters::{ExchangeCounters, Pull};
    use crate::metrics::page::Life;
    use crate::net::counters::bulk::Direction;
    use crate::net::counters::{NetCounters, Queue};
    use crate::net::misdeed::{Denied, Judged, Misdeed};

    /// The page of the metrics and the page for people name the same ones.
    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let (net, exchange) = (NetCounters::default(), ExchangeCounters::default());
        // What has labels is on the page once it counted something.
        net.denied.inc(Denied::TooOften);
        net.misdeeds.inc(Misdeed::Flood);
        net.dropped.inc(Queue::Outbox);
        net.judged.inc(Judged::Accepted);
        net.bulk.asked(&Heard::Known(Request::Peers));
        net.bulk.answered(Direction::Out, &Reply::Refused(Refusal::NotFound));
        net.bulk.answered(Direction::Out, &Reply::Shard { len: 1, offset: 0, bytes: vec![1] });
        exchange.pulls.inc(Pull::Started);
        exchange.compared.inc((&RoundOutcome::Equal).into());
        let page = Page::new(&[&net, &exchange], Life::default());
        let text = page.text(Levels::default()).expect("it can be written");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let ours: BTreeSet<String> = types
            .map(|(name, kind)| match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            })
            .collect();
        let (_, table) =
            include_str!("../../docs/operations.md").split_once("| name | labels | what |").expect("a table");
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|')).skip(1);
        let names = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let documented: BTreeSet<String> =
            names.filter(|name| !name.starts_with("libp2p_")).map(str::to_owned).collect();
        assert_eq!(ours, documented);
    }

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
