//! Keeps a swarm running: one that panics is built anew, with the same identity, port and memory.

use std::sync::Arc;

use tokio::sync::{Mutex, oneshot};

use super::actor::Actor;
use super::error::NetError;
use super::handle::Event;
use super::limits::RESTART_PAUSE;
use super::state::NetState;

/// Runs until the stop. Says on `ready` whether the first swarm came up; if it did not, that is the end.
pub async fn run(state: NetState, ready: oneshot::Sender<Result<(), NetError>>) {
    let stop = state.stop.clone();
    // A Tokio mutex because it is held over awaits and, unlike std's, is not poisoned by a panic.
    let state = Arc::new(Mutex::new(state));
    let mut ready = Some(ready);
    while !stop.is_cancelled() {
        let life = tokio::spawn(live(state.clone(), ready.take()));
        match life.await {
            Ok(Ok(())) => return,
            Ok(Err(Ended::AtStart)) => return,
            Ok(Err(Ended::Setup(error))) => tracing::error!(%error, "the network cannot be restarted; trying again"),
            Err(panic) => tracing::error!(%panic, "the network panicked; it is restarted, nothing stored is lost"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
    }
}

enum Ended {
    /// The first swarm did not come up; the caller has been told.
    AtStart,
    /// A later one did not.
    Setup(NetError),
}

async fn live(state: Arc<Mutex<NetState>>, ready: Option<oneshot::Sender<Result<(), NetError>>>) -> Result<(), Ended> {
    let mut state = state.lock().await;
    state.reconnect = state.peers.all_closed();
    for peer in &state.reconnect {
        state.emit(Event::Disconnected(*peer));
    }
    let built = state.swarm().await;
    match (built, ready) {
        (Ok(swarm), ready) => {
            match ready {
                // Whoever started us may have gone; the last handle's drop then ends us.
                Some(ready) => drop(ready.send(Ok(()))),
                None => {
                    state.guard.metrics().restarts.inc();
                    state.emit(Event::Restarted);
                }
            }
            Actor::new(&mut state, swarm).run().await;
            Ok(())
        }
        (Err(error), Some(ready)) => {
            let _ = ready.send(Err(error));
            Err(Ended::AtStart)
        }
        (Err(error), None) => Err(Ended::Setup(error)),
    }
}
