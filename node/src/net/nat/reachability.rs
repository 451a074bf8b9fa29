//! Whether this node can be reached from outside.

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::limits::{EXTERNAL, VERDICT};
use crate::addresses::is_relayed;

/// What is known of our own reachability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// No peer that probes has answered yet.
    Unknown,
    /// Under one confirmed address at least.
    Public,
    /// Peers that tried could not: relays are needed.
    Private,
}

/// The evidence.
#[derive(Debug)]
pub struct ReachabilityEvidence {
    behind_nat: bool,
    confirmed: Vec<Multiaddr>,
    /// Since when a peer that probes is known.
    probed_since: Option<Instant>,
    /// A probe came to the verdict that an address cannot be reached.
    refused: bool,
}

impl ReachabilityEvidence {
    /// `behind_nat`: nothing is to be found out.
    pub fn new(behind_nat: bool) -> Self {
        Self { behind_nat, confirmed: Vec::new(), probed_since: None, refused: false }
    }

    /// An address is confirmed; `true` if this is news. // I12
    pub fn confirm(&mut self, address: &Multiaddr) -> bool {
        if is_relayed(address) || self.confirmed.contains(address) || self.confirmed.len() >= EXTERNAL {
            return false;
        }
        self.confirmed.push(address.clone());
        true
    }

    /// An address was not confirmed again.
    pub fn expire(&mut self, address: &Multiaddr) {
        self.confirmed.retain(|known| known != address);
    }

    /// A peer that probes, or relays, is connected.
    pub fn note_prober(&mut self, now: Instant) {
        self.probed_since.get_or_insert(now);
    }

    /// A probe could not reach us.
    pub fn refuse(&mut self) {
        self.refused = true;
    }

    /// The addresses that were confirmed, none through a relay.
    pub fn confirmed(&self) -> &[Multiaddr] {
        &self.confirmed
    }

    /// What the evidence says at that moment.
    pub fn state(&self, now: Instant) -> Reachability {
        let waited = self.verdict_at().is_some_and(|at| at <= now);
        match (self.behind_nat, self.confirmed.is_empty()) {
            (false, false) => Reachability::Public,
            (true, _) => Reachability::Private,
            (false, true) if self.refused || waited => Reachability::Private,
            (false, true) => Reachability::Unknown,
        }
    }

    /// When silence becomes a verdict.
    pub fn verdict_at(&self) -> Option<Instant> {
        self.probed_since.map(|since| since + VERDICT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a good address")
    }

    #[test]
    fn a_confirmed_address_is_public_until_it_expires() {
        let now = Instant::now();
        let mut reach = ReachabilityEvidence::new(false);
        assert_eq!(reach.state(now), Reachability::Unknown);
        let one = address("/ip4/198.51.100.1/tcp/1");
        assert!(reach.confirm(&one) && !reach.confirm(&one));
        reach.refuse();
        assert_eq!(reach.state(now), Reachability::Public, "another address may fail");
        reach.expire(&one);
        assert_eq!(reach.state(now), Reachability::Private);
    }

    #[test]
    fn silence_of_a_prober_is_a_verdict() {
        let now = Instant::now();
        let mut reach = ReachabilityEvidence::new(false);
        reach.note_prober(now);
        reach.note_prober(now + VERDICT / 2);
        assert_eq!(reach.state(now + VERDICT / 2), Reachability::Unknown);
        assert_eq!(reach.state(now + VERDICT), Reachability::Private);
    }

    #[test]
    fn an_address_through_a_relay_proves_nothing_and_the_list_is_bounded() {
        let mut reach = ReachabilityEvidence::new(false);
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert!(!reach.confirm(&address(&format!("/ip4/198.51.100.1/tcp/1/p2p/{relay}/p2p-circuit"))));
        for port in 1..100 {
            reach.confirm(&address(&format!("/ip4/198.51.100.1/tcp/{port}")));
        }
        assert_eq!(reach.confirmed().len(), EXTERNAL);
    }

    #[test]
    fn what_a_person_says_needs_no_probe() {
        let mut reach = ReachabilityEvidence::new(true);
        assert_eq!(reach.state(Instant::now()), Reachability::Private);
        reach.confirm(&address("/ip4/127.0.0.1/tcp/1"));
        assert_eq!(reach.state(Instant::now()), Reachability::Private);
    }
}
