//! The daemon's side of the local socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Listener as _;
use potluck_trainer::removal;
use tokio::io::{AsyncBufReadExt, AsyncWrite, BufReader};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::ask::Answer;
use super::proto::{Progress, Request};
use super::socket;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::{self, Line};
use crate::owner;
use crate::task::Tasks;

/// Connections at a time, each a task and a descriptor. A further one is told so and closed. // I12
const CONNECTIONS_MAX: usize = 1024;
/// Long requests at a time; a further one is told that it waits. Small questions never do.
const LONG_MAX: usize = 32;
/// After a connection could not be taken, as when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Progress reports on their way to a client. A slow client slows its own request, nothing else.
const PROGRESS_QUEUE: usize = 64;

/// What does the work that clients ask for.
pub trait Node: Send + Sync + 'static {
    /// Does what is asked. Cancelling ends it at the next safe place.
    fn run(
        &self,
        request: Request,
        progress: mpsc::Sender<Progress>,
        cancel: CancellationToken,
    ) -> impl Future<Output = Outcome<Answer>> + Send;
}

/// The bound socket. Removed when dropped.
pub struct Server {
    listener: Listener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket of a home whose lock the caller holds: a file that is already there is left over.
    pub fn bind(home: &Path) -> Outcome<Self> {
        let path = socket::prepare(home)?;
        let doing = format!("open the local socket {}", path.display());
        let fail = |error: &std::io::Error| Failure::io(&doing, error);
        removal::socket(&path).map_err(|error| fail(&error))?;
        let name = socket::name(&path).map_err(|error| fail(&error))?;
        let listener = ListenerOptions::new().name(name).create_tokio().map_err(|error| fail(&error))?;
        // Its folder is private already: nobody else came in between.
        owner::private_socket(&path).map_err(|error| fail(&error))?;
        socket::note(home, &path).map_err(|error| fail(&error))?;
        Ok(Self { listener, path })
    }

    /// Serves until `stop`.
    pub async fn run(self, node: Arc<impl Node>, tasks: Tasks, stop: CancellationToken) {
        let (connections, long) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(LONG_MAX)));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok(stream) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if !is_ours(&stream) {
                continue;
            }
            let place = Arc::clone(&connections).try_acquire_owned();
            let (node, stop, long) = (Arc::clone(&node), stop.clone(), Arc::clone(&long));
            tasks.spawn("local connection", async move {
                // An error here means that the client is gone.
                let _gone = match place {
                    Ok(_place) => serve(stream, &*node, &long, &stop).await,
                    Err(_) => refuse(stream).await,
                };
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A file that stays behind does no harm: the next daemon removes it.
        let _left_behind = removal::socket(&self.path);
    }
}

/// Whoever connects acts with this user's rights, so it must be this user, or root. Said once a connection in the log.
#[cfg(unix)]
fn is_ours(stream: &Stream) -> bool {
    let uid = stream.peer_creds().ok().and_then(|who| who.euid());
    let ours = uid.is_some_and(|uid| owner::may_act(uid).unwrap_or(false));
    if !ours {
        tracing::warn!(?uid, "another user tried to use this daemon: refused");
    }
    ours
}

/// Elsewhere the system asks who may open the pipe.
#[cfg(not(unix))]
fn is_ours(_: &Stream) -> bool {
    true
}

/// Requests of one connection, one after the other.
async fn serve(stream: Stream, node: &impl Node, long: &Semaphore, stop: &CancellationToken) -> std::io::Result<()> {
    let (receive, mut send) = tokio::io::split(stream);
    let mut receive = BufReader::new(receive);
    loop {
        let request = tokio::select! {
            biased;
            // Between two requests a connection does not hold up the end.
            () = stop.cancelled() => return Ok(()),
            request = next(&mut receive, &mut send) => request?,
        };
        let Some(request) = request else { return Ok(()) };
        let Some(_place) = place(&request, long, &mut receive, &mut send, stop).await? else { return Ok(()) };
        let cancel = stop.child_token();
        let (progress, mut reports) = mpsc::channel(PROGRESS_QUEUE);
        let running = node.run(request, progress, cancel.clone());
        tokio::pin!(running);
        let line = loop {
            tokio::select! {
                biased;
                outcome = &mut running => {
                    break outcome.and_then(Answer::into_value).map_or_else(Line::Failed, Line::Done);
                }
                Some(report) = reports.recv() => send_progress(&mut send, report, &cancel).await,
                // A client sends nothing while it waits: anything more cancels, and so does its end. It gets its answer all
                // the same, which says what was kept.
                _ = receive.fill_buf(), if !cancel.is_cancelled() => cancel.cancel(),
            }
        };
        while let Ok(report) = reports.try_recv() {
            ipc::write_line(&mut send, &Line::Progress(report)).await?;
        }
        ipc::write_line(&mut send, &line).await?;
        if cancel.is_cancelled() {
            return Ok(());
        }
    }
}

/// A place for a request: small ones need none, long ones wait for one. `None` if the client or the daemon goes meanwhile.
async fn place<'a>(
    request: &Request,
    long: &'a Semaphore,
    receive: &mut (impl tokio::io::AsyncBufRead + Unpin),
    send: &mut (impl AsyncWrite + Unpin),
    stop: &CancellationToken,
) -> std::io::Result<Option<Option<SemaphorePermit<'a>>>> {
    if request.is_small() {
        return Ok(Some(None));
    }
    if let Ok(place) = long.try_acquire() {
        return Ok(Some(Some(place)));
    }
    let text = format!("waiting: {LONG_MAX} other requests run on this daemon");
    ipc::write_line(send, &Line::Progress(Progress::Phase { text })).await?;
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        // A client sends nothing while it waits: this is its goodbye.
        gone = receive.fill_buf() => gone.map(|_| None),
        place = long.acquire() => Ok(place.ok().map(Some)),
    }
}

/// Says that there are too many connections.
async fn refuse(stream: Stream) -> std::io::Result<()> {
    let failure = Failure::new(Kind::Unreachable, format!("the daemon has {CONNECTIONS_MAX} connections already"))
        .hint("end some of the commands that wait for it, and run this one again");
    ipc::write_line(&mut tokio::io::split(stream).1, &Line::Failed(failure)).await
}

/// A client that cannot be written to is gone: what it asked for is cancelled, and still awaited.
async fn send_progress(send: &mut (impl AsyncWrite + Unpin), report: Progress, cancel: &CancellationToken) {
    if ipc::write_line(send, &Line::Progress(report)).await.is_err() {
        cancel.cancel();
    }
}

/// The next request; what is none is answered and ends the connection.
async fn next(
    receive: &mut (impl tokio::io::AsyncBufRead + Unpin),
    send: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<Option<Request>> {
    match ipc::read_line(receive).await {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            let failure = Failure::new(Kind::Incompatible, format!("the daemon does not know this request: {error}"))
                .hint("daemon and command have different versions: restart the daemon with `potluck up`");
            ipc::write_line(send, &Line::Failed(failure)).await?;
            Ok(None)
        }
        other => other,
    }
}
