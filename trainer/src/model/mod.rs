//! The decoder: weights in, hidden states and gradients out, by an explicit schedule and no tape.

pub mod weights;
