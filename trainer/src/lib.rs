//! The trainer: blocking numerics. No network, no async, no environment, no home folder.

pub mod tensor;

pub mod sample;

pub mod backend;
pub mod model;

pub mod lora;

pub mod fit;
pub mod optim;
pub mod progress;

pub mod bench;
pub mod checkpoint;
pub mod evaluate;
pub mod generate;
