//! Benchmarks of what this crate does; those of the trainer run in the worker.

pub mod exchange;
pub mod folder;
mod process;

pub use process::Used;
pub mod source;
