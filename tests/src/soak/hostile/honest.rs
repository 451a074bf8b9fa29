//! The honest ones: eight daemons and what their people do with them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::{BaseId, ManifestId};
use serde_json::Value;

use super::attackers::{Stage, Target};
use crate::bases;
use crate::forged;
use crate::hostile::bomb::Like;
use crate::hostile::junk_proofs::tell_truth;
use crate::hostile::keys::key;
use crate::hostile::peer::{Manner, Peer};
use crate::hostile::scene::{Scene, mib, until};
use crate::hostile::shelf::Shelf;
use crate::hostile::{Outcome, Setting, signed};
use crate::kit::{Up, text};
use crate::processes;

const NODES: usize = 8;
/// The first one is the steward, the second one proposes; these follow.
const FOLLOWERS: std::ops::Range<usize> = 2..6;

/// A command that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);
/// News that come later have not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long everything took, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Times {
    pub publications: usize,
    pub pulls: Vec<f64>,
    pub pulls_failed: usize,
    pub bases: Vec<f64>,
    pub bases_failed: usize,
    pub release: Option<f64>,
    pub released: bool,
    pub versions: usize,
    pub followed: Vec<f64>,
    pub not_followed: usize,
    pub obeyed: Vec<f64>,
    pub not_obeyed: usize,
}

/// What one node cost.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub peak_mib: u64,
    pub cores: f64,
}

pub struct Honest {
    scene: Scene,
    nodes: Vec<Up>,
    adapter: PathBuf,
    base: BaseId,
    channel: ManifestId,
    /// A second channel, whose steward lies in the end.
    helpers: ManifestId,
    liar: Keypair,
    /// Its steward's peers at the followers.
    stewards: Vec<Peer>,
    height: u64,
    since: Instant,
    used: Vec<f64>,
    times: Times,
}

fn home(n: usize) -> String {
    format!("node{n}")
}

