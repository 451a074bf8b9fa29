//! Serves the page over HTTP, read-only, bounded in connections and in time.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::page;

/// Readers at once: Prometheus, its twin, and a person. More wait. // I12
const READERS: usize = 8;

/// A connection ends after this, whatever it does: a scrape takes milliseconds.
const CONNECTION: Duration = Duration::from_secs(30);

/// Whoever makes the page.
pub trait Source: Clone + Send + Sync + 'static {
    /// The page's text now, or why there is none.
    fn text(&self) -> impl Future<Output = Result<String, String>> + Send;
}

/// Waits for readers at an address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Until `stop`.
    pub async fn run(self, source: impl Source, stop: CancellationToken) {
        let state = Shared { source, loopback: self.address.ip().is_loopback() };
        let router = Router::new().route("/metrics", get(metrics)).with_state(state);
        let listener = Few { inner: self.listener, places: Arc::new(Semaphore::new(READERS)) };
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        // A reader that hangs must not keep the node from ending.
        let ended = stop.run_until_cancelled(serving.into_future()).await;
        if let Some(Err(error)) = ended {
            tracing::error!(%error, "metrics are not served any more");
        }
    }
}

#[derive(Clone)]
struct Shared<S> {
    source: S,
    loopback: bool,
}

async fn metrics<S: Source>(State(shared): State<Shared<S>>, headers: HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if shared.loopback && !is_local(host) {
        // A web page may name any host it likes, and let that name lead to this machine.
        return (StatusCode::FORBIDDEN, "ask for 127.0.0.1, [::1] or localhost\n").into_response();
    }
    match shared.source.text().await {
        Ok(text) => ([(CONTENT_TYPE, page::CONTENT_TYPE)], text).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

/// Whether a `Host` header names this machine itself, with or without a port.
fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A listener that lets only a few in at once.
struct Few {
    inner: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Few {
    type Io = Brief;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Brief, SocketAddr) {
        // The semaphore is never closed; were it, nobody would be let in any more.
        let Ok(place) = self.places.clone().acquire_owned().await else { std::future::pending().await };
        let (stream, address) = Listener::accept(&mut self.inner).await;
        (Brief { stream, end: Box::pin(sleep(CONNECTION)), _place: place }, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that ends after a while.
struct Brief {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Brief {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Brief {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        Poll::Ready(ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Clone)]
    struct Fixed;

    impl Source for Fixed {
        async fn text(&self) -> Result<String, String> {
            Ok("# EOF\n".to_owned())
        }
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["127.0.0.1:9", "127.0.0.1", "localhost", "LOCALHOST:80", "[::1]:9", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:9", "192.0.2.1:9", "localhost.evil.example", "127.0.0.1.evil"] {
            assert!(!is_local(host), "{host}");
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn the_page_is_read_under_the_machines_own_names_and_nothing_else_is_served() {
        let server = Server::bind("127.0.0.1:0".parse().expect("good")).await.expect("a free port");
        let (address, stop) = (server.address(), CancellationToken::new());
        let running = tokio::spawn(server.run(Fixed, stop.clone()));
        let request = |line: &str, host: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let good = ask(address, &request("GET /metrics", &address.to_string())).await;
        assert!(good.starts_with("HTTP/1.1 200") && good.ends_with("# EOF\n"), "{good}");
        assert!(good.to_ascii_lowercase().contains("content-type: application/openmetrics-text"), "{good}");
        for (line, host, status) in [
            ("GET /metrics", "evil.example", "403"),
            ("GET /", "localhost", "404"),
            ("POST /metrics", "localhost", "405"),
        ] {
            let answer = ask(address, &request(line, host)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line} {host}: {answer}");
        }
        stop.cancel();
        running.await.expect("it ends");
    }

    #[tokio::test]
    async fn readers_that_hang_do_not_keep_it_from_ending() {
        let server = Server::bind("127.0.0.1:0".parse().expect("good")).await.expect("a free port");
        let (address, stop) = (server.address(), CancellationToken::new());
        let running = tokio::spawn(server.run(Fixed, stop.clone()));
        let mut hanging = Vec::new();
        for _ in 0..READERS {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(b"GET /metr").await.expect("it is taken");
            hanging.push(stream);
        }
        stop.cancel();
        running.await.expect("it ends");
    }
}
