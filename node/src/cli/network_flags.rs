//! How a node is on the network, as it is typed.

use clap::Args;
use libp2p::{Multiaddr, PeerId};

use super::output;
use crate::addresses::{is_loopback, undialable, unlistenable};
use crate::daemon::{Settings, Space};
use crate::exchange::{Speed, Speeds};
use crate::failure::{Failure, Kind, Outcome};
use crate::net::discovery::Dht;
use crate::net::nat;

/// The port of a daemon if nothing is said.
const PORT: u16 = 7740;

/// For how long somebody is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// A daemon: at a port that others know.
    Daemon,
    /// As long as one command takes: at a free port, so that it never stands in a daemon's place.
    Command,
}

/// Where a node listens if nothing is said.
fn listen_by_default(stay: Stay) -> Vec<String> {
    let port = match stay {
        Stay::Daemon => PORT,
        Stay::Command => 0,
    };
    let mut listen = vec![format!("/ip4/0.0.0.0/tcp/{port}")];
    if cfg!(feature = "quic") {
        listen.push(format!("/ip4/0.0.0.0/udp/{port}/quic-v1"));
    }
    listen
}

/// How this node is on the network.
#[derive(Debug, Args)]
pub struct Network {
    /// Address to listen on; may be given several times [default: port 7740 of all IPv4 addresses; for a command that runs
    /// without a daemon a free port]
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Peer to connect to at the start, in addition to the file `bootstrap` in the home; repeatable
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Name of the network; nodes of different networks do not connect
    #[arg(long, value_name = "NAME", default_value = "main")]
    network: String,
    /// Find peers on the local network
    #[arg(long)]
    mdns: bool,
    /// Role in the DHT: `server` answers from the start (for public nodes), `auto` once a public address is known,
    /// `client` only asks, `off` does neither
    #[arg(long, value_name = "auto|server|client|off", default_value = "auto")]
    dht: Dht,
    /// Peer that may connect; repeatable, or one a line in the file `allow` in the home. Without either, everybody may
    #[arg(long, value_name = "PEER")]
    allow: Vec<PeerId>,
    #[command(flatten)]
    speeds: Limits,
    #[command(flatten)]
    space: SpaceLimits,
    #[command(flatten)]
    reach: Reach,
}

/// How much of the disk this node may take, and how much of what strangers choose.
#[derive(Debug, Args)]
pub struct SpaceLimits {
    /// Space to leave free on the disk of the home: writes that would leave less are refused, and nothing is fetched that
    /// would not fit. Without it, 64 MiB are left free before anything large is fetched
    #[arg(long, value_name = "SIZE", value_parser = crate::text::parse_bytes, default_value = "0")]
    min_free: u64,
    /// Limit on bytes fetched in a day without being asked for: what stewards of followed channels and proposers chose
    #[arg(long, value_name = "SIZE", value_parser = crate::text::parse_bytes, default_value = "16GiB")]
    unasked_per_day: u64,
}

/// How much of the line this node may take.
#[derive(Debug, Args)]
pub struct Limits {
    /// Limit on bytes sent per second, to all peers together, e.g. 5MB
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    upload_limit: Option<Speed>,
    /// Limit on bytes sent per second to one peer
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    upload_limit_per_peer: Option<Speed>,
    /// Limit on bytes sent per second to the peers of one neighbourhood (IPv4 /24, IPv6 /56)
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    upload_limit_per_group: Option<Speed>,
    /// Limit on bytes fetched per second
    #[arg(long, value_name = "SIZE", value_parser = speed)]
    download_limit: Option<Speed>,
}

impl Limits {
    fn speeds(&self) -> Speeds {
        Speeds {
            upload: self.upload_limit,
            upload_per_peer: self.upload_limit_per_peer,
            upload_per_group: self.upload_limit_per_group,
            download: self.download_limit,
        }
    }
}

/// How others reach this node.
#[derive(Debug, Args)]
pub struct Reach {
    /// Relay for peers that cannot be reached, and probe whether peers can: for public nodes
    #[arg(long)]
    relay: bool,
    /// Address at which others reach this node, e.g. of a port that a router forwards; repeatable
    #[arg(long, value_name = "MULTIADDR")]
    external: Vec<String>,
    /// Do not ask the router for a port (UPnP)
    #[arg(long)]
    no_upnp: bool,
    /// Use relays at once, without probing first whether this node can be reached
    #[arg(long, conflicts_with_all = ["relay", "external"])]
    behind_nat: bool,
}

impl Network {
    pub fn settings(&self, stay: Stay) -> Outcome<Settings> {
        let addresses = |texts: &[String], why: fn(&Multiaddr) -> Option<String>| {
            texts.iter().map(|text| address(text, why)).collect::<Outcome<Vec<_>>>()
        };
        let network = self.network.parse().map_err(|error| Failure::new(Kind::Usage, format!("--network: {error}")))?;
        let listen = match self.listen.as_slice() {
            [] => addresses(&listen_by_default(stay), unlistenable)?,
            listen => addresses(listen, unlistenable)?,
        };
        let nat = nat::Settings {
            external: addresses(&self.reach.external, undialable)?,
            // A node that others on this machine alone can reach has no use for a router.
            upnp: !self.reach.no_upnp && !listen.iter().all(is_loopback),
            relay: self.reach.relay.then(nat::RelayLimits::default),
            behind_nat: self.reach.behind_nat,
        };
        Ok(Settings {
            listen,
            bootstrap: addresses(&self.bootstrap, undialable)?,
            network,
            mdns: self.mdns,
            dht: self.dht,
            allow: self.allow.clone(),
            metrics: None,
            speeds: self.speeds.speeds(),
            nat,
            space: Space { min_free_bytes: self.space.min_free, unasked_per_day: self.space.unasked_per_day },
        })
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    let bytes = crate::text::parse_bytes(text)?;
    Speed::new(bytes).ok_or_else(|| format!("the minimum is {} a second", output::bytes(Speed::MIN)))
}

/// A multiaddress that is of use; `why` says why one is of none.
fn address(text: &str, why: fn(&Multiaddr) -> Option<String>) -> Outcome<Multiaddr> {
    let useless = |reason: String| {
        Failure::new(Kind::Usage, format!("cannot use address `{text}`: {reason}"))
            .hint("e.g. /ip4/192.0.2.7/tcp/7740, or with the peer's id: /ip4/192.0.2.7/tcp/7740/p2p/12D3Koo...")
    };
    let address: Multiaddr = text.parse().map_err(|error| useless(format!("it is not a multiaddress: {error}")))?;
    match why(&address) {
        Some(reason) => Err(useless(reason)),
        None => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_never_stands_in_a_daemons_place() {
        let ports = |stay: Stay| {
            let listen = listen_by_default(stay);
            listen.iter().map(|text| text.split('/').nth(4).expect("a port").to_owned()).collect::<Vec<_>>()
        };
        assert!(ports(Stay::Command).iter().all(|port| port == "0"), "a free one");
        assert!(ports(Stay::Daemon).iter().all(|port| port == "7740"));
        for text in listen_by_default(Stay::Daemon).iter().chain(&listen_by_default(Stay::Command)) {
            assert!(address(text, unlistenable).is_ok(), "{text}");
        }
    }
}
