//! The trainer: blocking numerics. No network, no async, no environment, no home folder.

pub mod base;
pub mod data;
pub mod lora;
pub mod merge;
pub mod model;
pub mod peft;
pub mod sample;
pub mod tensor;
