//! `potluck peers`

use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::Request;
use crate::failure::Outcome;

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    peer: String,
    address: String,
    agent: String,
    /// `direct` or `relayed`.
    route: String,
}

pub async fn run(global: &Global) -> Outcome<()> {
    output::answer(global, ask(global, &Request::Peers).await?, |answer: Peers| {
        let rows: Vec<_> =
            answer.peers.into_iter().map(|peer| vec![peer.peer, peer.agent, peer.route, peer.address]).collect();
        if rows.is_empty() {
            vec!["no peers".to_owned()]
        } else {
            output::table(&["peer", "agent", "route", "address"], &rows)
        }
    })
}
