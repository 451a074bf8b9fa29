//! Benchmarks of what this crate does; those of the trainer run in the worker.

pub mod exchange;
mod process;
pub mod source;
