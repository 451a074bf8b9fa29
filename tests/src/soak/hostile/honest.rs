//! The honest ones: eight daemons and what their people do with them.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libp2p::identity::{Keypair, ed25519};
use potluck_protocol::id::{BaseId, ManifestId};
use serde_json::Value;

use super::attackers::{Stage, Target};
use super::times::{Times, Usage};
use crate::bases;
use crate::forged;
use crate::hostile::bomb::Like;
use crate::hostile::equivocation::{Liar, offer_late};
use crate::hostile::keys::key;
use crate::hostile::peer::{Manner, Peer};
use crate::hostile::scene::Scene;
use crate::hostile::shelf::Shelf;
use crate::hostile::{Outcome, Setting};
use crate::kit::{Up, text};
use crate::loopback;
use crate::processes;

/// The first one is the steward of a channel that all others follow; the second one proposes, and publishes a base.
pub const NODES: usize = 8;
/// Nodes that fetch the base in the course of the run.
pub const ADDERS: usize = NODES - 2;

/// A command that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);
/// What is later than this is late: what is promised is less.
const PATIENCE: Duration = Duration::from_secs(60);
/// A person who looks for something looks again after so long; each look is a process on a machine that all share.
const LOOK: Duration = Duration::from_millis(250);

/// All of them, with the stewards that will lie.
pub struct Honest {
    scene: Scene,
    nodes: Vec<Up>,
    adapter: PathBuf,
    base: BaseId,
    channel: ManifestId,
    liars: Vec<Liar>,
    /// Everything that liars say goes on being said.
    lying: Vec<Peer>,
    height: u64,
    since: Instant,
    used: Vec<f64>,
    banned: BTreeSet<(usize, String)>,
    times: Times,
}

fn home(n: usize) -> String {
    format!("node{n}")
}

impl Honest {
    /// Eight daemons that know each other, each in a neighbourhood of its own; a channel, and others of so many stewards
    /// who will lie, all followed by everybody; a base that one publishes.
    pub fn start(setting: &Setting, lies: usize) -> Outcome<Self> {
        let scene = Scene::new(setting, "soak")?;
        for n in 0..NODES {
            name(&scene, &home(n))?;
        }
        let channel = scene.open_channel(&home(0))?;
        let adapter = scene.taught(&home(1), 3)?;
        let mut nodes: Vec<Up> = Vec::new();
        for n in 0..NODES {
            let known: Vec<&Up> = nodes.first().into_iter().chain(nodes.last()).collect();
            let up = scene.up_at(loopback::address(92, u8::try_from(n)?), &home(n), &known);
            nodes.push(up);
        }
        let skill = scene.publish(&home(1), &adapter, "skill")?.to_string();
        scene.ok(&home(1), &["channel", "propose", &skill, "--to", &channel.to_string()])?;
        let base = publish_base(&scene, &home(1))?;
        let liar = |n: usize| Liar::new(&format!("{} lying steward {n}", scene.seed), &format!("lies{n}"), scene.tiny);
        let liars = (0..lies).map(liar).collect::<Outcome<Vec<_>>>()?;
        let honest = Self {
            scene,
            nodes,
            adapter,
            base,
            channel,
            liars,
            lying: Vec::new(),
            height: 0,
            since: Instant::now(),
            used: Vec::new(),
            banned: BTreeSet::new(),
            times: Times::default(),
        };
        honest.follow()?;
        Ok(honest)
    }

    /// Everybody follows all channels. Nobody lies yet.
    fn follow(&self) -> Outcome<()> {
        let shelf = Shelf::default();
        for liar in &self.liars {
            shelf.offer(&liar.key, &liar.channel, 1)?;
        }
        let host = key(&format!("{} hosts channels", self.scene.seed))?;
        for (n, up) in self.nodes.iter().enumerate() {
            let host = self.scene.follower_from(loopback::address(91, 0), up, &host, Manner::Serving(shelf.clone()))?;
            let others = self.liars.iter().map(|liar| liar.channel.id);
            // A steward follows its own channel by itself.
            for id in others.chain((n > 0).then_some(self.channel)) {
                self.scene.ok(&home(n), &["channel", "follow", &id.to_string(), "--timeout", "20"])?;
            }
            drop(host);
        }
        Ok(())
    }

