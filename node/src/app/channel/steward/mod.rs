//! As a steward: opening, releasing, revoking; and proposing to any channel.
//!
//! A version comes about in this order, each step durable before the next, so that a crash at any point leaves the old
//! version in force and the new one to be finished, never two for one height:
//!
//! ```text
//! peers asked -> rows of the opened shard in the store -> height still free -> promise of the whole body -> signature
//!   -> manifest, well-formed -> in force here -> pinned -> announced
//! ```

pub mod proposals;
pub mod propose;
pub mod screen;
pub mod verdicts;
pub mod version;
mod own;
mod deal;
mod open;
mod release;
mod amend;

use std::sync::Arc;

use super::follower::chain_fetch::Chains;
use super::follower::halt::Halts;
use crate::app::adapters::Adapters;
use crate::app::bases::Bases;
use crate::app::disk::Disk;
use crate::app::fold::Folds;
use crate::app::lineages::Lineages;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::app::publisher::Publisher;
use crate::app::reference::Names;
use crate::app::resolver::Resolver;
use crate::app::versions::Versions;
use crate::app::worker::Worker;
use crate::identity::Identity;
use proposals::Proposals;
use screen::Screen;
use version::Drafts;

/// Opens channels and makes their versions, one at a time.
#[derive(Clone)]
pub struct Steward {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) publisher: Arc<Publisher>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) adapters: Arc<Adapters>,
    pub(in crate::app) folds: Arc<Folds>,
    pub(in crate::app) versions: Arc<Versions>,
    pub(in crate::app) resolver: Arc<Resolver>,
    pub(in crate::app) chains: Arc<Chains>,
    pub(in crate::app) halts: Arc<Halts>,
    pub(in crate::app) screen: Arc<Screen>,
    pub(in crate::app) proposals: Arc<Proposals>,
    pub(in crate::app) drafts: Arc<Drafts>,
    /// Held while this node makes a version: one at a time.
    pub(in crate::app) making: Arc<tokio::sync::Mutex<()>>,
}
