//! The questions of one round, on one stream.

use libp2p::PeerId;
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::catalogue::{Event, Question, RoundId, Violation, verify_records};
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
        let event = match ask(&net, peer, &mut stream, question).await {
            Ok(reply) => understood(round, reply).await,
            Err(error) if error.is_fault() => wrong(round, &error),
            Err(error) => {
                tracing::debug!(%peer, %error, "a catalogue was not compared");
                Event::Unanswered { round }
            }
        };
        if answers.send(event).await.is_err() {
            return;
        }
    }
}

/// A reply of the kind that was asked for.
enum Answer {
    Differing(potluck_protocol::catalogue::Differing),
    Records(potluck_protocol::id::BaseId, Vec<Vec<u8>>),
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
    let about = match &question {
        Question::Compare(_) => None,
        Question::Records(wanted) => Some(wanted.base),
    };
    match (about, stream.ask(&Request::from(question)).await?) {
        (None, Reply::Differing(differing)) => Ok(Answer::Differing(differing)),
        (Some(base), Reply::Records(records)) => Ok(Answer::Records(base, records)),
        (_, Reply::Refused(_)) => Err(AskError::Busy),
        (_, other) => Err(unexpected(&other)),
    }
}

/// Signatures are checked where waiting is allowed: 256 of them take some 15 ms. // I8
async fn understood(round: RoundId, answer: Answer) -> Event {
    match answer {
        Answer::Differing(differing) => Event::Differs { round, differing },
        Answer::Records(base, records) => match task::blocking(move || verify_records(base, &records)).await {
            Ok(Ok(page)) => Event::Records { round, page },
            Ok(Err(fault)) => Event::Wrong { round, blame: Violation::Announcement(fault) },
            // A panic of ours is not the peer's fault.
            Err(_) => Event::Unanswered { round },
        },
    }
}

fn wrong(round: RoundId, error: &AskError) -> Event {
    Event::Wrong { round, blame: Violation::Protocol(error.to_string()) }
}
