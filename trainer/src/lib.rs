//! The trainer: blocking numerics. No network, no async, no environment, no home folder.

pub mod tensor;
