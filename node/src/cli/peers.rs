//! `potluck peers`

use super::ask::ask;
use super::global::Global;
use super::output::{self, Column, HEAD, Terminal};
use crate::api::answers::{Peer, Peers};
use crate::api::ask::{Ask, AskPeers};
use crate::failure::Outcome;

pub async fn run(global: &Global) -> Outcome<()> {
    output::answer(global, AskPeers::SCHEMA, &ask(global, AskPeers).await?, render)
}

fn render(answer: &Peers, terminal: Terminal) -> Vec<String> {
    if answer.peers.is_empty() {
        return vec!["no peers".to_owned()];
    }
    // A peer's id and its address together are wider than a terminal: each has a line.
    let row = |peer: &Peer| vec![peer.peer.clone(), output::plain(&peer.agent), peer.route.name().to_owned()];
    let rows: Vec<_> = answer.peers.iter().map(row).collect();
    let columns = [Column::Id("peer"), Column::Text("agent"), Column::Text("route")];
    let mut table = output::table(&columns, &rows, terminal).into_iter();
    let mut lines: Vec<_> = table.by_ref().take(HEAD).collect();
    for (line, peer) in table.zip(&answer.peers) {
        lines.push(line);
        let itself = format!("/p2p/{}", peer.peer);
        lines.push(format!("  {}", peer.address.strip_suffix(&itself).unwrap_or(&peer.address)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answers::Route;
    use crate::cli::snapshots::{check, check_table};

    #[test]
    fn what_is_seen() {
        let peer = |peer: &str, agent: &str, route| Peer {
            peer: peer.to_owned(),
            address: format!("/ip4/192.0.2.7/tcp/7740/p2p/{peer}"),
            agent: agent.to_owned(),
            route,
            connected_seconds: 7,
        };
        let peers = vec![
            peer("12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo", "potluck/0.1.0", Route::Direct),
            peer("12D3KooWLJtG8fd2hkQzTn96MrLvThmnNQjTUFZwGEsLRz5EmSzc", "a\u{1b}[2Jb/9", Route::Relayed),
        ];
        check_table("peers", |terminal| render(&Peers { peers: peers.clone() }, terminal));
        check("peers-none", |terminal| render(&Peers { peers: Vec::new() }, terminal));
    }
}
