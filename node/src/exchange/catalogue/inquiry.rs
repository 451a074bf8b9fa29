//! An inquiry: our catalogue of a base compared with those of several peers at once and now. Whoever may sign something
//! only once asks so whether it is signed already.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::future::join_all;
use potluck_protocol::catalogue::{Action, Event, Neighbourhood, Question, Reconcile, RoundId, RoundOutcome};
use potluck_protocol::id::BaseId;
use potluck_protocol::splitmix::SplitMix64;
use tokio::time::timeout;

use super::super::Exchange;
use super::super::limits::INQUIRED;
use super::round;
use crate::net::{Misdeed, PeerInfo};

/// Where an inquiry of one peer stands.
enum Step {
    Ask(RoundId, Question),
    /// Whether the peer said what it knows.
    End(bool),
}

impl Exchange {
    /// Takes up what connected peers, drawn at random, know of a base beyond what is known here; how many of them said
    /// what they know within `patience`.
    pub async fn inquire(&self, base: BaseId, patience: Duration) -> usize {
        // A network that is being restarted has nobody connected.
        let peers = self.0.net.peers().await.unwrap_or_default();
        let here = peers.into_iter().filter(|info| info.agent.is_some()).collect();
        let chosen = SplitMix64::new(RandomState::new().hash_one(base)).sample(here, INQUIRED);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing::honest;
    use crate::net::testing::{announcement, base, connect, node};

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
