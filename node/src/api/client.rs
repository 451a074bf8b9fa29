//! The command line's side of the local socket.

use std::path::Path;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::proto::{Line, Progress, Request};
use super::socket;
use crate::failure::{Failure, Kind, Outcome};

/// A connection to a running daemon. One request at a time; dropping it cancels what runs, and so does a word more.
pub struct Client {
    receive: BufReader<ReadHalf<Stream>>,
    send: WriteHalf<Stream>,
}

impl Client {
    /// `None` if no daemon runs on that home.
    pub async fn connect(home: &Path) -> Outcome<Option<Self>> {
        let path = socket::path(home);
        let name = socket::name(&path).map_err(|error| Failure::io("name the daemon's socket", &error))?;
        match Stream::connect(name).await {
            Ok(stream) => {
                let (receive, send) = tokio::io::split(stream);
                Ok(Some(Self { receive: BufReader::new(receive), send }))
            }
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
    pub async fn call(&mut self, request: &Request, report: impl FnMut(Progress)) -> Outcome<Value> {
        self.call_until(request, report, &CancellationToken::new()).await
    }

    /// The same; once cancelled, the daemon is told so, and its answer is waited for: it says what was kept.
    pub async fn call_until(
        &mut self,
        request: &Request,
        mut report: impl FnMut(Progress),
        cancel: &CancellationToken,
    ) -> Outcome<Value> {
        socket::write_line(&mut self.send, request).await.map_err(lost)?;
        let mut told = false;
        loop {
            match self.next_line(cancel, &mut told).await.map_err(lost)? {
                Some(Line::Progress(progress)) => report(progress),
                Some(Line::Done(value)) => return Ok(value),
                Some(Line::Failed(failure)) => return Err(failure),
                None => return Err(lost(std::io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    async fn next_line(&mut self, cancel: &CancellationToken, told: &mut bool) -> std::io::Result<Option<Line>> {
        // Read to its end: half a line that was let go would be missing from the next one.
        let line = socket::read_line(&mut self.receive);
        tokio::pin!(line);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled(), if !*told => {
                    *told = true;
                    // A daemon that is gone has cancelled all by itself.
                    let _gone = self.send.write_all(b"\n").await;
                }
                line = &mut line => return line,
            }
        }
    }
}

fn lost(error: std::io::Error) -> Failure {
    Failure::new(Kind::Unreachable, format!("the daemon went away: {error}"))
        .hint("see its log; start it again with `potluck up`")
}

fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Unreachable, format!("the daemon's socket {} does not answer: {error}", path.display())).hint(
        "if no daemon runs on this home, remove that file; else stop the daemon and start it again with `potluck up`",
    )
}