impl Honest {
    /// Eight daemons that know each other, a channel that four of them follow, a base that one publishes.
    pub fn start(setting: &Setting) -> Outcome<Self> {
        let scene = Scene::new(setting, "soak")?;
        let channel = scene.open_channel(&home(0))?;
        let adapter = scene.taught(&home(1), 3)?;
        let mut nodes: Vec<Up> = Vec::new();
        for n in 0..NODES {
            let known: Vec<&Up> = nodes.first().into_iter().chain(nodes.last()).collect();
            let up = scene.up(&home(n), &known);
            nodes.push(up);
        }
        let skill = scene.publish(&home(1), &adapter, "skill")?.to_string();
        scene.ok(&home(1), &["channel", "propose", &skill, "--to", &channel.to_string()])?;
        let folder = scene.home("model");
        bases::write(&folder, &["model.norm.weight"], 1);
        let published =
            scene.ok(&home(1), &["publish", "--base", &text(&folder), "--name", "small", "--licence", "MIT"])?;
        let liar = key(&format!("{} helpers", scene.seed))?;
        let helpers = signed::manifest(&liar, "helpers", forged::channel(scene.tiny, None), Vec::new(), 1)?;
        let shelf = Shelf::default();
        shelf.offer(&liar, &helpers, 1)?;
        let mut stewards = Vec::new();
        for n in FOLLOWERS {
            stewards.push(scene.follower(&nodes[n], &liar, Manner::Serving(shelf.clone()))?);
            for id in [channel, helpers.id] {
                scene.ok(&home(n), &["channel", "follow", &id.to_string()])?;
            }
        }
        let base = forged::id(&published["base"]);
        Ok(Self {
            used: Vec::new(),
            since: Instant::now(),
            times: Times::default(),
            height: 0,
            helpers: helpers.id,
            scene,
            nodes,
            adapter,
            base,
            channel,
            liar,
            stewards,
        })
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
            helpers: self.helpers,
            like: Like::of(&self.adapter, self.scene.tiny)?,
            targets: self.nodes.iter().map(target).collect::<Outcome<_>>()?,
        })
    }

    /// From now on everything is measured. The first version is made.
    pub fn begin(&mut self) -> Outcome<()> {
        self.since = Instant::now();
        self.used = self.nodes.iter().map(|up| Ok(processes::processor_seconds(up.pid())?)).collect::<Outcome<_>>()?;
        // Attackers have a moment to come.
        std::thread::sleep(Duration::from_secs(10));
        let args = ["channel", "release", "main", "--timeout", "10"];
        let (answer, took) = self.scene.run_within(&home(0), &args, 3 * LIMIT)?;
        self.times.release = answer.as_ref().map(|_| took.as_secs_f64());
        self.times.released = answer.is_some_and(|answer| answer.json["released"] == true);
        if self.times.released {
            self.height = 1;
            self.wait_for_followers();
        }
        Ok(())
    }

    /// One publishes, all others pull.
    pub fn publish_and_pull(&mut self, cycle: usize) -> Outcome<()> {
        let publisher = cycle % NODES;
        let id = self.scene.publish(&home(publisher), &self.adapter, &format!("round{cycle}"))?.to_string();
        self.times.publications += 1;
        for n in (0..NODES).filter(|n| *n != publisher) {
            let (answer, took) = self.scene.run_within(&home(n), &["pull", &id, "--timeout", "30"], LIMIT)?;
            match answer {
                Some(answer) if answer.code == 0 => self.times.pulls.push(took.as_secs_f64()),
                _ => self.times.pulls_failed += 1,
            }
        }
        Ok(())
    }

    /// In each of the first cycles one more fetches the base.
    pub fn add_base(&mut self, cycle: usize) -> Outcome<()> {
        let n = cycle + 2;
        if n < NODES {
            let args = ["base", "add", &self.base.to_string(), "--timeout", "30"];
            let (answer, took) = self.scene.run_within(&home(n), &args, LIMIT)?;
            match answer {
                Some(answer) if answer.code == 0 => self.times.bases.push(took.as_secs_f64()),
                _ => self.times.bases_failed += 1,
            }
        }
        Ok(())
    }

    /// The steward makes a version: back to genesis, and to the first version again.
    pub fn release(&mut self, cycle: usize) -> Outcome<()> {
        if !self.times.released {
            return Ok(());
        }
        let to = ((cycle / 2) % 2).to_string();
        let args = ["channel", "rollback", "main", "--to", &to, "--publish"];
        let (answer, _) = self.scene.run_within(&home(0), &args, LIMIT)?;
        match answer {
            Some(answer) if answer.code == 0 => self.height += 1,
            other => eprintln!("no version was made: {other:?}"),
        }
        self.wait_for_followers();
        Ok(())
    }

    fn wait_for_followers(&mut self) {
        self.times.versions += 1;
        let begun = Instant::now();
        for n in FOLLOWERS {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let here = || self.scene.channel(&home(n), "main").ok().flatten().is_some_and(|at| at.0 == self.height);
            match until(left, here) {
                Some(_) => self.times.followed.push(begun.elapsed().as_secs_f64()),
                None => self.times.not_followed += 1,
            }
        }
    }

    /// The other steward signs two versions for one height; somebody who has seen both says so.
    pub fn prove(&mut self) -> Outcome<()> {
        self.stewards.clear();
        let (auditor, shelf) = (key(&format!("{} auditor", self.scene.seed))?, Shelf::default());
        tell_truth(&shelf, &auditor, &self.liar, self.scene.tiny, self.helpers)?;
        let mut auditors = Vec::new();
        for n in FOLLOWERS {
            auditors.push(self.scene.follower(&self.nodes[n], &auditor, Manner::Serving(shelf.clone()))?);
        }
        let begun = Instant::now();
        for n in FOLLOWERS {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let halted = || self.scene.channel(&home(n), "helpers").ok().flatten().is_some_and(|at| at.1);
            match until(left, halted) {
                Some(_) => self.times.obeyed.push(begun.elapsed().as_secs_f64()),
                None => self.times.not_obeyed += 1,
            }
        }
        Ok(())
    }

    /// Of each node, since [`Self::begin`].
    pub fn usage(&self) -> Outcome<Vec<Usage>> {
        let seconds = self.since.elapsed().as_secs_f64();
        let one = |(up, before): (&Up, &f64)| {
            let cores = (processes::processor_seconds(up.pid())? - before) / seconds;
            Ok(Usage { peak_mib: mib(processes::peak_memory(up.pid())?), cores })
        };
        self.nodes.iter().zip(&self.used).map(one).collect()
    }

    /// Ends the daemons; the times, and how often an honest node is banned by another one.
    pub fn end(self) -> Outcome<(Times, usize)> {
        let peers: BTreeSet<String> = self.nodes.iter().map(|up| up.peer.clone()).collect();
        let mut banned = 0;
        for up in self.nodes {
            let file = up.home.join("bans.json");
            up.stop();
            let Ok(text) = fs::read_to_string(file) else { continue };
            let bans: Value = serde_json::from_str(&text)?;
            let bans = bans.as_array().into_iter().flatten().filter_map(|ban| ban["peer"].as_str());
            banned += bans.filter(|peer| peers.contains(*peer)).count();
        }
        Ok((self.times, banned))
    }
}
