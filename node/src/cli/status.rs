//! `potluck status`

use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask, store};
use crate::api::proto::Request;
use crate::failure::Outcome;
use crate::store::Held;

#[derive(Deserialize)]
struct Status {
    running: bool,
    /// `None` where there is no home yet.
    peer: Option<String>,
    home: String,
    network: Option<String>,
    addresses: Vec<String>,
    reachability: Option<String>,
    relays: Vec<String>,
    relaying: bool,
    peers: usize,
    #[serde(default)]
    bootstrap: Vec<Bootstrap>,
    #[serde(default)]
    twin: Option<String>,
    held: Held,
    heard: usize,
    bases: usize,
    store_bytes: u64,
}

#[derive(Deserialize)]
struct Bootstrap {
    address: String,
    state: String,
    #[serde(default)]
    reason: String,
}

pub async fn run(global: &Global) -> Outcome<()> {
    output::answer(global, ask(global, &Request::Status).await?, |status: Status| {
        let state = match &status.network {
            Some(network) if status.running => format!("up on network `{network}`, {} peers", status.peers),
            _ => "not running (start it with `potluck up`)".to_owned(),
        };
        let Some(peer) = &status.peer else {
            return vec![format!("no home yet at {}: the first command that keeps something makes it", status.home)];
        };
        let mut lines = vec![format!("{peer} {state}"), format!("home {}", status.home)];
        lines.extend(status.addresses.iter().map(|address| format!("listening on {address}")));
        lines.extend(status.bootstrap.iter().filter_map(begun));
        lines.extend(status.twin.iter().map(|twin| format!("{twin}: nothing is published while both run")));
        lines.extend(reached(&status));
        lines.push(format!(
            "{} ({}); {} announcements heard; {} bases known",
            store::held(&status.held),
            output::bytes(status.store_bytes),
            status.heard,
            status.bases
        ));
        lines
    })
}

/// What is to be known of a bootstrap address.
fn begun(one: &Bootstrap) -> Option<String> {
    match one.state.as_str() {
        "fails" => Some(format!("bootstrap peer {} cannot be reached: {}", one.address, one.reason)),
        "untried" => Some(format!("bootstrap peer {} is being dialled", one.address)),
        _ => None,
    }
}

/// How others reach a node that runs.
fn reached(status: &Status) -> Vec<String> {
    let text = match status.reachability.as_deref() {
        Some("public") => "others reach this node",
        Some("private") if status.relays.is_empty() => {
            "others cannot reach this node, and no relay is known: it connects to others only"
        }
        Some("private") => "others cannot reach this node but through relays",
        Some(_) => "not known yet whether others reach this node",
        None => return Vec::new(),
    };
    let mut lines = vec![text.to_owned()];
    lines.extend(status.relays.iter().map(|relay| format!("reached through relay {relay}")));
    lines.extend(status.relaying.then(|| "relaying for others".to_owned()));
    lines
}
