//! `potluck peers`

use serde::Deserialize;

use super::args::Global;
use super::output::{self, Column, HEAD};
use super::run::ask;
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
        if answer.peers.is_empty() {
            return vec!["no peers".to_owned()];
        }
        // A peer's id and its address together are wider than a terminal: each has a line.
        let row = |peer: &Peer| vec![peer.peer.clone(), output::plain(&peer.agent), peer.route.clone()];
        let rows: Vec<_> = answer.peers.iter().map(row).collect();
        let mut table =
            output::table(&[Column::Id("peer"), Column::Text("agent"), Column::Text("route")], &rows).into_iter();
        let mut lines: Vec<_> = table.by_ref().take(HEAD).collect();
        for (line, peer) in table.zip(&answer.peers) {
            lines.push(line);
            let itself = format!("/p2p/{}", peer.peer);
            lines.push(format!("  {}", peer.address.strip_suffix(&itself).unwrap_or(&peer.address)));
        }
        lines
    })
}
