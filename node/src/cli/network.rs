//! `potluck network new-key|show`

use clap::Subcommand;
use serde_json::json;

use super::args::Global;
use super::output;
use crate::config;
use crate::failure::Outcome;
use crate::home::Home;
use crate::home::{Layout, lists, swarm_key};

/// Private networks.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// Make the key of a private network: nodes speak to those that have the same `swarm.key` in their home, and to nobody
    /// else
    NewKey,
    /// Whether this home is in a private network, and who may connect
    Show,
}

pub fn run(global: &Global, verb: &Network) -> Outcome<()> {
    let root = config::home(global.home.as_deref())?;
    match verb {
        Network::NewKey => new_key(global, &Home::open(root)?),
        Network::Show => show(global, &Layout::new(root)),
    }
}

fn new_key(global: &Global, home: &Home) -> Outcome<()> {
    let path = home.layout().swarm_key();
    let fingerprint = swarm_key::create(&path)?.fingerprint().to_string();
    if global.json {
        output::json(&json!({ "schema": "potluck.network.new-key/1", "path": path, "fingerprint": fingerprint }));
    } else {
        output::line(&format!("made {}, fingerprint {fingerprint}", path.display()));
        output::line("copy it to the homes of the other nodes, by a way that nobody else reads; then start them again");
    }
    Ok(())
}

fn show(global: &Global, layout: &Layout) -> Outcome<()> {
    let fingerprint = swarm_key::open(&layout.swarm_key())?.map(|key| key.fingerprint().to_string());
    let allowed = lists::allow(&layout.allow())?;
    let bootstrap = lists::bootstrap(&layout.bootstrap())?;
    if global.json {
        output::json(&json!({
            "schema": "potluck.network.show/1", "fingerprint": fingerprint, "allow": allowed.map(|all| texts(&all)),
            "bootstrap": bootstrap,
        }));
        return Ok(());
    }
    output::line(&match fingerprint {
        Some(fingerprint) => format!("private: swarm.key has fingerprint {fingerprint}"),
        None => "not private: there is no swarm.key (make one with `potluck network new-key`)".to_owned(),
    });
    output::line(&match allowed {
        Some(peers) => format!("{} peers may connect (file `allow`)", peers.len()),
        None => "everybody may connect (there is no file `allow`)".to_owned(),
    });
    bootstrap.iter().for_each(|address| output::line(&format!("bootstrap {address}")));
    Ok(())
}

fn texts(peers: &[libp2p::PeerId]) -> Vec<String> {
    peers.iter().map(ToString::to_string).collect()
}
