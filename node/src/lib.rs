//! The only crate that touches the world: network, files, clock, commands.

pub mod exchange;
pub mod net;
