//! Two versions of the program side by side: two daemons of the old one and two of this one publish, pull from each other,
//! propose to each other's channels and follow them, through a revocation, and learn that other stewards lie. Nobody is
//! blamed for anything but those stewards.
//!
//! All four do the same at every step, so that each question and each announcement goes both ways.

mod proofs;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::copies::blamed;
use crate::crash;
use crate::hostile::Outcome;
use crate::kit::{Answer, Program, Up};
use crate::taught::{SKILLS, Skills, string};

/// The soak's name.
pub const NAME: &str = "skew";

const NETWORK: &str = "skew";
/// For slow machines.
const PATIENCE: Duration = Duration::from_secs(180);

/// A daemon of one of the two versions, and the adapter that it publishes.
struct Node {
    name: &'static str,
    program: Program,
    up: Up,
    adapter: String,
}

impl Node {
    fn is_new(&self) -> bool {
        self.name.starts_with("new")
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.up.home, args)
    }

    fn ok(&self, args: &[&str]) -> Outcome<Value> {
        let answer = self.run(args);
        if answer.code == 0 { Ok(answer.json) } else { Err(format!("{}: {args:?}: {answer:#?}", self.name).into()) }
    }

    /// Runs a command until its answer is wanted: news travels by itself.
    fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let start = Instant::now();
        loop {
            let answer = self.run(args);
            if answer.code == 0 && wanted(&answer.json) {
                return Ok(answer.json);
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{}: {args:?} did not come to what is wanted: {answer:#?}", self.name).into());
            }
        }
    }
}

/// Without another program there is nothing to compare with.
pub fn alone(_seed: u64) -> crash::Outcome<Value> {
    Err("say which program runs beside this one: --old PATH, e.g. of the last release".into())
}

/// The seed chooses who starts first, who is whose steward, and the keys of those who lie.
pub fn run(seed: u64, old: &Path) -> crash::Outcome<Value> {
    let found = side_by_side(seed, old).map_err(|error| -> Box<dyn Error> { error });
    let (figures, short) = found?;
    if short.is_empty() {
        return Ok(figures);
    }
    println!("{figures}");
    Err(format!("what is promised does not hold: {}", short.join("; ")).into())
}

fn side_by_side(seed: u64, old: &Path) -> Outcome<(Value, Vec<String>)> {
    let start = Instant::now();
    let old = Program::new(old.to_str().ok_or("the path of the old program is not UTF-8")?);
    let this = Program::this()?;
    let root = tempfile::tempdir()?;
    let versions = [&old, &this].map(|program| version(program, root.path()));
    let skills = Skills::train(&this);
    let mut nodes = nodes(&[("old-1", &old), ("new-1", &this), ("old-2", &old), ("new-2", &this)], seed, root.path())?;
    for (node, skill) in nodes.iter_mut().zip(SKILLS) {
        node.adapter = skills.publish(&node.program, &node.up.home, &skills.adapter(skill), skill);
    }
    let pulls = pull_all(&nodes)?;
    let follows = (0..nodes.len())
        .map(|steward| channel(&nodes, steward, &skills, "of"))
        .collect::<Outcome<Vec<usize>>>()?
        .into_iter()
        .sum::<usize>();
    // Last: who cannot read a proof must be able to go on after it, and is asked to once more.
    let mut short = blames(&nodes, "before any proof")?;
    let (proofs, not_obeyed) = proofs::run(&nodes, seed)?;
    short.extend(not_obeyed);
    short.extend(blames(&nodes, "after the proofs")?);
    let again = channel(&nodes, 0, &skills, "again")?;
    let figures = json!({
        "old": versions[0], "new": versions[1], "pulls": pulls, "channels": nodes.len() + 1,
        "follows": follows + again, "proofs_obeyed_s": proofs, "short": short.clone(),
        "seconds": start.elapsed().as_secs(),
    });
    Ok((figures, short))
}

/// What nodes have blamed others for.
fn blames(nodes: &[Node], when: &str) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for node in nodes {
        let blamed = blamed(&node.up)?;
        all.extend(blamed.into_iter().map(|what| format!("{when} {} has blamed somebody: {what}", node.name)));
    }
    Ok(all)
}

fn version(program: &Program, root: &Path) -> String {
    program.run(root, ["--version"]).stdout.trim().to_owned()
}

/// Each knows one of its own version and one of the other at most.
fn nodes(all: &[(&'static str, &Program); 4], seed: u64, root: &Path) -> Outcome<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for n in 0..all.len() {
        let (name, program) = all[(n + seed as usize) % all.len()];
        let known: Vec<&str> = nodes.iter().rev().take(2).map(|node| node.up.address.as_str()).collect();
        let mut args = vec!["up", "--stop-with-input", "--network", NETWORK, "--listen", "/ip4/127.0.0.1/tcp/0"];
        known.iter().for_each(|address| args.extend(["--bootstrap", address]));
        args.extend(["--metrics", "127.0.0.1:0"]);
        let up = program.up_with(&root.join(name), &args, &[]);
        nodes.push(Node { name, program: program.clone(), up, adapter: String::new() });
    }
    Ok(nodes)
}

/// Everybody has what everybody published; how many pulls that took.
fn pull_all(nodes: &[Node]) -> Outcome<usize> {
    let mut pulls = 0;
    for node in nodes {
        for other in nodes.iter().filter(|other| other.name != node.name) {
            node.until(&["pull", &other.adapter], |_| true)?;
            node.ok(&["verify", &other.adapter])?;
            pulls += 1;
        }
    }
    Ok(pulls)
}

/// One opens a channel, the next one proposes to it, and all others follow its first version, and its second one, which
/// revokes what the first one took; how many.
fn channel(nodes: &[Node], steward: usize, skills: &Skills, prefix: &str) -> Outcome<usize> {
    let name = format!("{prefix}-{}", nodes[steward].name);
    let open = skills.open(&name, 2);
    let opened = nodes[steward].ok(&open.iter().map(String::as_str).collect::<Vec<_>>())?;
    let (id, proposer) = (string(&opened, "channel"), &nodes[(steward + 1) % nodes.len()]);
    proposer.until(&["channel", "propose", &proposer.adapter, "--to", &id], |_| true)?;
    nodes[steward].until(&["channel", "release", &name], |released| released["version"].is_string())?;
    let followers = nodes.iter().enumerate().filter(|(n, _)| *n != steward);
    let mut follows = 0;
    for (_, follower) in followers {
        follower.until(&["channel", "follow", &id], |_| true)?;
        follower.until(&["channel", "update", &name], |updated| updated["height"] == 1)?;
        follows += 1;
    }
    nodes[steward].ok(&["channel", "revoke", &name, &proposer.adapter])?;
    for (_, follower) in nodes.iter().enumerate().filter(|(n, _)| *n != steward) {
        follower.until(&["channel", "update", &name], |updated| updated["height"] == 2)?;
    }
    Ok(follows)
}
