//! The one crate that touches the world: files, the network, the command line.

pub mod failpoint;
pub mod home;
pub mod identity;
pub mod store;
