//! What is true on the network: objects, their canonical bytes, their signatures and ids, and the pure machines.
//!
//! Nothing here awaits, reads a clock, a file, the environment or a random source: bytes, time and randomness come in
//! as arguments, so that all of it can be simulated by seed.
//!
//! Reading order is the order of the modules below. The way of an adapter through them:
//!
//! ```text
//! files -> shard::Cut -> ShardTable -> Manifest -> Signed -> (store) -> Announcement
//! peer: bytes -> Signed<T> -verify-> Authentic<T> -fetch-> VerifiedShard* -> Complete -inspect-> WellFormed -> usable
//! ```

pub mod announce;
pub mod base;
pub mod bulk;
pub mod catalogue;
pub mod channel;
pub mod codec;
pub mod fetch;
pub mod id;
pub mod limits;
pub mod manifest;
pub mod rate_limit;
pub mod recipe;
pub mod safetensors;
pub mod shard;
pub mod signed;
pub mod sim;
pub mod splitmix;
pub mod tensor;
pub mod text;
pub mod verify;
