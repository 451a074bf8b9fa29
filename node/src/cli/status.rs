//! `potluck status`

use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::Request;
use crate::failure::Outcome;

#[derive(Deserialize)]
struct Status {
    running: bool,
    peer: String,
    home: String,
    network: Option<String>,
    addresses: Vec<String>,
    peers: usize,
    adapters: usize,
    heard: usize,
    bases: usize,
    store_bytes: u64,
}

pub async fn run(global: &Global) -> Outcome<()> {
    output::answer(global, ask(global, &Request::Status).await?, |status: Status| {
        let state = match &status.network {
            Some(network) if status.running => format!("up on network `{network}`, {} peers", status.peers),
            _ => "not running (start it with `potluck up`)".to_owned(),
        };
        let mut lines = vec![format!("{} {state}", status.peer), format!("home {}", status.home)];
        lines.extend(status.addresses.iter().map(|address| format!("listening on {address}")));
        lines.push(format!(
            "{} adapters held ({}), {} heard of, {} bases",
            status.adapters,
            output::bytes(status.store_bytes),
            status.heard,
            status.bases
        ));
        lines
    })
}
