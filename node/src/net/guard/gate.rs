//! The door: a transport around another one that bounds the handshakes of those who come.
//!
//! In front of the swarm and not a behaviour, because a swarm cannot end a handshake that it has begun.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures::future::{AbortHandle, Abortable, Aborted};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};

use super::Guard;
use super::group::PeerGroup;
use super::handshakes::{Admission, Handshakes};
use crate::lock::lock;
use crate::net::misdeed::Denied;

/// Connections that are turned away in one go before others have their turn.
const TURN: usize = 64;

type Output = (PeerId, StreamMuxerBox);
type Inner = Boxed<Output>;
type Upgrade = <Inner as Transport>::ListenerUpgrade;
type Table = Arc<Mutex<Handshakes>>;

/// See the module.
pub struct Gate {
    inner: Inner,
    table: Table,
    guard: Guard,
}

impl Gate {
    /// Bounds the handshakes of whoever connects through `inner`.
    pub fn new(inner: Inner, guard: Guard) -> Self {
        Self { inner, table: Table::default(), guard }
    }

    fn admit(&self, address: &Multiaddr) -> Option<Slot> {
        let group = PeerGroup::of(address);
        let now_ms = self.guard.now_ms();
        if self.guard.is_shunned(group, now_ms) {
            self.guard.denied(Denied::Banned);
            return None;
        }
        match lock(&self.table).admit(group, now_ms) {
            Admission::TooOften => {
                self.guard.denied(Denied::TooOften);
                None
            }
            Admission::In { ticket, registration, evicted } => {
                if evicted {
                    self.guard.denied(Denied::HandshakeEvicted);
                }
                Some(Slot { table: self.table.clone(), ticket, registration: Some(registration) })
            }
        }
    }
}

/// One handshake's entry in the table; goes with it.
struct Slot {
    table: Table,
    ticket: u64,
    registration: Option<futures::future::AbortRegistration>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.table).ended(self.ticket);
    }
}

/// A handshake that may be ended for another one.
pub struct Handshake {
    inner: Abortable<Upgrade>,
    /// Held, not read.
    _slot: Option<Slot>,
}

impl Handshake {
    fn new(upgrade: Upgrade, mut slot: Option<Slot>) -> Self {
        let registration = slot.as_mut().and_then(|slot| slot.registration.take());
        let registration = registration.unwrap_or_else(|| AbortHandle::new_pair().1);
        Self { inner: Abortable::new(upgrade, registration), _slot: slot }
    }
}

impl Future for Handshake {
    type Output = io::Result<Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll(cx)) {
            Ok(result) => result,
            Err(Aborted) => Err(io::Error::other("ended for a newcomer: too many handshakes at once")),
        })
    }
}

impl Transport for Gate {
    type Output = Output;
    type Error = io::Error;
    type ListenerUpgrade = Handshake;
    type Dial = <Inner as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, opts)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        for _ in 0..TURN {
            let event = ready!(Pin::new(&mut self.inner).poll(cx));
            let TransportEvent::Incoming { send_back_addr, .. } = &event else {
                return Poll::Ready(event.map_upgrade(|upgrade| Handshake::new(upgrade, None)));
            };
            if let Some(slot) = self.admit(send_back_addr) {
                return Poll::Ready(event.map_upgrade(|upgrade| Handshake::new(upgrade, Some(slot))));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
