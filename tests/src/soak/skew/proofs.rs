//! Stewards that sign two versions for one height, among nodes of two versions of the program: who finds out, from what
//! either version can read, and that nobody but the steward is blamed.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use potluck_protocol::id::BaseId;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{NETWORK, Node};
use crate::forged;
use crate::hostile::Outcome;
use crate::hostile::equivocation::Liar;
use crate::hostile::keys::key;
use crate::hostile::peer::{Manner, Peer, Place};
use crate::hostile::shelf::Shelf;

/// A channel is halted by then, or is not.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

/// How it comes out.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Half of the nodes, one of each version, are shown one version, and half another one. They find out by themselves,
    /// and say so.
    Shown,
    /// Somebody names both in a proof, as every version of the program can read it.
    Named,
    /// Somebody encloses both in a proof, which versions before decision 0022 cannot read. Nobody hands out the versions.
    Enclosed,
}

const WAYS: [Way; 3] = [Way::Shown, Way::Named, Way::Enclosed];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Named => "named",
            Self::Enclosed => "enclosed",
        }
    }
}

/// Which nodes halted which channel, and what does not hold of it.
pub fn run(nodes: &[Node], seed: u64) -> Outcome<(Value, Vec<String>)> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tiny: BaseId = forged::id(&nodes.first().ok_or("there are nodes")?.ok(&["base", "show", "tiny"])?["base"]);
    let (mut figures, mut short) = (json!({}), Vec::new());
    for way in WAYS {
        let halted = halted(nodes, &runtime, way, &format!("{seed} {}", way.name()), tiny)?;
        for (node, halted) in nodes.iter().zip(&halted) {
            let must = node.is_new() || !matches!(way, Way::Enclosed);
            if must && halted.is_none() {
                short.push(format!("{} has not halted the channel whose proof is {}", node.name, way.name()));
            }
        }
        let all = nodes.iter().zip(&halted).map(|(node, halted)| (node.name.to_owned(), json!(halted)));
        figures[way.name()] = all.collect();
    }
    Ok((figures, short))
}

/// Seconds until each node has halted the channel, if it has.
fn halted(nodes: &[Node], runtime: &Runtime, way: Way, seed: &str, tiny: BaseId) -> Outcome<Vec<Option<f64>>> {
    let liar = Liar::new(&format!("{seed} steward"), way.name(), tiny)?;
    let shelf = Shelf::default();
    shelf.offer(&liar.key, &liar.channel, 1)?;
    let tell = |n: usize, who: &str, shelf: &Shelf| -> Outcome<Peer> {
        let key = if who == "steward" { liar.key.clone() } else { key(&format!("{seed} {who}"))? };
        let address = nodes[n].up.address.clone();
        let place = Place { network: NETWORK.to_owned(), address, from: Ipv4Addr::LOCALHOST };
        runtime.block_on(Peer::at(&place, &tiny, &key, Manner::Serving(shelf.clone())))
    };
    let hosts = (0..nodes.len()).map(|n| tell(n, "host", &shelf)).collect::<Outcome<Vec<_>>>()?;
    for node in nodes {
        node.until(&["channel", "follow", &liar.channel.id.to_string()], |_| true)?;
    }
    drop(hosts);
    let (versions, prover) = (liar.lie()?, key(&format!("{seed} auditor"))?);
    let mut telling = Vec::new();
    match way {
        Way::Shown => {
            for (which, version) in versions.iter().enumerate() {
                let shelf = Shelf::default();
                shelf.offer(&liar.key, version, 2)?;
                for n in halves(nodes, which) {
                    telling.push(tell(n, "steward", &shelf)?);
                }
            }
        }
        Way::Named | Way::Enclosed => {
            let shelf = Shelf::default();
            let proof = if matches!(way, Way::Named) {
                versions.iter().for_each(|version| shelf.keep(version));
                liar.name(&prover, &versions)?
            } else {
                liar.enclose(&prover, &versions)?
            };
            shelf.offer(&prover, &proof, 1)?;
            for n in 0..nodes.len() {
                telling.push(tell(n, "auditor", &shelf)?);
            }
        }
    }
    let begun = Instant::now();
    nodes.iter().map(|node| wait(node, way.name(), begun)).collect()
}

/// One node of each version.
fn halves(nodes: &[Node], which: usize) -> impl Iterator<Item = usize> + '_ {
    [true, false].into_iter().filter_map(move |new| (0..nodes.len()).filter(|n| nodes[*n].is_new() == new).nth(which))
}

fn wait(node: &Node, channel: &str, begun: Instant) -> Outcome<Option<f64>> {
    loop {
        let listed = node.ok(&["channel", "list"])?;
        let mut channels = listed["channels"].as_array().into_iter().flatten();
        if channels.any(|one| one["name"] == channel && one["halted"] == true) {
            return Ok(Some(begun.elapsed().as_secs_f64()));
        }
        if begun.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
