//! This node as a follower and an auditor: what of a channel it believes, takes, goes back from, and shows.
//!
//! ```text
//! announcements, store -> gather -> chain (Lineage) -> adapters here -> audit -> current
//!                           |                                            |
//!                       two at one height                     bytes do not follow
//!                           +------> halt, and a proof that is announced <+
//! proofs of others -> looked at again here, beside that and within bounds -> halt, or ignored and said so
//! ```
//!
//! Nothing is in force but what one record in `state.log` says, and that is written last.

pub mod limits;
pub mod turns;
pub mod describe;
pub mod chain;
pub mod chain_fetch;
pub mod heard;
pub mod halt;
pub mod rate_limit;
pub mod audit;
pub mod proofs;
pub mod update;
pub mod follow;
pub mod show;
pub mod export;
pub mod watch;

use std::sync::Arc;

use crate::app::disk::Disk;
use crate::app::lineages::Lineages;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::app::reference::Names;
use crate::app::versions::Versions;
use crate::identity::Identity;
use audit::Auditor;
use chain_fetch::Chains;
use halt::Halts;
use turns::Turns;

/// Follows channels: takes their versions, or finds out why not.
#[derive(Clone)]
pub struct Follower {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) versions: Arc<Versions>,
    pub(in crate::app) turns: Turns,
    pub(in crate::app) chains: Arc<Chains>,
    pub(in crate::app) halts: Arc<Halts>,
    pub(in crate::app) auditor: Arc<Auditor>,
}
