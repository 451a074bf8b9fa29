//! `potluck network new-key|show`

use clap::Subcommand;

use super::global::Global;
use super::output;
use crate::api::answers::{NetworkKey, NetworkShown};
use crate::config;
use crate::failure::Outcome;
use crate::home::Home;
use crate::home::{Layout, lists, swarm_key};

/// Private networks.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// Create the key of a private network: nodes connect only to nodes with the same `swarm.key` in their home
    NewKey,
    /// Show whether this home is in a private network, and which peers may connect
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
    let made = NetworkKey { path, fingerprint };
    output::answer(global, NetworkKey::SCHEMA, &made, |made, _| render_key(made))
}

fn render_key(made: &NetworkKey) -> Vec<String> {
    vec![
        format!("made {}, fingerprint {}", made.path.display(), made.fingerprint),
        "copy it to the homes of the other nodes over a secure channel, then restart them".to_owned(),
    ]
}

fn show(global: &Global, layout: &Layout) -> Outcome<()> {
    let shown = NetworkShown {
        fingerprint: swarm_key::open(&layout.swarm_key())?.map(|key| key.fingerprint().to_string()),
        allow: lists::allow(&layout.allow())?.map(|peers| peers.iter().map(ToString::to_string).collect()),
        bootstrap: lists::bootstrap(&layout.bootstrap())?,
    };
    output::answer(global, NetworkShown::SCHEMA, &shown, |shown, _| render(shown))
}

fn render(shown: &NetworkShown) -> Vec<String> {
    let private = match &shown.fingerprint {
        Some(fingerprint) => format!("private: swarm.key has fingerprint {fingerprint}"),
        None => "not private: there is no swarm.key (make one with `potluck network new-key`)".to_owned(),
    };
    let allowed = match &shown.allow {
        Some(peers) => format!("{} peers may connect (file `allow`)", peers.len()),
        None => "everybody may connect (there is no file `allow`)".to_owned(),
    };
    let bootstrap = shown.bootstrap.iter().map(|address| format!("bootstrap {address}"));
    [private, allowed].into_iter().chain(bootstrap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::check;

    #[test]
    fn what_is_seen() {
        let made = NetworkKey { path: "/home/me/potluck/swarm.key".into(), fingerprint: "0123456789abcdef".to_owned() };
        check("network-new-key", |_| render_key(&made));
        let shown = NetworkShown {
            fingerprint: Some(made.fingerprint.clone()),
            allow: Some(vec!["12D3KooW".to_owned()]),
            bootstrap: vec!["/ip4/192.0.2.7/tcp/7740".parse().expect("an address")],
        };
        check("network-show", |_| render(&shown));
        let open = NetworkShown { fingerprint: None, allow: None, bootstrap: Vec::new() };
        check("network-show-open", |_| render(&open));
    }
}
