//! The ways to a peer: TCP, with the feature `quic` QUIC too, and through a relay.
//!
//! TCP and relayed connections are encrypted by noise (with the feature `tls` by TLS, if the peer has it too) with yamux
//! on top; QUIC brings both of its own. Names are resolved by the system's DNS settings ([`super::names`]).

use std::num::NonZeroUsize;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::metrics::{BandwidthTransport, Registry};
use libp2p::pnet::PreSharedKey;
use libp2p::swarm::Config as SwarmConfig;
use libp2p::{PeerId, Swarm, Transport, noise, relay, tcp, yamux};

use super::behaviour::Behaviour;
use super::error::NetError;
use super::fresh_port::FreshPort;
use super::guard::{Gate, Guard};
use super::limits::{CONNECTION_TIMEOUT, IDLE_CONNECTION, STREAMS_OPENED, YAMUX_STREAMS};
use super::names::{Believed, Names};
use super::paced::Paced;
use super::private;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// How peers are reached.
pub struct Ways {
    /// Of a private network.
    pub key: Option<PreSharedKey>,
    /// Whose names may lead where.
    pub names: Believed,
    /// Belongs to the relay client among the behaviours.
    pub relayed: relay::client::Transport,
}

/// A swarm that neither listens nor dials yet.
pub fn swarm(
    identity: &Keypair,
    Ways { key, names, relayed }: Ways,
    behaviour: Behaviour,
    guard: &Guard,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, NetError> {
    let config = SwarmConfig::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_CONNECTION)
        .with_notify_handler_buffer_size(NonZeroUsize::MIN.saturating_add(31))
        .with_per_connection_event_buffer_size(16)
        // More than yamux lets a peer open.
        .with_max_negotiating_inbound_streams(YAMUX_STREAMS)
        .with_smart_dial();
    let relayed = upgrade_connection(relayed, security(identity)?);
    // First, because it takes addresses through relays only; the part before the relay's name is dialled by the others.
    let transport = relayed.or_transport(with_dns(identity, key, names)?).map(|either, _| either.into_inner()).boxed();
    let counted = BandwidthTransport::new(Gate::new(transport, guard.clone()), registry);
    let paced = counted.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Paced::new(muxer, STREAMS_OPENED)))).boxed();
    Ok(Swarm::new(paced, behaviour, identity.public().to_peer_id(), config))
}

/// Direct connections, to addresses with names too.
fn with_dns(identity: &Keypair, key: Option<PreSharedKey>, names: Believed) -> Result<Connections, NetError> {
    match Names::new(direct(identity, key)?, names) {
        Ok(named) => Ok(named.boxed()),
        Err(error) => {
            // A machine without a resolver still reaches peers by their addresses.
            tracing::warn!(%error, "no system DNS settings: addresses with names cannot be dialled");
            direct(identity, key)
        }
    }
}

#[cfg(not(feature = "quic"))]
fn direct(identity: &Keypair, key: Option<PreSharedKey>) -> Result<Connections, NetError> {
    tcp(identity, key)
}

#[cfg(feature = "quic")]
fn direct(identity: &Keypair, key: Option<PreSharedKey>) -> Result<Connections, NetError> {
    // QUIC has no place for the key of a private network.
    if key.is_some() {
        return tcp(identity, key);
    }
    Ok(quic(identity).or_transport(tcp(identity, key)?).map(|either, _| either.into_inner()).boxed())
}

fn tcp(identity: &Keypair, key: Option<PreSharedKey>) -> Result<Connections, NetError> {
    // Port reuse, which holes in NATs need, is on by itself for every dial but those that ask for a new port.
    let raw = FreshPort(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true)));
    Ok(upgrade_connection(private::with_shared_key(raw, key), security(identity)?))
}

/// Wider windows than libp2p's defaults: one bulk stream is to fill a fast or far link alone.
#[cfg(feature = "quic")]
fn quic(identity: &Keypair) -> Connections {
    use std::time::Duration;

    use super::limits::{QUIC_CONNECTION_WINDOW, QUIC_IDLE_MS, QUIC_STREAM_WINDOW};

    let mut config = libp2p::quic::Config::new(identity);
    config.max_concurrent_stream_limit = YAMUX_STREAMS as u32;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = Duration::from_millis(u64::from(QUIC_IDLE_MS) / 3);
    config.handshake_timeout = Duration::from_secs(10);
    libp2p::quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}

#[cfg(not(feature = "tls"))]
type Security = noise::Config;

#[cfg(not(feature = "tls"))]
fn security(identity: &Keypair) -> Result<Security, NetError> {
    noise::Config::new(identity).map_err(|error| NetError::Setup(error.to_string()))
}

#[cfg(feature = "tls")]
type Security = super::security::Preferring<libp2p::tls::Config, noise::Config>;

#[cfg(feature = "tls")]
fn security(identity: &Keypair) -> Result<Security, NetError> {
    let setup = |error: String| NetError::Setup(error);
    let first = libp2p::tls::Config::new(identity).map_err(|error| setup(error.to_string()))?;
    let second = noise::Config::new(identity).map_err(|error| setup(error.to_string()))?;
    Ok(Security { first, second })
}

/// Encrypted, authenticated, and with many streams.
fn upgrade_connection<T>(raw: T, security: Security) -> Connections
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Error: Send + Sync + 'static,
{
    let secure = raw.upgrade(Version::V1Lazy).authenticate(security);
    secure.multiplex(muxer()).timeout(CONNECTION_TIMEOUT).boxed()
}

fn muxer() -> yamux::Config {
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(YAMUX_STREAMS);
    yamux
}
