//! The node itself, its peers and its network.

use std::net::SocketAddr;
use std::path::PathBuf;

use libp2p::Multiaddr;
use potluck_protocol::id::BaseId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;
use crate::net::{Health, nat::Reachability};
use crate::store::Held;

/// What a node is and does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// It is on a network: a daemon answers.
    pub running: bool,
    /// Process that answers.
    pub pid: u32,
    /// Its peer id; `None` where there is no home yet.
    pub peer: Option<String>,
    /// The home folder.
    #[schema(value_type = String)]
    pub home: PathBuf,
    /// Name of its network.
    pub network: Option<String>,
    /// Where it listens.
    #[schema(value_type = Vec<json_forms::Multiaddr>)]
    pub addresses: Vec<Multiaddr>,
    /// Peers that are connected.
    pub peers: usize,
    /// The addresses to begin with.
    pub bootstrap: Vec<Bootstrap>,
    /// The sign of another process with the same key, in words.
    pub twin: Option<String>,
    /// `None` of a node that is on no network.
    pub reachability: Option<Reachability>,
    /// Addresses at which everybody reaches it, as far as they are confirmed.
    #[schema(value_type = Option<Vec<json_forms::Multiaddr>>)]
    pub external: Option<Vec<Multiaddr>>,
    /// Peer ids of relays through which it is reached.
    pub relays: Vec<String>,
    /// It relays for others.
    pub relaying: bool,
    /// Manifests in its store, by kind.
    pub held: Held,
    /// Those of them that are adapters.
    pub adapters: usize,
    /// Announcements that are remembered.
    pub heard: usize,
    /// Bases that can be used by name, `tiny` included.
    pub bases: usize,
    /// Bytes of all shards.
    pub shard_bytes: u64,
}

/// One bootstrap address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bootstrap {
    /// `state`, and where it fails `reason`.
    #[serde(flatten)]
    pub health: Health,
    /// As it was given.
    #[schema(value_type = json_forms::Multiaddr)]
    pub address: Multiaddr,
}

/// The peers that are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// In no order that means anything.
    pub peers: Vec<Peer>,
}

/// One connected peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its peer id.
    pub peer: String,
    /// Address of the connection; empty where none is known.
    pub address: String,
    /// Program and version by its own word; empty before it was said.
    pub agent: String,
    /// How bytes reach it.
    pub route: Route,
    /// For how long it has been connected.
    pub connected_seconds: u64,
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// By a connection of its own.
    Direct,
    /// Through a relay, which carries no shards.
    Relayed,
}

impl Route {
    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        }
    }
}

/// All adapters that were waited for have been heard of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Heard {
    /// Whose announcements.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Announcements for that base.
    pub heard: usize,
}

/// The daemon ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {}

/// A daemon is ready. Written once, when it listens; schema `potluck.up/1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Up {
    /// The daemon's process.
    pub pid: u32,
    /// Its peer id.
    pub peer: String,
    /// Where it listens.
    #[schema(value_type = Vec<json_forms::Multiaddr>)]
    pub addresses: Vec<Multiaddr>,
    /// Where the metrics are read, if they are served.
    #[schema(value_type = Option<String>)]
    pub metrics: Option<SocketAddr>,
}

impl Up {
    /// Name and version of the form.
    pub const SCHEMA: &'static str = "potluck.up/1";
}

/// A swarm key was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkKey {
    /// The file that holds it.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// By which two copies are compared without showing the key.
    pub fingerprint: String,
}

impl NetworkKey {
    /// Name and version of the form.
    pub const SCHEMA: &'static str = "potluck.network.new-key/1";
}

/// Whom a home speaks to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkShown {
    /// Of the swarm key; `None` of a home that is in no private network.
    pub fingerprint: Option<String>,
    /// Peer ids that may connect; `None` for everybody.
    pub allow: Option<Vec<String>>,
    /// Addresses of the file `bootstrap`.
    #[schema(value_type = Vec<json_forms::Multiaddr>)]
    pub bootstrap: Vec<Multiaddr>,
}

impl NetworkShown {
    /// Name and version of the form.
    pub const SCHEMA: &'static str = "potluck.network.show/1";
}
