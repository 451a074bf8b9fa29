//! The trainer: blocking numerics. No network, no async, no environment, no home folder.
//!
//! Reading order is the order of the modules below.

#![cfg_attr(not(test), warn(unused_crate_dependencies))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make and look at files of their own"))]

// Not called: as a dependency with its feature it switches candle's own `gemm` to AVX-512 where the processor has it.
use gemm as _;

pub mod files;
pub mod removal;
mod strangers;

pub mod names;
pub mod random;

pub mod tensor;
pub mod weights;

pub mod base;
pub mod data;

pub mod backend;

pub mod lora;
pub mod model;
pub mod peft;

pub mod merge;

pub mod generate;
pub mod evaluate;

pub mod optim;
pub mod fit;
pub mod memory;

pub mod bench;

pub mod oracle;

pub mod synthetic;

pub mod tiny;
