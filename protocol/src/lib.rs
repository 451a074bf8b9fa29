//! What is true on the network: objects, their canonical bytes, their signatures and ids, and the pure machines.
//!
//! Nothing here awaits, reads a clock, a file, the environment or a random source: bytes, time and randomness come in
//! as arguments, so that all of it can be simulated by seed.
//!
//! Reading order is the order of the modules below: each uses only those above it. The way of an adapter through them:
//!
//! ```text
//! files -> shard::Cut -> ShardTable -> Manifest -> Signed -> (store) -> Announcement
//! peer: bytes -> Signed<T> -verify-> Authentic<T> -fetch-> VerifiedShard* -> Complete -inspect-> WellFormed -> usable
//! ```

#![cfg_attr(not(test), warn(unused_crate_dependencies))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make and look at files of their own"))]

pub mod limits;
pub mod codec;
pub mod id;
pub mod text;
pub mod tensor;
pub mod signed;
pub mod base;
pub mod safetensors;
pub mod shard;
pub mod recipe;
pub mod channel;
pub mod manifest;
pub mod announce;
pub mod lineage;
pub mod verify;
pub mod splitmix;
pub mod rate_limit;
pub mod backoff;
pub mod ask;
pub mod fetch;
pub mod catalogue;
pub mod bulk;
