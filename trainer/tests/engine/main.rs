//! The engine from outside: gradients of every operation and of a whole block, training runs, generation.

mod attention;
mod block;
mod fitting;
mod generation;
mod micro_batches;
mod ops;
mod quantised;
mod resuming;
mod support;
mod variants;
