//! The network that a node is on.

use std::sync::Arc;

use potluck_protocol::text::Name;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::app::unasked::Budget;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Outcome};
use crate::net::{Event, Handle};

/// What there is only while the node is on a network. Clones share it.
#[derive(Clone)]
pub struct Network {
    /// The network that the node takes part in.
    pub name: Name,
    /// The swarm.
    pub handle: Handle,
    /// Pulls from peers, and serves them.
    pub exchange: Exchange,
    /// What may still be fetched that nobody here asked for.
    pub unasked: Arc<Budget>,
}

/// Until something was heard, or so much that some of it was missed.
pub async fn next_heard(events: &mut Receiver<Event>) -> Outcome<()> {
    loop {
        match events.recv().await {
            Ok(Event::Heard(_)) | Err(RecvError::Lagged(_)) => return Ok(()),
            Ok(_) => {}
            Err(RecvError::Closed) => return Err(Failure::new(Kind::Unreachable, "the network has ended")),
        }
    }
}
