//! The signals that ask a process to end, in one place: the terminal's Ctrl-C, the end of a session, a service manager.
//!
//! ```text
//! SIGINT (Ctrl-C), SIGQUIT, SIGTERM, SIGHUP    the first one asks: work ends at its next safe place, and keeps what it has
//! SIGINT or SIGQUIT again, half a second later    ends at once
//! ```
//!
//! A second SIGTERM or SIGHUP means nothing: programs send them twice (`timeout` to its child and to the group, a shell
//! and the kernel when a terminal closes), and have SIGKILL for what does not end.

#![expect(clippy::disallowed_methods, reason = "the one file that takes signals")]

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::failure::Kind;
#[cfg(unix)]
use crate::procfs;

/// A second Ctrl-C sooner than this is the same one, sent to the process and to its group.
const SAME: Duration = Duration::from_millis(500);
/// How long everything has to be dropped in order once the process is to end at once.
const DROPPING: Duration = Duration::from_secs(1);

/// What the signals have asked of this process.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// To end, at the next safe place.
    pub to_end: CancellationToken,
    /// To end at once.
    pub at_once: CancellationToken,
}

static REQUESTS: OnceLock<Requests> = OnceLock::new();

/// What the signals have asked of this process so far. There is one of it, as signals are the process's.
pub fn requests() -> Requests {
    REQUESTS.get_or_init(Requests::default).clone()
}

/// Takes the signals from now on; call within a runtime. The future that it gives waits for them, and must be run.
pub fn listen() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut signals = Signals::listen()?;
    Ok(async move {
        let requests = requests();
        signals.next().await;
        requests.to_end.cancel();
        let first = Instant::now();
        while signals.next().await == Sender::Program || first.elapsed() < SAME {}
        requests.at_once.cancel();
        // For a thread that is too busy to notice.
        tokio::time::sleep(DROPPING).await;
        std::process::exit(Kind::Interrupted as i32);
    })
}

/// Who sends such a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// Somebody at a keyboard.
    Person,
    Program,
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None where the caller has said by `nohup` that the end of its session is not the end of this process.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
        Ok(Self { interrupt, quit, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) -> Sender {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Sender::Person,
            _ = self.quit.recv() => Sender::Person,
            _ = self.terminate.recv() => Sender::Program,
            _ = hangup => Sender::Program,
        }
    }
}

/// SIGHUP is signal 1, the lowest bit of the mask. Where the system does not say it, it is taken not to be ignored.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    procfs::status("self", "SigIgn").is_some_and(|mask| ignores_hangup(&mask))
}

#[cfg(unix)]
fn ignores_hangup(mask: &str) -> bool {
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Sender {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Sender::Person,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_read_from_the_mask() {
        assert!(ignores_hangup("0000000000001001"));
        assert!(!ignores_hangup("0000000000001000"));
        assert!(!ignores_hangup(""));
    }
}
