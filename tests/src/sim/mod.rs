//! The simulated world: the protocol's pure machines among links, delays and bad peers, by seed, with a clock of its
//! own.
//!
//! Goals: any machine can be plugged in ([`Actor`], [`Both`] for two in one node); the same seed gives the same run
//! to the last message ([`World::trace`]); rules are checked while it runs, not only at the end ([`Ledger`],
//! [`catalogue::Ledger`]). Non-goals: to be an exact model of TCP. A link delivers in order and loses nothing unless
//! it is cut; a node's line carries one message at a time, each way.
//!
//! The tests in `tests/tests/simulated` and the soaks `simulated-swarm` and `simulated-strangers` use it.

mod actor;
pub mod asking;
mod both;
pub mod catalogue;
mod ledger;
pub mod swarm;
pub mod whole;
mod world;

pub use actor::{Actor, Fault, Input, Line, Out};
pub use both::{Both, Either};
pub use ledger::Ledger;
pub use world::World;
