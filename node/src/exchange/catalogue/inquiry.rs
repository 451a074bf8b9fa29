//! An inquiry: our catalogue of a base compared with those of several peers at once and now. Whoever may sign something
//! only once asks so whether it is signed already.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use potluck_protocol::ask::spread;
use potluck_protocol::catalogue::{Action, Event, Neighbourhood, Question, Reconcile, RoundId, RoundOutcome};
use potluck_protocol::id::BaseId;
use potluck_protocol::splitmix::SplitMix64;
use tokio::time::timeout;

use super::super::Exchange;
use super::super::limits::{INQUIRED, INQUIRED_LONGEST, INQUIRED_NAMED};
use super::round;
use crate::net::{Misdeed, PeerInfo};

/// Where an inquiry of one peer stands.
enum Step {
    Ask(RoundId, Question),
    /// Whether the peer said what it knows.
    End(bool),
}

impl Exchange {
    /// Takes up what connected peers (see `choose`) know of a base beyond what is known here; how many of them said what
    /// they know within `patience`.
    pub async fn inquire(&self, base: BaseId, patience: Duration) -> usize {
        // A network that is being restarted has nobody connected.
        let peers = self.0.net.peers().await.unwrap_or_default();
        let here = peers.into_iter().filter(|info| info.agent.is_some()).collect();
        let chosen = choose(here, &mut SplitMix64::new(self.draw()));
        let inquiries = chosen.iter().map(|info| timeout(patience, self.inquire_of(info, base)));
        join_all(inquiries).await.into_iter().filter(|answered| *answered == Ok(true)).count()
    }

    /// By a machine that knows this peer alone, so that it waits for no other. Its time stands still: that of the inquiry
    /// is the caller's.
    async fn inquire_of(&self, of: &PeerInfo, base: BaseId) -> bool {
        let (peer, near) = (of.peer, Neighbourhood(of.group.number()));
        let mut machine = Reconcile::unlimited(0);
        let mut actions = self.advance(&mut machine, Event::Met { peer, base, near }, 0);
        let begin_ms = machine.wake_at_ms(0).unwrap_or_default();
        if actions.is_empty() {
            actions = self.advance(&mut machine, Event::Tick, begin_ms);
        }
        let mut stream = None;
        loop {
            match self.perform(actions) {
                Step::End(answered) => return answered,
                Step::Ask(id, question) => {
                    let event = round::put(&self.0.net, peer, &mut stream, id, question).await;
                    actions = self.advance(&mut machine, event, begin_ms);
                }
            }
        }
    }

    fn advance(&self, machine: &mut Reconcile, event: Event, now_ms: u64) -> Vec<Action> {
        self.0.net.known().with(|catalogue| machine.handle(event, now_ms, catalogue))
    }

    fn perform(&self, actions: Vec<Action>) -> Step {
        let mut next = Step::End(false);
        for action in actions {
            match action {
                Action::Ask { round, question, .. } => next = Step::Ask(round, question),
                Action::Learned(record) => {
                    self.0.net.known().tell_changed();
                    self.0.net.emit_heard(record);
                }
                Action::Blame { peer, blame } => {
                    tracing::warn!(%peer, %blame, "a peer lied about its catalogue");
                    self.blame(peer, Misdeed::Protocol);
                }
                Action::Ended { outcome, .. } => {
                    return Step::End(!matches!(outcome, RoundOutcome::Unanswered | RoundOutcome::Wrong));
                }
            }
        }
        next
    }
}

/// Who is asked: one stranger may have many connections, and must not be nearly all of them. So first some of those that
/// are named in the settings; then of those that have been here longest, one of each neighbourhood; then one of each
/// neighbourhood before a second of any, drawn at random.
fn choose(peers: Vec<PeerInfo>, rng: &mut SplitMix64) -> Vec<PeerInfo> {
    let (named, mut left): (Vec<_>, Vec<_>) = peers.into_iter().partition(|info| info.bootstrap);
    let mut chosen = spread(named, |info| info.group, rng);
    left.extend(chosen.split_off(chosen.len().min(INQUIRED_NAMED)));
    left.sort_by_key(|info| std::cmp::Reverse(info.connected_for));
    let (mut seen, mut longest) = (chosen.iter().map(|info| info.group).collect::<BTreeSet<_>>(), 0);
    let (oldest, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|info| {
        let taken = longest < INQUIRED_LONGEST && seen.insert(info.group);
        longest += usize::from(taken);
        taken
    });
    chosen.extend(oldest);
    chosen.extend(spread(others, |info| info.group, rng));
    chosen.truncate(INQUIRED);
    chosen
}

