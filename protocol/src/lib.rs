//! What is true on the network: objects, their canonical bytes, their signatures and ids, and the pure machines.
//!
//! Nothing here awaits, reads a clock, a file, the environment or a random source: bytes, time and randomness come in
//! as arguments, so that all of it can be simulated by seed.

pub mod limits;
pub mod id;
pub mod codec;
pub mod tensor;
pub mod safetensors;
pub mod base;
