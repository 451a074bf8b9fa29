//! The trainer: blocking numerics. No network, no async, no environment, no home folder.

pub mod backend;
pub mod lora;
pub mod model;
pub mod sample;
pub mod tensor;
