//! The command line's side of the local socket.

use std::path::Path;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Stream as _;
use serde_json::Value;
use tokio::io::BufReader;

use super::proto::{Line, Progress, Request};
use super::socket;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::HomeError;
use crate::owner;

/// A connection to a running daemon. One request at a time; dropping it cancels what runs.
pub struct Client {
    stream: BufReader<Stream>,
}

impl Client {
    /// `None` if no daemon runs on that home.
    pub async fn connect(home: &Path) -> Outcome<Option<Self>> {
        let path = socket::noted(home);
        let name = socket::name(&path).map_err(|error| Failure::io("name the daemon's socket", &error))?;
        match Stream::connect(name).await {
            Ok(stream) if is_ours(&stream) => Ok(Some(Self { stream: BufReader::new(stream) })),
            Ok(_) => Err(anothers(home)),
            // No socket, or one that a killed daemon left behind: whether somebody holds the home is the lock's to say.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(unreachable(home, &path, &error)),
        }
    }

    /// Sends a request and hands every progress report to `report` until the answer comes.
    pub async fn call(&mut self, request: &Request, mut report: impl FnMut(Progress)) -> Outcome<Value> {
        let lost = |error: std::io::Error| {
            Failure::new(Kind::Unreachable, format!("the daemon went away: {error}"))
                .hint("see its log; start it again with `potluck up`")
        };
        socket::write_line(self.stream.get_mut(), request).await.map_err(lost)?;
        loop {
            match socket::read_line(&mut self.stream).await.map_err(lost)? {
                Some(Line::Progress(progress)) => report(progress),
                Some(Line::Done(value)) => return Ok(value),
                Some(Line::Failed(failure)) => return Err(failure),
                None => return Err(lost(std::io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}

/// What answers there must be this user's daemon, or root's: it is told what this user wants done.
#[cfg(unix)]
fn is_ours(stream: &Stream) -> bool {
    let uid = stream.peer_creds().ok().and_then(|who| who.euid());
    uid.is_some_and(|uid| owner::own_uid().is_ok_and(|own| own == 0 || own == uid || uid == 0))
}

#[cfg(not(unix))]
fn is_ours(_: &Stream) -> bool {
    true
}

fn anothers(home: &Path) -> Failure {
    Failure::new(Kind::Denied, format!("the daemon on {} is another user's", home.display()))
        .hint("run as that user, or use a home of your own with `--home DIR`")
}

fn unreachable(home: &Path, path: &Path, error: &std::io::Error) -> Failure {
    if home.exists() && !home.is_dir() {
        return Failure::from(HomeError::NoFolder { root: home.to_path_buf() });
    }
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return match owner::stranger(home) {
            Ok(Some(uid)) => Failure::from(HomeError::Anothers { root: home.to_path_buf(), uid }),
            _ => Failure::io(format!("the home {}", home.display()), error),
        };
    }
    Failure::new(Kind::Unreachable, format!("the daemon's socket {} does not answer: {error}", path.display())).hint(
        "if no daemon runs on this home, remove that file; else stop the daemon and start it again with `potluck up`",
    )
}
