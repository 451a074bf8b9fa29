//! The command line's side of the local socket.

use std::future::Future;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Stream as _;
use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ask::{self, Ask};
use super::proto::{Progress, Request};
use super::socket;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::{Home, HomeError};
use crate::ipc::{self, Line};
use crate::owner;

/// After so long without a word somebody is told.
const SILENCE: Duration = Duration::from_secs(3);
/// A daemon that has not answered a small question for so long does not answer.
const SMALL: Duration = Duration::from_secs(12);
/// Between two looks whether a daemon that works on a long request still answers.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A connection to a running daemon. One request at a time; dropping it cancels what runs, and so does a word more.
pub struct Client {
    receive: BufReader<ReadHalf<Stream>>,
    send: WriteHalf<Stream>,
    home: PathBuf,
}

impl Client {
    /// `None` if no daemon runs on that home.
    pub async fn connect(home: &Path) -> Outcome<Option<Self>> {
        let path = socket::noted(home);
        let name = socket::name(&path).map_err(|error| Failure::io("name the daemon's socket", &error))?;
        let connected = timeout(SMALL, Stream::connect(name)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        match connected {
            Ok(stream) if !is_ours(&stream) => Err(anothers(home)),
            Ok(stream) => {
                let (receive, send) = tokio::io::split(stream);
                Ok(Some(Self { receive: BufReader::new(receive), send, home: home.to_path_buf() }))
            }
            // No socket, or one that a killed daemon left behind: whether somebody holds the home is the lock's to say.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            // Nobody takes the connections that wait at the socket.
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => Err(silent(home)),
            Err(error) => Err(unreachable(home, &path, &error)),
        }
    }

    /// Sends a request and hands every progress report to `report` until the answer comes. Says so if the daemon does not
    /// answer: on a small question that is the end, a long one goes on when the daemon does.
    pub async fn call<R: Ask>(&mut self, request: R, report: impl FnMut(Progress)) -> Outcome<R::Answer> {
        self.call_until(request, report, &CancellationToken::new()).await
    }

    /// The same; once cancelled, the daemon is told so, and its answer is waited for: it says what was kept.
    pub async fn call_until<R: Ask>(
        &mut self,
        request: R,
        mut report: impl FnMut(Progress),
        cancel: &CancellationToken,
    ) -> Outcome<R::Answer> {
        let request: Request = request.into();
        let (small, home) = (request.is_small(), self.home.clone());
        attended(&home, small, ipc::write_line(&mut self.send, &request), &mut report).await?;
        let mut told = false;
        loop {
            match attended(&home, small, self.next_line(cancel, &mut told), &mut report).await? {
                Some(Line::Progress(progress)) => report(progress),
                Some(Line::Done(answer)) => return ask::open::<R>(answer),
                Some(Line::Failed(failure)) => return Err(failure),
                None => return Err(lost(ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    async fn next_line(&mut self, cancel: &CancellationToken, told: &mut bool) -> std::io::Result<Option<Line>> {
        // Read to its end: half a line that was let go would be missing from the next one.
        let line = ipc::read_line(&mut self.receive);
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

/// Waits for `work`, and finds out meanwhile whether the daemon answers at all.
async fn attended<T>(
    home: &Path,
    small: bool,
    work: impl Future<Output = std::io::Result<T>>,
    report: &mut impl FnMut(Progress),
) -> Outcome<T> {
    let (mut work, start, mut pause) = (pin!(work), Instant::now(), SILENCE);
    loop {
        let answers = async {
            sleep(pause).await;
            !small && answers(home).await
        };
        tokio::select! {
            biased;
            done = &mut work => return done.map_err(lost),
            answers = answers => pause = if answers { LOOK_AGAIN } else { SILENCE },
        }
        if small && start.elapsed() >= SMALL {
            return Err(silent(home));
        }
        if pause == SILENCE {
            let text = format!("the daemon{} has not answered for {} s", process(home), start.elapsed().as_secs());
            report(Progress::Phase { text });
        }
    }
}

/// Whether the daemon answers another connection's small question.
async fn answers(home: &Path) -> bool {
    let path = socket::noted(home);
    let asked = async {
        let mut stream = BufReader::new(Stream::connect(socket::name(&path)?).await?);
        ipc::write_line(stream.get_mut(), &Request::Status).await?;
        ipc::read_line::<Line>(&mut stream).await
    };
    matches!(timeout(SILENCE, asked).await, Ok(Ok(Some(_))))
}

fn lost(error: Error) -> Failure {
    Failure::new(Kind::Unreachable, format!("the daemon went away: {error}"))
        .hint("see its log; start it again with `potluck up`")
}

/// Somebody holds the socket, and does not answer.
fn silent(home: &Path) -> Failure {
    let pid = Home::holder(home).map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    Failure::new(
        Kind::Unreachable,
        format!("the daemon{} does not answer: it has been silent for {} s", process(home), SMALL.as_secs()),
    )
    .hint(format!(
        "it may be stopped (`kill -CONT {pid}` lets it go on), or the machine overloaded; `kill {pid}` ends it, and \
         `potluck up` starts it again"
    ))
}

fn process(home: &Path) -> String {
    Home::holder(home).map_or_else(String::new, |pid| format!(" (process {pid})"))
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
    if error.kind() == std::io::ErrorKind::NotADirectory {
        return Failure::io(format!("the home {}", home.display()), error);
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
