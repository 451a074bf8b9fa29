//! Sources behind shaped links, and a puller that is asked over its local socket.

use std::path::PathBuf;
use std::time::Instant;

use libp2p::identity::ed25519::Keypair;
use potluck_node::api::client::Client;
use potluck_node::api::proto::Fetch;
use potluck_node::bench::source;
use potluck_node::ipc::Progress;
use potluck_protocol::id::ManifestId;
use tokio::runtime::Runtime;

use crate::crash::Outcome;
use crate::kit::{Program, Up};
use crate::soak::lab::{Kind, Lab};

/// A megabyte, as links are measured.
pub const MB: u64 = 1_000_000;

const TIMEOUT_SECONDS: u64 = 600;

/// Where a node listens in its namespace.
const LISTEN: &str = "/ip4/0.0.0.0/tcp/7740";

/// One file in the homes of all sources. Its daemons end before their namespaces do.
pub struct World {
    program: Program,
    pub manifest: ManifestId,
    sources: Vec<Up>,
    addresses: Vec<String>,
    /// The namespaces of the sources, whose links are counted.
    counted: Vec<String>,
    place: String,
    runtime: Runtime,
    lab: Lab,
    folder: tempfile::TempDir,
}

/// A daemon that fetches.
pub struct Puller<'a> {
    up: Up,
    program: &'a Program,
    runtime: &'a Runtime,
}

/// A finished pull.
pub struct Pulled {
    pub seconds: f64,
    pub wasted_bytes: u64,
}

impl World {
    /// One source for each speed, in bytes a second.
    pub fn new(program: &Program, size: u64, seed: u64, speeds: &[u64]) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("noise.bin");
        source::noise(&file, size, seed)?;
        let publisher = Keypair::generate();
        let mut lab = Lab::new(speeds.len())?;
        let place = lab.place("puller", Kind::Open, 1)?;
        let (mut sources, mut addresses, mut counted, mut manifest) = (Vec::new(), Vec::new(), Vec::new(), None);
        for (n, &speed) in speeds.iter().enumerate() {
            let home = folder.path().join(format!("source-{n}"));
            manifest = Some(source::publish(&home, &file, &publisher).map_err(|failure| failure.to_string())?);
            let host = n as u8 + 2;
            let namespace = lab.place(&format!("source-{n}"), Kind::Open, host)?;
            lab.shape(&namespace, speed)?;
            let args = ["up", "--stop-with-input", "--network", "links", "--no-upnp", "--listen", LISTEN];
            let up = program.inside(&namespace).up_with(&home, &args, &[]);
            addresses.push(format!("/ip4/198.51.100.{host}/tcp/7740/p2p/{}", up.peer));
            sources.push(up);
            counted.push(namespace);
        }
        std::fs::remove_file(&file)?;
        let manifest = manifest.ok_or("at least one source")?;
        let (program, runtime) = (program.clone(), Runtime::new()?);
        Ok(Self { program, manifest, sources, addresses, counted, place, runtime, lab, folder })
    }

    /// Bytes that the sources have put on the wire, headers included.
    pub fn sent(&self) -> Outcome<u64> {
        Ok(self.counted.iter().map(|namespace| self.lab.sent(namespace)).sum::<Result<u64, String>>()?)
    }

    /// The puller's daemon, started anew on the same home.
    pub fn puller(&self) -> Outcome<Puller<'_>> {
        let home: PathBuf = self.folder.path().join("puller");
        let mut args = vec!["up", "--stop-with-input", "--network", "links", "--no-upnp", "--listen", LISTEN];
        self.addresses.iter().for_each(|address| args.extend(["--bootstrap", address]));
        let up = self.program.inside(&self.place).up_with(&home, &args, &[]);
        Ok(Puller { up, program: &self.program, runtime: &self.runtime })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.sources.clear();
    }
}

impl Puller<'_> {
    /// The whole pull.
    pub fn fetch(&mut self, manifest: ManifestId) -> Outcome<Pulled> {
        let began = Instant::now();
        let home = self.up.home.clone();
        let fetched = self.runtime.block_on(async {
            let mut client = Client::connect(&home).await?.ok_or_else(gone)?;
            client.call(Fetch { manifest, timeout_seconds: TIMEOUT_SECONDS.into() }, |_| {}).await
        });
        let fetched = fetched.map_err(|failure: potluck_node::failure::Failure| failure.to_string())?;
        Ok(Pulled { seconds: began.elapsed().as_secs_f64(), wasted_bytes: fetched.wasted_bytes })
    }

    /// Kills the daemon when this pull, with what was there before, has so many bytes. `false` if it ended before.
    pub fn kill_at(&mut self, manifest: ManifestId, bytes: u64) -> Outcome<bool> {
        let home = self.up.home.clone();
        let (reached, mut waiting) = tokio::sync::mpsc::channel(1);
        let report = move |progress: Progress| {
            // The count is of what was missing at the start; the first and small one is that of the tables.
            if let Progress::Count { done, total, .. } = progress
                && total > 1 << 20
                && super::KILL_SIZE.saturating_sub(total) + done >= bytes
            {
                // Said once is enough.
                let _said = reached.try_send(());
            }
        };
        let killed = self.runtime.block_on(async {
            let mut client = Client::connect(&home).await?.ok_or_else(gone)?;
            let request = Fetch { manifest, timeout_seconds: TIMEOUT_SECONDS.into() };
            tokio::select! {
                biased;
                Some(()) = waiting.recv() => Ok(true),
                ended = client.call(request, report) => ended.map(|_| false),
            }
        });
        self.up.kill();
        Ok(killed.map_err(|failure: potluck_node::failure::Failure| failure.to_string())?)
    }

    /// Everything in its home is whole.
    pub fn verify(&self) -> Outcome<()> {
        self.program.ok(&self.up.home, ["store", "verify"]);
        Ok(())
    }
}

fn gone() -> potluck_node::failure::Failure {
    potluck_node::failure::Failure::new(potluck_node::failure::Kind::Unreachable, "the daemon is gone")
}
