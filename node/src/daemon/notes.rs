//! What the daemon notes in its home while it runs, and takes up at its start: who is here, and who is banned.

use std::path::{Path, PathBuf};

use tokio::sync::broadcast;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::home::bans::{self, SavedBan};
use crate::home::peers::Remembered;
use crate::net::{Ban, Event, Handle};
use crate::{config, task};

/// Who is here is noted so long after somebody came, and again and again while they stay.
const SOON: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(600);

/// Between two writings while anybody is banned.
const BANS_EVERY: Duration = Duration::from_secs(60);

/// Notes who is here, until the node stops. The network may have ended by then: so whoever comes is remembered at once, and
/// written a little later or at the end.
pub async fn keep_peers(net: Handle, mut remembered: Remembered, path: PathBuf, stop: CancellationToken) {
    let mut events = net.events();
    let mut written = remembered.clone();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = events.recv() => match event {
                Ok(Event::Connected(_)) => {
                    update_peers(&net, &mut remembered).await;
                    next = next.min(Instant::now() + SOON);
                }
                Err(broadcast::error::RecvError::Closed) => break,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            () = sleep_until(next) => {
                update_peers(&net, &mut remembered).await;
                write_peers(&remembered, &mut written, &path).await;
                next = Instant::now() + AGAIN;
            }
        }
    }
    // Who came in the last moment, if the network is still there.
    update_peers(&net, &mut remembered).await;
    write_peers(&remembered, &mut written, &path).await;
}

/// A network that has ended, or is being restarted, has nobody to add.
async fn update_peers(net: &Handle, remembered: &mut Remembered) {
    let peers = net.peers().await.unwrap_or_default();
    let here = peers.into_iter().filter(|info| info.agent.is_some()).map(|info| (info.peer, info.addresses));
    remembered.update(here.collect(), config::seconds_since_1970());
}

async fn write_peers(remembered: &Remembered, written: &mut Remembered, path: &Path) {
    if remembered == written {
        return;
    }
    let (noted, path) = (remembered.clone(), path.to_path_buf());
    match task::blocking(move || noted.write(&path)).await {
        Ok(Ok(())) => written.clone_from(remembered),
        Ok(Err(error)) => tracing::warn!(%error, "the connected peers could not be saved for the next start"),
        Err(error) => tracing::error!(%error, "noting who is here failed"),
    }
}

/// Takes up the bans that an earlier process has written.
pub fn restore_bans(path: &Path, net: &Handle) {
    let ban = |saved: &SavedBan| Ban { peer: saved.peer, remaining_ms: saved.remaining_ms, count: saved.count };
    match bans::read(path) {
        Ok(saved) => net.restore_bans(&saved.iter().map(ban).collect::<Vec<_>>()),
        Err(error) => tracing::warn!(%error, path = %path.display(), "earlier bans are lost"),
    }
}

/// Writes the bans that go on, from time to time and at the end. What a crash loses is at most [`BANS_EVERY`] of bans.
pub async fn keep_bans(net: Handle, path: PathBuf, stop: CancellationToken) {
    let mut written = None;
    loop {
        let ended = stop.run_until_cancelled(tokio::time::sleep(BANS_EVERY)).await.is_none();
        let saved: Vec<SavedBan> = net.banned().iter().map(saved).collect();
        // Nothing, and nothing before: no need to write that again.
        if !saved.is_empty() || written != Some(0) {
            written = Some(saved.len());
            let path = path.clone();
            if let Ok(Err(error)) = task::blocking(move || bans::write(&path, &saved)).await {
                tracing::warn!(%error, "bans cannot be saved: a restart will lose them");
            }
        }
        if ended {
            return;
        }
    }
}

fn saved(ban: &Ban) -> SavedBan {
    SavedBan { peer: ban.peer, remaining_ms: ban.remaining_ms, count: ban.count }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::text::Name;

    use super::*;
    use crate::net::Config;
    use crate::net::testing::{self, looking, meets, node, node_with};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_was_connected_once_needs_no_bootstrap_again() {
        let network = Name::new("test").expect("a name");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peers");
        let (hub, _hub) = node(1).await;
        let bootstrap = hub.listen_addresses().await.expect("running");
        let (first, _first) = node_with(Config { bootstrap, ..testing::config() }, 2).await;
        let stop = CancellationToken::new();
        let keeping =
            tokio::spawn(keep_peers(first.clone(), Remembered::new(network.clone()), path.clone(), stop.clone()));
        meets(&first, &hub).await;
        stop.cancel();
        keeping.await.expect("it ends when it is told to");
        first.shutdown().await;
        let remembered = Remembered::open(&path, network, config::seconds_since_1970()).peers();
        assert_eq!(remembered.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [hub.peer_id()]);
        let (again, _again) = node_with(Config { remembered, ..looking() }, 2).await;
        meets(&again, &hub).await;
    }
}
