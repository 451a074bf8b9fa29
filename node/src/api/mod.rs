//! The local interface: one closed list of requests, each with its type of answer, served in process and over the
//! daemon's local socket alike.

pub mod search;
pub mod proto;
pub mod socket;
pub mod channel;
pub mod lineage;
pub mod answers;
pub mod ask;
pub mod schema;
pub mod client;
pub mod server;
