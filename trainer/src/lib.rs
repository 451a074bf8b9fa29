//! The trainer: blocking numerics. No network, no async, no environment, no home folder.

pub mod oracle;
pub mod synthetic;
pub mod tensor;
pub mod tiny;
