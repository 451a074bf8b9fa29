//! The command line's side of the local socket.

use std::path::Path;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use serde_json::Value;
use tokio::io::BufReader;

use super::proto::{Line, Progress, Request};
use super::socket;
use crate::failure::{Failure, Kind, Outcome};

/// A connection to a running daemon. One request at a time; dropping it cancels what runs.
pub struct Client {
    stream: BufReader<Stream>,
}

impl Client {
    /// `None` if no daemon runs on that home.
    pub async fn connect(home: &Path) -> Outcome<Option<Self>> {
        let path = socket::path(home);
        let name = socket::name(&path).map_err(|error| Failure::io("name the daemon's socket", &error))?;
        match Stream::connect(name).await {
            Ok(stream) => Ok(Some(Self { stream: BufReader::new(stream) })),
            // No socket, or one that a killed daemon left behind: whether somebody holds the home is the lock's to say.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(unreachable(&path, &error)),
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

fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Unreachable, format!("the daemon's socket {} does not answer: {error}", path.display())).hint(
        "if no daemon runs on this home, remove that file; else stop the daemon and start it again with `potluck up`",
    )
}
