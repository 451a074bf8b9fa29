//! TCP, encrypted by noise, with yamux on top; names are resolved by the system's DNS settings.

use std::num::NonZeroUsize;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::metrics::{BandwidthTransport, Registry};
use libp2p::swarm::Config as SwarmConfig;
use libp2p::{PeerId, Swarm, Transport, dns, noise, tcp, yamux};

use super::behaviour::Behaviour;
use super::guard::{Gate, Guard};
use super::handle::NetError;
use super::limits::{CONNECTION_TIMEOUT, IDLE_CONNECTION, YAMUX_STREAMS};

/// A swarm that neither listens nor dials yet.
pub fn swarm(
    identity: &Keypair,
    behaviour: Behaviour,
    guard: &Guard,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, NetError> {
    let config = SwarmConfig::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_CONNECTION)
        .with_notify_handler_buffer_size(NonZeroUsize::new(32).expect("32 is not zero"))
        .with_per_connection_event_buffer_size(16)
        // More than yamux lets a peer open.
        .with_max_negotiating_inbound_streams(YAMUX_STREAMS)
        .with_smart_dial();
    let guarded = Gate::new(transport(identity)?, guard.clone());
    let counted = BandwidthTransport::new(guarded, registry);
    let boxed = counted.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed();
    Ok(Swarm::new(boxed, behaviour, identity.public().to_peer_id(), config))
}

fn transport(identity: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    match dns::tokio::Transport::system(tcp(identity)?) {
        Ok(named) => Ok(named.boxed()),
        Err(error) => {
            // A machine without a resolver still reaches peers by their addresses.
            tracing::warn!(%error, "no system DNS settings: addresses with names cannot be dialled");
            tcp(identity)
        }
    }
}

fn tcp(identity: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let noise = noise::Config::new(identity).map_err(|error| NetError::Setup(error.to_string()))?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(YAMUX_STREAMS);
    Ok(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(CONNECTION_TIMEOUT)
        .boxed())
}
