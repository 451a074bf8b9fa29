//! PEFT folders: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Whatever a folder's settings are, what is read is the *portable profile*: one rank, `lora_alpha` equal to it, the
//! scale folded into B. So every reader of what is written later (PEFT, vLLM, llama.cpp's converter) computes the same,
//! also those that know neither rank patterns nor rank-stabilised scales. Goals: precise refusals; equal adapters give
//! equal bytes. Non-goals: pickles, DoRA, biases, trained embeddings.

mod aim;
mod config;
mod error;
mod inspection;
mod plan;
mod positioned;
mod read;
mod size;
mod stored;
mod stream;
mod write;

pub use error::PeftError;
pub use inspection::{Inspected, Inspection};
pub use read::{check, read};
pub use size::model_bytes;
pub use stored::Stored;
pub use stream::FactorsWriter;
pub use write::{Files, encode, portable_settings, target_modules, write};

/// The settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The factors.
pub const MODEL_FILE: &str = "adapter_model.safetensors";

#[cfg(test)]
mod tests;
