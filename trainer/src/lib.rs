//! The trainer: blocking numerics. No network, no async, no environment, no home folder.
//!
//! Reading order is the order of the modules below.

pub mod files;
pub mod removal;

pub mod tensor;

pub mod sample;

pub mod base;
pub mod data;

pub mod backend;
pub mod model;

pub mod lora;
pub mod peft;

pub mod merge;

pub mod fit;
pub mod memory;
pub mod optim;
pub mod progress;

pub mod bench;
pub mod checkpoint;
pub mod evaluate;
pub mod generate;

pub mod oracle;

pub mod synthetic;

pub mod tiny;
