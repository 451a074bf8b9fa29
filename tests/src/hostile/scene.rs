//! Daemons of the program that is attacked, and what honest people do with them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::{AnnouncementId, BaseId, ManifestId};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::peer::{Manner, Peer, Place};
use super::{Outcome, Setting, attacked};
use crate::forged;
use crate::kit::{Answer, Program, Up, answer, text, train_adapter};

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Rows of a channel's only suite, and steps of an adapter that learns them.
const ROWS: u64 = 32;
const STEPS: &str = "40";

/// A network of its own, in a folder that goes with it.
pub struct Scene {
    pub program: Program,
    pub network: String,
    pub seed: u64,
    /// The base that all is about.
    pub tiny: BaseId,
    root: TempDir,
    runtime: Runtime,
}

impl Scene {
    pub fn new(setting: &Setting, name: &str) -> Outcome<Self> {
        let root = tempfile::tempdir()?;
        let program = setting.program.clone();
        let shown = program.ok(&root.path().join("looker"), ["base", "show", "tiny"]);
        Ok(Self {
            network: format!("hostile-{name}"),
            tiny: forged::id(&shown["base"]),
            seed: setting.seed,
            runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
            program,
            root,
        })
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A daemon on loopback that dials others.
    pub fn up(&self, name: &str, bootstrap: &[&Up]) -> Up {
        self.up_at(Ipv4Addr::LOCALHOST, name, bootstrap)
    }

    /// The same at an address of this machine.
    pub fn up_at(&self, ip: Ipv4Addr, name: &str, bootstrap: &[&Up]) -> Up {
        let listen = format!("/ip4/{ip}/tcp/0");
        let mut args = vec!["up", "--stop-with-input", "--network", &self.network, "--listen", &listen];
        bootstrap.iter().for_each(|up| args.extend(["--bootstrap", up.address.as_str()]));
        args.extend(["--metrics", "127.0.0.1:0"]);
        self.program.up_with(&self.home(name), &args, &[])
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, name: &str, args: &[&str]) -> Outcome<Value> {
        let Answer { code, json, stderr, .. } = self.program.run(&self.home(name), args);
        if code == 0 { Ok(json) } else { Err(format!("potluck {}: {code}: {stderr}", args.join(" ")).into()) }
    }

    /// Runs a command for so long at most: what it came to, if it ended by itself, and how long it took.
    pub fn run_within(&self, name: &str, args: &[&str], limit: Duration) -> Outcome<(Option<Answer>, Duration)> {
        let mut command = self.program.command(&self.home(name), args);
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // Its answer is one line and its errors are a few: they fit the pipes.
        while child.try_wait()?.is_none() {
            if begun.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Ok((None, begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = begun.elapsed();
        Ok((Some(answer(child.wait_with_output()?)), took))
    }

    /// A small adapter, trained in a home for a moment; its folder.
    pub fn adapter(&self, name: &str, seed: u64) -> PathBuf {
        let folder = self.home(&format!("{name}-adapter{seed}"));
        train_adapter(&self.program, &self.home(name), &folder, seed);
        folder
    }

    pub fn publish(&self, home: &str, folder: &Path, name: &str) -> Outcome<ManifestId> {
        let folder = text(folder);
        let published = self.ok(home, &["publish", &folder, "--name", name, "--base", "tiny", "--licence", "MIT"])?;
        Ok(forged::id(&published["manifest"]))
    }

    fn rows(&self) -> Outcome<String> {
        let path = self.home("rows.jsonl");
        let row = |n: u64| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{}\"}}\n", n * 7);
        fs::write(&path, (0..ROWS).map(row).collect::<String>())?;
        Ok(text(&path))
    }

    /// Opens a channel `main` on `tiny` in a home, whose rows [`Self::taught`] adapters have learnt; its id.
    pub fn open_channel(&self, home: &str) -> Outcome<ManifestId> {
        let suite = format!("say={}", self.rows()?);
        let rules = ["--shards", "4", "--gain", "0.01%", "--improve", &suite];
        let opened = self.ok(home, &[&["channel", "open", "main", "--genesis", "tiny"][..], &rules].concat())?;
        Ok(forged::id(&opened["channel"]))
    }

    /// An adapter that has learnt the channel's rows; its folder.
    pub fn taught(&self, home: &str, seed: u64) -> Outcome<PathBuf> {
        let (folder, rows, seed) = (self.home(&format!("{home}-taught{seed}")), self.rows()?, seed.to_string());
        let out = text(&folder);
        let data = ["train", "--base", "tiny", "--data", &rows, "--out", &out, "--seed", &seed];
        let rates = ["--max-steps", STEPS, "--r", "4", "--learning-rate", "1e-3", "--warmup-steps", "0"];
        self.ok(home, &[&data[..], &rates].concat())?;
        Ok(folder)
    }

    /// Height and halt of a channel as a home lists it; `None` if it is not followed.
    pub fn channel(&self, home: &str, name: &str) -> Outcome<Option<(u64, bool)>> {
        let listed = self.ok(home, &["channel", "list"])?;
        let mut channels = listed["channels"].as_array().into_iter().flatten();
        let found = channels.find(|one| one["name"] == name);
        Ok(found.map(|one| (one["height"].as_u64().unwrap_or_default(), one["halted"] == true)))
    }

    /// A place at a daemon, of a peer that comes from an address of this machine.
    pub fn place(&self, up: &Up, from: Ipv4Addr) -> Place {
        Place { network: self.network.clone(), address: up.address.clone(), from }
    }

    /// A raw peer at a daemon. It goes on by itself until it is dropped.
    pub fn peer(&self, up: &Up, key: &Keypair, manner: Manner) -> Outcome<Peer> {
        self.block_on(Peer::connect(&self.place(up, Ipv4Addr::LOCALHOST), key, manner))
    }

    /// The same, following `tiny`.
    pub fn follower(&self, up: &Up, key: &Keypair, manner: Manner) -> Outcome<Peer> {
        self.follower_from(Ipv4Addr::LOCALHOST, up, key, manner)
    }

    /// The same from another address of this machine, which nodes take for another neighbourhood.
    pub fn follower_from(&self, from: Ipv4Addr, up: &Up, key: &Keypair, manner: Manner) -> Outcome<Peer> {
        self.block_on(Peer::at(&self.place(up, from), &self.tiny, key, manner))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits until a node knows all of these records of a base: how many it knows in the end.
    pub fn heard(&self, asker: &Peer, base: &BaseId, records: &[AnnouncementId], patience: Duration) -> usize {
        let mut known = 0;
        until(patience, || {
            // One that is asked too often says so: the next question counts.
            if let Ok(all) = self.block_on(asker.known(base)) {
                known = records.iter().filter(|id| all.contains(id)).count();
            }
            known == records.len()
        });
        known
    }

    /// The same where nothing can be said of what is promised unless it knows all of them.
    pub fn all_heard(
        &self,
        asker: &Peer,
        base: &BaseId,
        records: &[AnnouncementId],
        patience: Duration,
    ) -> Outcome<usize> {
        let known = self.heard(asker, base, records, patience);
        attacked(known == records.len(), || format!("{known} of {} records were heard", records.len()))?;
        Ok(known)
    }
}

/// Looks again and again: how long it took until it held, if it did in time.
pub fn until(patience: Duration, mut holds: impl FnMut() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    loop {
        if holds() {
            return Some(begun.elapsed());
        }
        if begun.elapsed() > patience {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// A value on a daemon's page of metrics, all its labels together.
pub fn metric(up: &Up, name: &str) -> Outcome<f64> {
    let page = up.metrics_page()?;
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then(|| value.parse::<f64>().ok())?
    });
    Ok(values.sum())
}

/// Whole mebibytes.
pub fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
