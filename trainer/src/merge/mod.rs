//! Putting independently trained adapters together without error: as one adapter ([`sum`]), or into the base ([`fold`]).
//!
//! Never by averaging A and B apart: the average of products is not the product of averages.

pub mod fold;
pub mod sum;

use crate::lora::adapter::Adapter;

/// What `B A` of an adapter is multiplied with, in full precision.
fn scale(adapter: &Adapter) -> f64 {
    f64::from(adapter.config.lora_alpha) / adapter.config.r as f64
}

#[cfg(test)]
mod testing;