#[cfg(test)]
mod tests {
    use libp2p::{Multiaddr, PeerId};

    use super::*;
    use crate::addresses::AddressGroup;
    use crate::exchange::testing::honest;
    use crate::net::testing::{announcement, base, connect, node};

    fn connected(group: u8, seconds: u64, bootstrap: bool) -> PeerInfo {
        let address: Multiaddr = format!("/ip4/198.51.{group}.7/tcp/1").parse().expect("an address");
        PeerInfo {
            peer: PeerId::random(),
            addresses: Vec::new(),
            agent: Some("potluck/1".to_owned()),
            connected_for: Duration::from_secs(seconds),
            direct: true,
            group: AddressGroup::from(&address),
            bootstrap,
        }
    }

    #[test]
    fn sixty_connections_of_one_stranger_are_not_nearly_all_that_is_asked() {
        // They were first, and the bootstrap peer is in their neighbourhood.
        let crowd: Vec<_> = (0..60).map(|_| connected(0, 1_000, false)).collect();
        let honest: Vec<_> = (1..=12).map(|group| connected(group, 10, false)).chain([connected(0, 1, true)]).collect();
        for seed in 0..50 {
            let all = crowd.iter().chain(&honest).cloned().collect();
            let chosen = choose(all, &mut SplitMix64::new(seed));
            assert_eq!(chosen.len(), INQUIRED);
            assert!(honest.iter().all(|one| chosen.iter().any(|info| info.peer == one.peer)), "seed {seed}");
        }
    }

    #[test]
    fn those_that_are_here_longest_and_those_of_the_settings_are_asked_among_a_hundred_neighbourhoods() {
        let crowd: Vec<_> = (0..100).map(|group| connected(group, 10, false)).collect();
        let own = [connected(200, 1_000, false), connected(201, 900, false), connected(202, 1, true)];
        for seed in 0..50 {
            let chosen = choose(crowd.iter().chain(&own).cloned().collect(), &mut SplitMix64::new(seed));
            assert!(own.iter().all(|one| chosen.iter().any(|info| info.peer == one.peer)), "seed {seed}");
            assert_eq!(chosen.iter().map(|info| info.peer).collect::<BTreeSet<_>>().len(), INQUIRED);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_inquiry_brings_what_any_peer_knows_and_counts_who_answered() {
        let (asker, ignorant, knowing) = (honest(1).await, honest(2).await, honest(3).await);
        let known = announcement(10, "signed-once", 1);
        knowing.net.known().with(|catalogue| drop(catalogue.insert(known.clone())));
        assert_eq!(asker.exchange.inquire(base(), Duration::from_secs(60)).await, 0, "nobody is here");
        connect(&asker.net, &ignorant.net).await;
        connect(&asker.net, &knowing.net).await;
        // None of them follows the base: nothing but the inquiry would bring it.
        assert_eq!(asker.exchange.inquire(base(), Duration::from_secs(60)).await, 2);
        let here = asker.net.announcements(base());
        assert_eq!(here.iter().map(|one| one.body().manifest).collect::<Vec<_>>(), [known.body().manifest]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_peer_that_says_nothing_has_not_answered_and_keeps_nobody_from_answering() {
        let (asker, knowing) = (honest(1).await, honest(2).await);
        // Its streams are accepted and never read.
        let (silent, _unread) = node(3).await;
        knowing.net.known().with(|catalogue| drop(catalogue.insert(announcement(10, "a", 1))));
        connect(&asker.net, &silent).await;
        assert_eq!(asker.exchange.inquire(base(), Duration::from_millis(100)).await, 0);
        connect(&asker.net, &knowing.net).await;
        assert_eq!(asker.exchange.inquire(base(), Duration::from_secs(2)).await, 1);
        assert_eq!(asker.net.announcements(base()).len(), 1);
    }
}
