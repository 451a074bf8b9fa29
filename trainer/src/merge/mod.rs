//! Putting independently trained adapters together without error: as one adapter ([`sum`]), or into the base ([`fold`]).
//!
//! Never by averaging A and B apart: the average of products is not the product of averages.

pub mod fold;
pub mod sum;

use crate::lora::adapter::Adapter;

/// What `B A` of an adapter is multiplied with, in full precision.
fn scale(adapter: &Adapter) -> f64 {
    adapter.config.scale()
}

#[cfg(test)]
pub(crate) mod testing;
