//! `potluck status`

use super::global::Global;
use super::{ask::ask, output, store};
use crate::api::answers::{Bootstrap, Status};
use crate::api::ask::{Ask, AskStatus};
use crate::failure::Outcome;
use crate::net::Health;
use crate::net::nat::Reachability;

pub async fn run(global: &Global) -> Outcome<()> {
    output::answer(global, AskStatus::SCHEMA, &ask(global, AskStatus).await?, |status, _| render(status))
}

fn render(status: &Status) -> Vec<String> {
    let home = status.home.display();
    let state = match &status.network {
        Some(network) if status.running => format!("up on network `{network}`, {} peers", status.peers),
        _ => "not running (start it with `potluck up`)".to_owned(),
    };
    let Some(peer) = &status.peer else {
        return vec![format!("no home yet at {home}: the first command that stores something creates it")];
    };
    let mut lines = vec![format!("{peer} {state}"), format!("home {home}")];
    lines.extend(status.addresses.iter().map(|address| format!("listening on {address}")));
    lines.extend(status.bootstrap.iter().filter_map(render_bootstrap));
    lines.extend(status.twin.iter().map(|twin| format!("{twin}: nothing is published while both run")));
    lines.extend(render_reachability(status));
    lines.push(format!(
        "{} ({}); {} announcements heard; {} bases known",
        store::held(&status.held),
        output::bytes(status.shard_bytes),
        status.heard,
        status.bases
    ));
    lines
}

/// What is to be known of a bootstrap address; nothing of one that works.
fn render_bootstrap(one: &Bootstrap) -> Option<String> {
    match &one.health {
        Health::Fails { reason } => Some(format!("bootstrap peer {} cannot be reached: {reason}", one.address)),
        Health::Untried => Some(format!("bootstrap peer {} is being dialled", one.address)),
        Health::Works | Health::Own => None,
    }
}

/// How others reach a node that runs.
fn render_reachability(status: &Status) -> Vec<String> {
    let text = match status.reachability {
        Some(Reachability::Public) => "others reach this node",
        Some(Reachability::Private) if status.relays.is_empty() => {
            "others cannot reach this node, and no relay is known: it connects to others only"
        }
        Some(Reachability::Private) => "others can reach this node only through relays",
        Some(Reachability::Unknown) => "not known yet whether others can reach this node",
        None => return Vec::new(),
    };
    let mut lines = vec![text.to_owned()];
    lines.extend(status.relays.iter().map(|relay| format!("reached through relay {relay}")));
    lines.extend(status.relaying.then(|| "relaying for others".to_owned()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::check;

    fn status() -> Status {
        Status {
            running: false,
            pid: 7,
            peer: Some("12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo".to_owned()),
            home: "/home/me/.local/share/potluck".into(),
            network: None,
            addresses: Vec::new(),
            peers: 0,
            bootstrap: Vec::new(),
            twin: None,
            reachability: None,
            external: None,
            relays: Vec::new(),
            relaying: false,
            held: crate::store::Held { manifests: 3, adapters: 2, channels: 1, ..crate::store::Held::default() },
            adapters: 2,
            heard: 12,
            bases: 2,
            shard_bytes: 5 << 20,
        }
    }

    #[test]
    fn what_is_seen() {
        let address = |text: &str| text.parse::<libp2p::Multiaddr>().expect("an address");
        let bootstrap = |health, text| Bootstrap { health, address: address(text) };
        let up = Status {
            running: true,
            network: Some("main".to_owned()),
            addresses: vec![address("/ip4/192.0.2.7/tcp/7740")],
            peers: 4,
            bootstrap: vec![
                bootstrap(Health::Works, "/ip4/192.0.2.1/tcp/7740"),
                bootstrap(Health::Untried, "/ip4/192.0.2.2/tcp/7740"),
                bootstrap(Health::Fails { reason: "connection refused".to_owned() }, "/ip4/192.0.2.3/tcp/7740"),
            ],
            reachability: Some(Reachability::Private),
            relays: vec!["12D3KooWLJtG8fd2hkQzTn96MrLvThmnNQjTUFZwGEsLRz5EmSzc".to_owned()],
            ..status()
        };
        check("status", |_| render(&up));
        check("status-not-running", |_| render(&status()));
        check("status-no-home", |_| render(&Status { peer: None, ..status() }));
    }
}
