//! The trainer: blocking numerics. No network, no async, no environment, no home folder.
//!
//! Reading order is the order of the modules below.

#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod files;
pub mod removal;

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
