//! The engine from outside: gradients of every operation and of a whole block, training runs, generation, each on
//! every backend.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

mod operation;
mod support;

mod attention;
mod block;
mod fitting;
mod generation;
mod linear;
mod micro_batches;
mod ops;
mod quantised;
mod resuming;
mod variants;
