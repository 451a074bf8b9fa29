//! Says to the DHT what this node provides: every manifest that is pinned or was found well-formed, and every base that it
//! follows. When each is said is the schedule's decision; when each is due is kept on disk.

use std::path::PathBuf;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{Duration, Instant, sleep_until};

use super::Exchange;
use crate::config::milliseconds_since_1970;
use crate::home::provided;
use crate::net;
use crate::net::discovery::{FindError, Key, Schedule};

/// How often the store is looked at for what nobody has told of.
const LOOK: Duration = Duration::from_secs(60);

/// Keys that are being told at once: each takes some seconds.
const PROVIDING: usize = 8;

/// Until the node stops, or at once if it takes no part in the DHT.
pub async fn run(exchange: Exchange, mut events: broadcast::Receiver<net::Event>) {
    let stop = exchange.0.tasks.stop().clone();
    let (results, mut finished) = mpsc::channel(PROVIDING);
    let mut reprovider = Reprovider::restore(exchange.clone(), results).await;
    let mut look_at = Instant::now();
    loop {
        if look_at <= Instant::now() {
            reprovider.scan_store().await;
            look_at = Instant::now() + LOOK;
        }
        reprovider.start_next();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(result) = finished.recv() => if reprovider.handle_result(result) { break },
            event = events.recv() => match event {
                Ok(net::Event::Routed(_)) => reprovider.note_server(),
                Err(broadcast::error::RecvError::Closed) => break,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            () = exchange.0.holdings_changed.notified() => look_at = Instant::now(),
            () = sleep_until(reprovider.wake().min(look_at)) => {}
        }
    }
    reprovider.save().await;
}

/// A key, how often somebody to tell had turned up before, and what came of it.
type ProvideResult = (Key, u64, Result<(), FindError>);

struct Reprovider {
    exchange: Exchange,
    schedule: Schedule,
    path: PathBuf,
    /// What came back, from each key's task.
    results: mpsc::Sender<ProvideResult>,
    in_flight: usize,
    /// Nobody who answers for the DHT is known: nothing is told until somebody is.
    alone: bool,
    /// How often somebody has turned up.
    turned_up: u64,
    unsaved: bool,
}

impl Reprovider {
    async fn restore(exchange: Exchange, results: mpsc::Sender<ProvideResult>) -> Self {
        let path = exchange.0.store.layout().provided();
        let from = path.clone();
        let kept = exchange.blocking(move |_| provided::read(&from)).await;
        let schedule =
            Schedule::restore(kept.into_iter().map(|(key, due_ms)| (Key(key), due_ms)), milliseconds_since_1970());
        Self { exchange, schedule, path, results, in_flight: 0, alone: false, turned_up: 0, unsaved: false }
    }

    /// Looks at what there is to provide, and keeps what is known on disk.
    async fn scan_store(&mut self) {
        let manifests = self.exchange.blocking(|store| {
            let pins = store.pins();
            let manifests = store.manifests()?;
            let ours = manifests.iter().map(|one| one.id).filter(|id| pins.contains(id) || store.is_well_formed(id));
            Ok::<_, crate::store::StoreError>(ours.map(Key::manifest).collect::<Vec<_>>())
        });
        let manifests = match manifests.await {
            Ok(manifests) => manifests,
            Err(error) => return tracing::warn!(%error, "the store cannot be listed for the DHT"),
        };
        let bases = self.exchange.0.net.followed_bases().await.unwrap_or_default();
        let keys = bases.into_iter().map(Key::base).chain(manifests);
        let gone = self.schedule.provide(keys, milliseconds_since_1970());
        if !gone.is_empty() {
            self.unsaved = true;
            // A network that has ended provides nothing.
            let _ = self.exchange.0.net.stop_providing(gone).await;
        }
        self.save().await;
    }

    /// Begins to tell what is to be told now.
    fn start_next(&mut self) {
        if self.alone || self.in_flight >= PROVIDING {
            return;
        }
        let Some(key) = self.schedule.take(milliseconds_since_1970()) else { return };
        self.in_flight += 1;
        self.unsaved = true;
        let (net, results) = (self.exchange.0.net.clone(), self.results.clone());
        let (stop, before) = (self.exchange.0.tasks.stop().clone(), self.turned_up);
        self.exchange.0.tasks.spawn("tell the DHT", async move {
            if let Some(result) = stop.run_until_cancelled(net.provide(key)).await {
                let _ = results.send((key, before, result)).await;
            }
        });
    }

    /// `true` if nothing can ever be told.
    fn handle_result(&mut self, (key, before, result): ProvideResult) -> bool {
        self.in_flight -= 1;
        match result {
            Ok(()) => return false,
            Err(FindError::Off) => return true,
            Err(FindError::Alone) => {
                // Unless somebody has turned up meanwhile.
                self.alone = before == self.turned_up;
                self.schedule.waits(key, milliseconds_since_1970());
            }
            Err(error) => {
                tracing::debug!(%error, "a key could not be told to the DHT");
                self.schedule.failed(key, milliseconds_since_1970());
            }
        }
        false
    }

    /// Somebody who answers for the DHT has turned up.
    fn note_server(&mut self) {
        self.turned_up += 1;
        self.alone = false;
    }

    fn wake(&self) -> Instant {
        let at_ms = self.schedule.wake_at_ms().filter(|_| !self.alone && self.in_flight < PROVIDING);
        let wait = at_ms.map_or(LOOK, |at| Duration::from_millis(at.saturating_sub(milliseconds_since_1970())));
        Instant::now() + wait.min(LOOK)
    }

    /// What a crash loses is told again.
    async fn save(&mut self) {
        if !std::mem::take(&mut self.unsaved) {
            return;
        }
        let (path, entries) =
            (self.path.clone(), self.schedule.entries().map(|(key, due_ms)| (key.0, due_ms)).collect::<Vec<_>>());
        if let Err(error) = self.exchange.blocking(move |_| provided::write(&path, entries)).await {
            tracing::warn!(%error, "what has been told to the DHT could not be noted: it is told again after a restart");
        }
    }
}
