//! Private networks: the key that everybody in one shares, and what is said of those who stay outside.
//!
//! The key is libp2p's (`/key/swarm/psk/1.0.0/`, as in go-ipfs): each side sends a nonce, and all that follows is XORed
//! with XSalsa20. It keeps strangers from speaking to us; who is who, and that nobody listens or changes anything, is still
//! noise's work inside it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::Transport;
use libp2p::allow_block_list::NotAllowed;
use libp2p::core::transport::{Boxed, TransportError};
use libp2p::pnet::{PnetConfig, PnetOutput, PreSharedKey};
use libp2p::swarm::{ConnectionDenied, DialError, ListenError};

/// A peer that has the key sends its nonce at once.
const NONCE: Duration = Duration::from_secs(5);

/// What either side says first inside: one who reads anything else has another key.
const FIRST: &[u8] = b"\x13/multistream/1.0.0\n";

/// A connection, inside the shared key's cipher if there is one.
pub type Channel<S> = Either<Checked<PnetOutput<S>>, S>;

/// A transport whose connections begin with the handshake of the shared key, if there is one.
pub fn with_shared_key<T>(transport: T, key: Option<PreSharedKey>) -> Boxed<Channel<T::Output>>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    transport.and_then(move |socket, _| enter(socket, key).boxed()).boxed()
}

async fn enter<S>(socket: S, key: Option<PreSharedKey>) -> io::Result<Channel<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(key) = key else { return Ok(Either::Right(socket)) };
    let handshake = tokio::time::timeout(NONCE, PnetConfig::new(key).handshake(socket));
    match handshake.await {
        Ok(Ok(inner)) => Ok(Either::Left(Checked { inner, seen: 0 })),
        Ok(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it began no handshake with a swarm key")),
    }
}

/// Ends a connection at the first byte that is not what the same key would give: without this both sides would wait for the
/// end of a message whose length is noise.
#[derive(Debug)]
pub struct Checked<S> {
    inner: S,
    seen: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Checked<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let wanted = &FIRST[self.seen..];
        let len = wanted.len().min(read);
        if buffer[..len] != wanted[..len] {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "it has another swarm key, or none")));
        }
        self.seen += len;
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Checked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

/// Whether a peer was turned away because it is not on the allow list.
pub fn is_not_allowed(error: &ListenError) -> bool {
    matches!(error, ListenError::Denied { cause } if not_allowed(cause).is_some())
}

fn not_allowed(cause: &ConnectionDenied) -> Option<&NotAllowed> {
    cause.downcast_ref::<NotAllowed>()
}

/// Why a dial failed, with what a person can do about it.
pub fn explain(error: &DialError, keyed: bool) -> String {
    match error {
        DialError::Denied { cause } if not_allowed(cause).is_some() => {
            "it is not on this node's allow list; add it with --allow PEER, or to the file `allow` in the home"
                .to_owned()
        }
        DialError::Transport(errors) if errors.iter().any(|(_, error)| is_handshake(error)) => {
            let guess = if keyed {
                "it may have another swarm.key than this node, or none"
            } else {
                "it may belong to a private network (ask its owner for the swarm.key), or be no potluck node"
            };
            format!("{error}; {guess}")
        }
        _ => error.to_string(),
    }
}

/// How the system says that nobody was reached. The layers of a transport hide each other's errors, so only their text
/// is left to judge by; a wrong guess costs a superfluous sentence.
const UNREACHED: [&str; 5] = ["refused", "unreachable", "timed out", "Timeout", "No route"];

/// The other side was reached, and then something went wrong.
pub fn is_handshake(error: &TransportError<io::Error>) -> bool {
    let TransportError::Other(error) = error else { return false };
    let text = error.to_string();
    !UNREACHED.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests;
