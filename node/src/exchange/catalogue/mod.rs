//! Keeps this node's catalogue equal to its peers': drives the machine of [`potluck_protocol::catalogue`] over bulk
//! streams, and keeps the result in the store.
//!
//! One task owns the machine; each round has a task of its own, which asks one question at a time on one stream and
//! verifies what comes. Rounds are bounded by the machine.

mod inquiry;
mod kept;
mod keeper;
mod round;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::catalogue::{Action, Event, Question, Reconcile, RoundId, timing};
use potluck_protocol::id::BaseId;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(super) use keeper::Keeper;

use super::Exchange;
use crate::{config, net};

/// Answers that wait for the machine: one for each round at most. Full: the rounds' tasks wait.
const ANSWERS: usize = 16;

/// Until the node stops.
pub(super) async fn run(
    exchange: Exchange,
    mut events: broadcast::Receiver<net::Event>,
    mut asked: mpsc::Receiver<(PeerId, BaseId)>,
) {
    let stop = exchange.0.tasks.stop().clone();
    let (answer, mut answers) = mpsc::channel(ANSWERS);
    let mut driver = Driver::new(exchange, answer);
    loop {
        let wake = driver.wake();
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(event) = answers.recv() => Some(event),
            event = events.recv() => match event {
                Ok(event) => translate(event),
                // Peers whose coming was lost ask us; rounds with those whose going was lost end unanswered.
                Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some((peer, base)) = asked.recv() => Some(Event::Asked { peer, base }),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Some(Event::Tick),
        };
        if let Some(event) = event {
            driver.handle(event);
        }
    }
}

fn translate(event: net::Event) -> Option<Event> {
    match event {
        net::Event::Subscribed { peer, base, near } => Some(Event::Met { peer, base, near }),
        net::Event::Disconnected(peer) => Some(Event::Gone { peer }),
        net::Event::Missed(base) => Some(Event::Missed { base }),
        net::Event::Crowded { peer, base } => Some(Event::Crowded { peer, base }),
        _ => None,
    }
}

struct Driver {
    exchange: Exchange,
    machine: Reconcile,
    rounds: HashMap<RoundId, Running>,
    answer: mpsc::Sender<Event>,
}

/// The task of a round; dropping this ends it.
struct Running {
    questions: mpsc::Sender<Question>,
    ended: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Driver {
    fn new(exchange: Exchange, answer: mpsc::Sender<Event>) -> Self {
        // What the standard library seeds its maps with: all that is asked of it is that nodes differ.
        let seed = RandomState::new().hash_one(exchange.0.net.peer_id());
        Self { exchange, machine: Reconcile::new(seed), rounds: HashMap::new(), answer }
    }

    fn wake(&self) -> Option<Instant> {
        let at_ms = self.machine.wake_at_ms(self.exchange.now_ms())?;
        Some(self.exchange.0.started + Duration::from_millis(at_ms))
    }

    fn handle(&mut self, event: Event) {
        let now_ms = self.exchange.now_ms();
        let machine = &mut self.machine;
        let epoch = timing::epoch(config::seconds_since_1970());
        let actions = self.exchange.0.net.known().with(|catalogue| {
            catalogue.set_epoch(epoch);
            machine.handle(event, now_ms, catalogue)
        });
        if actions.iter().any(|action| matches!(action, Action::Learned(_))) {
            self.exchange.0.net.known().tell_changed();
        }
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Ask { round, peer, question } => self.ask(round, peer, question),
            Action::Learned(record) => self.exchange.0.net.emit_heard(record),
            Action::Blame { peer, blame } => {
                tracing::warn!(%peer, %blame, "a peer lied about its catalogue");
                self.exchange.blame(peer, net::Misdeed::Protocol);
            }
            Action::Ended { round, peer, base, outcome } => {
                self.exchange.0.metrics.compared.inc((&outcome).into());
                tracing::debug!(%peer, ?base, ?outcome, "catalogues were compared");
                self.rounds.remove(&round);
            }
        }
    }

    fn ask(&mut self, round: RoundId, peer: PeerId, question: Question) {
        let running = self.rounds.entry(round).or_insert_with(|| {
            let (questions, asked) = mpsc::channel(1);
            let ended = self.exchange.0.tasks.stop().child_token();
            let task = round::run(self.exchange.0.net.clone(), peer, round, asked, self.answer.clone());
            let until = ended.clone();
            self.exchange.0.tasks.spawn("round of the catalogue", async move {
                let _ = until.run_until_cancelled(task).await;
            });
            Running { questions, ended }
        });
        // There is room, for a round has one question at a time; a round whose task is gone ends by its time.
        let _ = running.questions.try_send(question);
    }
}