    /// What attackers know.
    pub fn stage(&self) -> Outcome<Stage> {
        let target = |up: &Up| Ok(Target { address: up.address.clone(), peer: up.peer.parse()? });
        Ok(Stage {
            network: self.scene.network.clone(),
            seed: self.scene.seed,
            tiny: self.scene.tiny,
            base: self.base,
            channel: self.channel,
            others: self.liars.iter().map(|liar| liar.channel.id).collect(),
            like: Like::of(&self.adapter, self.scene.tiny)?,
            targets: self.nodes.iter().map(target).collect::<Outcome<_>>()?,
        })
    }

    /// From now on everything is measured.
    pub fn begin(&mut self) -> Outcome<()> {
        self.since = Instant::now();
        self.used = self.nodes.iter().map(|up| Ok(processes::processor_seconds(up.pid())?)).collect::<Outcome<_>>()?;
        Ok(())
    }

    /// One publishes; each other one searches for it by name until it is there, and pulls it. They do so one after the
    /// other, in another order each time, because the machine has to run all of them.
    pub fn publish_and_pull(&mut self, cycle: usize) -> Outcome<()> {
        let (publisher, name) = (cycle % NODES, format!("round{cycle}"));
        let id = self.scene.publish(&home(publisher), &self.adapter, &name)?.to_string();
        self.times.publications += 1;
        for n in (1..NODES).map(|n| (publisher + n) % NODES) {
            let begun = Instant::now();
            if !self.finds(n, &name)? {
                self.times.not_found += 1;
                continue;
            }
            self.times.found.push(begun.elapsed().as_secs_f64());
            let args = ["pull", &id, "--timeout", "30"];
            match self.run(n, &args, LIMIT)? {
                Some(_) => self.times.had.push(begun.elapsed().as_secs_f64()),
                None => self.times.pulls_failed += 1,
            }
        }
        Ok(())
    }

