//! `potluck bench exchange`: one file from one or more daemons to another, over loopback TCP, encrypted and verified.
//!
//! Every daemon is a process of its own with a home of its own in one temporary folder, so that memory and processor time
//! are each daemon's own, and the disk is the same for all of them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::ManifestId;
use serde::Serialize;

use super::process::{Used, used};
use super::source;
use crate::api::answers::FetchedShards;
use crate::api::proto::Fetch;
use crate::config;
use crate::exchange::Phases;
use crate::failure::{Failure, Outcome};
use crate::local_daemon::LocalDaemon;
use crate::scratch;
use crate::signals;
use crate::task;

/// The network's name: nobody else is met.
const NETWORK: &str = "bench-exchange";

/// How long a daemon may look for the others and for bytes.
const TIMEOUT_SECONDS: u64 = 600;

/// Over what the daemons speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// The default: what every daemon speaks.
    #[default]
    Tcp,
    /// In programs built with `--features quic`.
    Quic,
}

impl Transport {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Quic => "QUIC",
        }
    }

    fn listen(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the daemons speak.
    pub transport: Transport,
    /// Bytes of the one file.
    pub size: u64,
    /// Daemons that have the file at the start.
    pub sources: usize,
    /// Of the file's bytes.
    pub seed: u64,
    /// Where the homes are made; a temporary folder if not said.
    pub folder: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of the one file.
    pub bytes: u64,
    /// Daemons that had the file at the start.
    pub sources: usize,
    /// What the daemons spoke.
    pub transport: Transport,
    /// From the request until every shard had come, was verified and was written.
    pub mib_per_second: f64,
    /// From the request until all of it was acknowledged: on the disk, and visible.
    pub durable_mib_per_second: f64,
    /// Where the time of the pull went.
    pub phases: Phases,
    /// One file of the same size written and fsynced on the same disk, just before and just after: the better one.
    pub disk_mib_per_second: f64,
    /// `durable_mib_per_second` over `disk_mib_per_second`.
    pub durable_share_of_disk: f64,
    /// Bytes of shards that came from peers, duplicates included.
    pub fetched_bytes: u64,
    /// Bytes of shards that were not needed when they came.
    pub wasted_bytes: u64,
    /// What the daemon that pulled used.
    pub puller: Used,
    /// What each of the sources used.
    pub providers: Vec<Used>,
}

impl Report {
    /// Name and version of its form.
    pub const SCHEMA: &'static str = "potluck.bench.exchange/1";
}

/// Runs it whole. Dropping the future ends the daemons.
pub async fn run(options: &Options) -> Outcome<Report> {
    let root = options.folder.clone().unwrap_or_else(config::temporary);
    let folder = scratch::make(&root)?;
    tokio::select! {
        biased;
        () = signals::requests().to_end.cancelled_owned() => Err(Failure::interrupted()),
        report = measure(options, folder.path()) => report,
    }
}

async fn measure(options: &Options, folder: &Path) -> Outcome<Report> {
    let (manifest, homes) = prepare(options, folder).await?;
    let disk = sequential_write(options, folder).await?;
    let (listen, mut providers) = (options.transport.listen(), Vec::new());
    for (n, home) in homes.iter().enumerate() {
        let who = format!("source {}", n + 1);
        providers.push(LocalDaemon::start(&who, home, NETWORK, &["--listen", listen]).await?);
    }
    let addresses: Vec<_> = providers.iter().flat_map(|daemon| ["--bootstrap", daemon.address.as_str()]).collect();
    let arguments = [&["--listen", listen], addresses.as_slice()].concat();
    let mut puller = LocalDaemon::start("the puller", &folder.join("puller"), NETWORK, &arguments).await?;
    let began = Instant::now();
    let fetched = puller.ask(Fetch { manifest, timeout_seconds: TIMEOUT_SECONDS.into() }).await?;
    let seconds = began.elapsed().as_secs_f64();
    let usage = (used(puller.pid), providers.iter().map(|daemon| used(daemon.pid)).collect());
    puller.stop().await?;
    for daemon in providers {
        daemon.stop().await?;
    }
    let disk = disk.min(sequential_write(options, folder).await?);
    Ok(report(options, &fetched, seconds, disk, usage))
}

fn report(
    options: &Options,
    fetched: &FetchedShards,
    seconds: f64,
    disk_seconds: f64,
    (puller, providers): (Used, Vec<Used>),
) -> Report {
    let rate = |seconds: f64| options.size as f64 / seconds / f64::from(1 << 20);
    let Phases { found_seconds, content_seconds, .. } = fetched.phases;
    Report {
        bytes: options.size,
        sources: options.sources,
        transport: options.transport,
        mib_per_second: rate(found_seconds + content_seconds),
        durable_mib_per_second: rate(seconds),
        phases: fetched.phases,
        disk_mib_per_second: rate(disk_seconds),
        durable_share_of_disk: disk_seconds / seconds,
        fetched_bytes: fetched.fetched_bytes,
        wasted_bytes: fetched.wasted_bytes,
        puller,
        providers,
    }
}

/// The same file in every source's home.
async fn prepare(options: &Options, folder: &Path) -> Outcome<(ManifestId, Vec<PathBuf>)> {
    let homes: Vec<PathBuf> = (1..=options.sources).map(|n| folder.join(format!("source-{n}"))).collect();
    let (file, size, seed, all) = (folder.join("noise.bin"), options.size, options.seed, homes.clone());
    let manifest = blocking(move || {
        source::noise(&file, size, seed).map_err(|error| Failure::io("write the benchmark's file", &error))?;
        let publisher = Keypair::generate();
        let ids = all.iter().map(|home| source::publish(home, &file, &publisher)).collect::<Outcome<Vec<_>>>()?;
        potluck_trainer::removal::file(&file).map_err(|error| Failure::io("remove the benchmark's file", &error))?;
        ids.first().copied().ok_or_else(|| Failure::new(crate::failure::Kind::Usage, "at least one source is needed"))
    })
    .await?;
    Ok((manifest, homes))
}

async fn sequential_write(options: &Options, folder: &Path) -> Outcome<f64> {
    let (path, size) = (folder.join("sequential"), options.size);
    blocking(move || {
        source::sequential_write(&path, size).map_err(|error| Failure::io("write and fsync one file", &error))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    task::blocking(work).await.map_err(|error| Failure::new(crate::failure::Kind::Failed, error.to_string()))?
}
