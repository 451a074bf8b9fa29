//! The questions of one round, on one stream.

use libp2p::PeerId;
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::catalogue::{Differing, Event, Page, Question, RoundId, Violation, verify_records};
use potluck_protocol::id::{AnnouncementId, BaseId};
use tokio::sync::mpsc;

use super::super::ask::{AskError, unexpected};
use crate::net::{Handle, Outbound};
use crate::task;

/// Until the round is over.
pub(super) async fn run(
    net: Handle,
    peer: PeerId,
    round: RoundId,
    mut questions: mpsc::Receiver<Question>,
    answers: mpsc::Sender<Event>,
) {
    let mut stream = None;
    while let Some(question) = questions.recv().await {
        let event = put(&net, peer, &mut stream, round, question).await;
        if answers.send(event).await.is_err() {
            return;
        }
    }
}

/// Asks one question; what the machine is told of it.
pub(super) async fn put(
    net: &Handle,
    peer: PeerId,
    stream: &mut Option<Outbound>,
    round: RoundId,
    question: Question,
) -> Event {
    match ask(net, peer, stream, question).await {
        Ok(reply) => understood(net, round, reply).await,
        Err(error) if error.is_fault() => wrong(round, &error),
        Err(error) => {
            tracing::debug!(%peer, %error, "a catalogue was not compared");
            Event::Unanswered { round }
        }
    }
}

/// A reply of the kind that was asked for.
enum Answer {
    Differing(Differing),
    StoodBehind(BaseId, Vec<Vec<u8>>),
    Records(BaseId, Vec<Vec<u8>>),
}

async fn ask(
    net: &Handle,
    peer: PeerId,
    stream: &mut Option<Outbound>,
    question: Question,
) -> Result<Answer, AskError> {
    let stream = match stream {
        Some(stream) => stream,
        None => stream.insert(net.open(peer).await?),
    };
    match (&question, stream.ask(&Request::from(question.clone())).await?) {
        (Question::Compare(_), Reply::Differing(differing)) => Ok(Answer::Differing(differing)),
        (Question::StoodBehind(base), Reply::Announcements(records)) => Ok(Answer::StoodBehind(*base, records)),
        (Question::Records(wanted), Reply::Records(records)) => Ok(Answer::Records(wanted.base, records)),
        // The rest can be had all the same.
        (Question::StoodBehind(base), Reply::Refused(_)) => Ok(Answer::StoodBehind(*base, Vec::new())),
        (_, Reply::Refused(_)) => Err(AskError::Busy),
        (_, other) => Err(unexpected(&other)),
    }
}

/// Signatures are checked where waiting is allowed: 256 of them take some 15 ms. // I8
async fn understood(net: &Handle, round: RoundId, answer: Answer) -> Event {
    match answer {
        Answer::Differing(differing) => Event::Differs { round, differing },
        Answer::StoodBehind(base, records) => {
            verified(net, round, base, records, |page| Event::StoodBehind { round, page }).await
        }
        Answer::Records(base, records) => {
            verified(net, round, base, records, |page| Event::Records { round, page }).await
        }
    }
}

async fn verified(
    net: &Handle,
    round: RoundId,
    base: BaseId,
    records: Vec<Vec<u8>>,
    event: impl FnOnce(Page) -> Event,
) -> Event {
    let known = net.known().clone();
    let here = move |id: &AnnouncementId| known.with(|catalogue| catalogue.get(&base, id).cloned());
    match task::blocking(move || verify_records(base, &records, here)).await {
        Ok(Ok(page)) => event(page),
        Ok(Err(fault)) => Event::Wrong { round, blame: Violation::Announcement(fault) },
        // A panic of ours is not the peer's fault.
        Err(_) => Event::Unanswered { round },
    }
}

fn wrong(round: RoundId, error: &AskError) -> Event {
    Event::Wrong { round, blame: Violation::Protocol(error.to_string()) }
}
