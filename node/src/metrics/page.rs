//! The page that Prometheus reads, in the OpenMetrics text format.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{exchange, net, process};

/// Its content type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the swarm's present life counts by libp2p's own means: a new one for each life, because libp2p registers its
/// counters when it is built. Prometheus takes a counter that begins anew for what it is.
pub type Life = Arc<Mutex<Registry>>;

/// What is not counted but looked up when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    pub peers: u64,
    pub banned: u64,
    pub catalogue_records: u64,
    pub store_shards: u64,
    pub store_bytes: u64,
}

/// Everything that is counted.
pub struct Page {
    counters: Registry,
    life: Life,
}

impl Page {
    pub fn new(net: &net::Net, exchange: &exchange::Exchange, life: Life) -> Self {
        let mut counters = Registry::with_prefix("potluck");
        net.register(&mut counters);
        exchange.register(&mut counters);
        Self { counters, life }
    }

    /// The whole page.
    pub fn text(&self, levels: Levels) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.counters)?;
        encode_registry(&mut text, &gauges(levels))?;
        encode_registry(&mut text, &self.life.lock().unwrap_or_else(PoisonError::into_inner))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn gauges(levels: Levels) -> Registry {
    let mut all = Registry::default();
    {
        let ours = all.sub_registry_with_prefix("potluck");
        let mut gauge = |name: &str, help: &str, value: u64| {
            ours.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
        };
        gauge("peers", "Peers that are connected", levels.peers);
        gauge("peers_banned_now", "Peers that are banned now", levels.banned);
        gauge("catalogue_records", "Announcements in the catalogue", levels.catalogue_records);
        gauge("store_shards", "Shards in the store", levels.store_shards);
        gauge("store_bytes", "Bytes of the shards in the store", levels.store_bytes);
    }
    if let Some(bytes) = process::resident_bytes() {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        all.register("process_resident_memory_bytes", "Resident memory of the process", ConstGauge::new(bytes));
    }
    let version = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    all.register("potluck_build", "This program", prometheus_client::metrics::info::Info::new(version));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_name_once_and_ends_as_it_should() {
        let (net, exchange) = (net::Net::default(), exchange::Exchange::default());
        net.denied.one(net::Denied::TooOften);
        exchange.pulls.add(exchange::Pull::Completed, 3);
        let page = Page::new(&net, &exchange, Life::default());
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
