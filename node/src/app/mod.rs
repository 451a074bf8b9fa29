//! What a node can do, in one place: the daemon's socket and the command line without a daemon both end here.
//!
//! [`Node`] takes each request to the part that answers it. A part is a type of one file or folder; it owns what it needs
//! and is handed the parts below it, in the order of the modules here, each of which calls only those above it in this
//! list. `parts` puts them together. Nothing here parses flags or prints.
//!
//! A part holds the parts below it behind an `Arc`: by value each would hold all those below it again, and a node would be
//! larger than a thread's stack bears.

mod call;
pub mod unasked;
mod rests;
mod errors;
pub mod failures;
mod network;
mod disk;
pub mod worker;
mod lineages;
mod known_bases;
mod reference;
mod shapes;
mod inspect;
mod objects;
mod publisher;
mod bases;
mod adapters;
mod fold;
mod versions;
mod resolver;
mod plan;
mod training;
mod merge;
mod publish;
mod channel;
mod search;
mod show;
mod status;
mod maintenance;
mod verify;
mod parts;
mod node;
mod apart;
#[cfg(test)]
mod tests;

pub use apart::run_apart;
pub use network::Network;
pub use node::{Node, open};
