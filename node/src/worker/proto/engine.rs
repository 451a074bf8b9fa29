//! What the numerics run on.

use potluck_trainer::backend::cpu::Precision;
use potluck_trainer::backend::cpu::instructions::Instructions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flags::{Auto, named_or_auto};
use crate::json_forms;

/// Which backend, in which float type, with which of the processor's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args, ToSchema)]
pub struct Engine {
    /// Whose arithmetic
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// Float type of weights and activations; factors, gradients and the optimiser are f32 in both. `auto` is bf16 to train
    /// where the processor multiplies it, f32 otherwise
    #[arg(long, default_value_t, value_parser = named_or_auto::<Precision>())]
    #[schema(value_type = json_forms::PrecisionOrAuto)]
    pub dtype: Auto<Precision>,
    /// Highest instruction set of the cpu backend; the results of each are its own. `auto` is the best that the processor
    /// has, `portable` what every processor has, `neon` is for aarch64
    #[arg(long, default_value_t, value_parser = named_or_auto::<Instructions>())]
    #[schema(value_type = json_forms::InstructionsOrAuto)]
    pub instructions: Auto<Instructions>,
}

/// A backend of the trainer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendName {
    /// Kernels of our own
    #[default]
    Cpu,
    /// candle's matrix products: the readable reference
    Candle,
}