    /// Whether a person who searches finds an adapter of that name.
    fn finds(&self, n: usize, name: &str) -> Outcome<bool> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let (answer, _) = self.scene.run_within(&home(n), &["search", name, "--base", "tiny"], LIMIT)?;
            let found = answer.is_some_and(|answer| {
                let results = answer.json["results"].as_array().into_iter().flatten();
                results.into_iter().any(|one| one["name"] == name)
            });
            if found {
                return Ok(true);
            }
            std::thread::sleep(LOOK);
        }
        Ok(false)
    }

    /// A person who does not know better pulls the bomb: it is refused.
    pub fn pull_bomb(&mut self, cycle: usize, bomb: ManifestId) -> Outcome<()> {
        let n = (cycle + NODES / 2) % NODES;
        let (answer, _) = self.scene.run_within(&home(n), &["pull", &bomb.to_string(), "--timeout", "20"], LIMIT)?;
        match answer {
            Some(answer) if answer.code == 0 => self.times.bombs_taken += 1,
            Some(_) => self.times.bombs_refused += 1,
            None => self.times.bombs_taken += 1,
        }
        Ok(())
    }

    /// One more fetches the base.
    pub fn add_base(&mut self, which: usize) -> Outcome<()> {
        let (id, begun) = (self.base.to_string(), Instant::now());
        match self.run(2 + which % ADDERS, &["base", "add", &id, "--timeout", "30"], LIMIT)? {
            Some(_) => self.times.bases.push(begun.elapsed().as_secs_f64()),
            None => self.times.bases_failed += 1,
        }
        Ok(())
    }

    /// The steward looks at what is proposed, and makes a version of the honest proposal if it is new; the first time it
    /// must be.
    pub fn release(&mut self) -> Outcome<()> {
        let args = ["channel", "release", "main", "--timeout", "10"];
        let begun = Instant::now();
        match self.run(0, &args, 3 * LIMIT)? {
            Some(answer) => {
                self.times.releases.push(begun.elapsed().as_secs_f64());
                if answer["released"] == true {
                    self.times.released += 1;
                    self.wait_for_followers(&answer)?;
                }
            }
            None => self.times.releases_failed += 1,
        }
        Ok(())
    }

    /// The steward makes a version: back to genesis, and to the first version again.
    pub fn version(&mut self, nth: usize) -> Outcome<()> {
        let to = (nth % 2).to_string();
        let args = ["channel", "rollback", "main", "--to", &to, "--publish"];
        match self.run(0, &args, LIMIT)? {
            Some(answer) => self.wait_for_followers(&answer),
            None => {
                self.times.not_made += 1;
                Ok(())
            }
        }
    }

    fn wait_for_followers(&mut self, made: &Value) -> Outcome<()> {
        self.height = made["height"].as_u64().ok_or_else(|| format!("a version without a height: {made}"))?;
        self.times.versions += 1;
        let (begun, height) = (Instant::now(), self.height);
        for n in 1..NODES {
            match self.shows(n, "main", begun, |(at, _)| at >= height)? {
                Some(took) => self.times.followed.push(took),
                None => self.times.not_followed += 1,
            }
        }
        Ok(())
    }

    /// One steward lies, each in one of three ways, and everybody has to find out: each half is shown another version; or
    /// somebody encloses both in a proof, and tells one node; or names both in a proof, and tells everybody.
    pub fn lie(&mut self, nth: usize) -> Outcome<()> {
        let Some(liar) = self.liars.get(nth).cloned() else { return Ok(()) };
        let versions = liar.lie()?;
        let prover = key(&format!("{} auditor {nth}", self.scene.seed))?;
        let from = loopback::address(91, 1 + u8::try_from(nth)?);
        match nth % 3 {
            0 => {
                let shelves = [Shelf::default(), Shelf::default()];
                for (shelf, version) in shelves.iter().zip(&versions) {
                    shelf.offer(&liar.key, version, 2)?;
                }
                for n in 0..NODES {
                    let manner = Manner::Serving(shelves[n % 2].clone());
                    self.lying.push(self.scene.follower_from(from, &self.nodes[n], &liar.key, manner)?);
                }
            }
            1 => {
                let shelf = Shelf::default();
                shelf.offer(&prover, &liar.enclose(&prover, &versions)?, 1)?;
                let told = &self.nodes[nth % NODES];
                self.lying.push(self.scene.follower_from(from, told, &prover, Manner::Serving(shelf))?);
            }
            _ => {
                let shelf = Shelf::default();
                versions.iter().for_each(|version| shelf.keep(version));
                offer_late(&shelf, &prover, &liar.name(&prover, &versions)?)?;
                for up in &self.nodes {
                    self.lying.push(self.scene.follower_from(from, up, &prover, Manner::Serving(shelf.clone()))?);
                }
            }
        }
        self.times.proofs += 1;
        self.wait_for_halt(liar.channel.body.name.as_str())
    }

    fn wait_for_halt(&mut self, channel: &str) -> Outcome<()> {
        let begun = Instant::now();
        for n in 0..NODES {
            match self.shows(n, channel, begun, |(_, halted)| halted)? {
                Some(took) => self.times.obeyed.push(took),
                None => self.times.not_obeyed += 1,
            }
        }
        Ok(())
    }

    /// Seconds from a moment until a node shows of a channel what it should; whoever is looked at later may have shown it
    /// before.
    fn shows(
        &self,
        n: usize,
        channel: &str,
        begun: Instant,
        holds: impl Fn((u64, bool)) -> bool,
    ) -> Outcome<Option<f64>> {
        loop {
            if self.scene.channel(&home(n), channel)?.is_some_and(&holds) {
                return Ok(Some(begun.elapsed().as_secs_f64()));
            }
            if begun.elapsed() > PATIENCE {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What a command of a node's answered, if it succeeded in time; otherwise the run's log says how it failed.
    fn run(&self, n: usize, args: &[&str], limit: Duration) -> Outcome<Option<Value>> {
        let (answer, took) = self.scene.run_within(&home(n), args, limit)?;
        match answer {
            Some(answer) if answer.code == 0 => Ok(Some(answer.json)),
            other => {
                let said = other.map_or_else(|| "it did not end".to_owned(), |answer| answer.stderr);
                eprintln!("node {n}: potluck {}: after {took:.1?}: {}", args.join(" "), said.trim());
                Ok(None)
            }
        }
    }

    /// Honest ones that honest ones have banned: a ban lasts ten minutes, and a node writes down which there are every
    /// minute.
    pub fn look_for_bans(&mut self) -> Outcome<()> {
        let peers: BTreeSet<&str> = self.nodes.iter().map(|up| up.peer.as_str()).collect();
        for (n, up) in self.nodes.iter().enumerate() {
            let banned = bans_of(&up.home)?.into_iter().filter(|peer| peers.contains(peer.as_str()));
            self.banned.extend(banned.map(|peer| (n, peer)));
        }
        Ok(())
    }

    /// Of each node, since [`Self::begin`].
    pub fn usage(&self) -> Outcome<Vec<Usage>> {
        let seconds = self.since.elapsed().as_secs_f64();
        let one = |(up, before): (&Up, &f64)| {
            let cores = (processes::processor_seconds(up.pid())? - before) / seconds;
            Ok(Usage { peak_mb: processes::peak_memory(up.pid())? as f64 / 1e6, cores })
        };
        self.nodes.iter().zip(&self.used).map(one).collect()
    }

    /// Ends the daemons; the times.
    pub fn end(mut self) -> Outcome<Times> {
        let homes: Vec<(PathBuf, String)> = self.nodes.iter().map(|up| (up.home.clone(), up.peer.clone())).collect();
        std::mem::take(&mut self.nodes).into_iter().for_each(Up::stop);
        for (n, (home, _)) in homes.iter().enumerate() {
            let banned = bans_of(home)?.into_iter().filter(|one| homes.iter().any(|(_, peer)| peer == one));
            self.banned.extend(banned.map(|peer| (n, peer)));
        }
        Ok(Times { banned: self.banned.len(), ..self.times })
    }
}

/// Makes a home whose key follows from the seed.
fn name(scene: &Scene, home: &str) -> Outcome<()> {
    scene.program.make_home(&scene.home(home));
    let key: ed25519::Keypair = key(&format!("{} honest {home}", scene.seed))?;
    let path = scene.home(home).join("identity.key");
    fs::write(&path, Keypair::from(key).to_protobuf_encoding()?)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}

fn publish_base(scene: &Scene, home: &str) -> Outcome<BaseId> {
    let folder = scene.home("model");
    bases::write(&folder, &["model.norm.weight"], 1);
    let folder = text(&folder);
    let published = scene.ok(home, &["publish", "--base", &folder, "--name", "small", "--licence", "MIT"])?;
    Ok(forged::id(&published["base"]))
}

fn bans_of(home: &Path) -> Outcome<Vec<String>> {
    let Ok(text) = fs::read_to_string(home.join("bans.json")) else { return Ok(Vec::new()) };
    let bans: Value = serde_json::from_str(&text)?;
    let bans = bans.as_array().into_iter().flatten().filter_map(|ban| ban["peer"].as_str());
    Ok(bans.map(str::to_owned).collect())
}
