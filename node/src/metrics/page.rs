//! The page that Prometheus reads, in the OpenMetrics text format.

use std::sync::{Arc, Mutex};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::{lock, procfs};

/// Its content type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the swarm's present life counts by libp2p's own means: a new one for each life, because libp2p registers its
/// counters when it is built. Prometheus takes a counter that begins anew for what it is.
pub type Life = Arc<Mutex<Registry>>;

/// What is not counted but looked up when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    /// Peers that are connected.
    pub peers: u64,
    /// Peers that are banned now.
    pub banned: u64,
    /// Announcements in the catalogue.
    pub catalogue_records: u64,
    /// Shards in the store.
    pub store_shards: u64,
    /// Bytes of the shards in the store.
    pub store_bytes: u64,
}

/// The counters of one part of the node.
pub trait Counters {
    /// Makes each of them known under its name.
    fn register(&self, registry: &mut Registry);
}

/// Everything that is counted.
pub struct Page {
    counters: Registry,
    life: Life,
}

impl Page {
    /// Of these parts, and of what libp2p counts.
    pub fn new(parts: &[&dyn Counters], life: Life) -> Self {
        let mut counters = Registry::with_prefix("potluck");
        parts.iter().for_each(|part| part.register(&mut counters));
        Self { counters, life }
    }

    /// The whole page.
    pub fn text(&self, levels: Levels) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.counters)?;
        encode_registry(&mut text, &gauges(levels))?;
        encode_registry(&mut text, &lock::lock(&self.life))?;
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
    if let Some(bytes) = procfs::memory("self", "VmRSS") {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        all.register("process_resident_memory_bytes", "Resident memory of the process", ConstGauge::new(bytes));
    }
    let version = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    all.register("potluck_build", "This program", prometheus_client::metrics::info::Info::new(version));
    all
}
