//! The settings of a training run, as a file or a command line gives them.

use serde::{Deserialize, Serialize};

use super::FitError;
use crate::lora::config::{LoraConfig, Targets};
use crate::model::block::Recompute;
use crate::optim::AdamW;
use crate::optim::schedule::Schedule;
use crate::sample::Sample;

/// How an adapter is trained. Two runs with equal settings, data and base give the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    pub lora: LoraConfig,
    pub optimizer: AdamW,
    pub schedule: Schedule,
    /// Times that every sample is seen.
    pub epochs: u32,
    /// Ends the run earlier, and the schedule with it.
    pub max_steps: Option<u64>,
    /// Samples that go through the model at once.
    pub batch_size: usize,
    /// Batches of one optimiser step. The loss is a mean over the labelled tokens of all of them, so `batch_size * 2`
    /// and `accumulation * 2` train the same.
    pub accumulation: usize,
    /// Gradients longer than this are scaled down to it.
    pub max_grad_norm: Option<f64>,
    /// Decides the first `A` and the order of samples.
    pub seed: u64,
    /// Steps between checkpoints, where a run has a place for them; 0 for only one at the end.
    pub checkpoint_every: u64,
    pub recompute: Recompute,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            lora: LoraConfig { r: 16, lora_alpha: 32.0, target_modules: Targets::AllLinear },
            optimizer: AdamW::default(),
            schedule: Schedule::default(),
            epochs: 1,
            max_steps: None,
            batch_size: 8,
            accumulation: 1,
            max_grad_norm: Some(1.0),
            seed: 0,
            checkpoint_every: 50,
            recompute: Recompute::None,
        }
    }
}

impl FitConfig {
    /// What the types do not say.
    pub fn check(&self) -> Result<(), FitError> {
        let unless = |good: bool, field: &'static str, need: &'static str| {
            if good { Ok(()) } else { Err(FitError::Setting { field, need }) }
        };
        let AdamW { lr, beta1, beta2, eps, weight_decay } = self.optimizer;
        unless(self.epochs >= 1, "epochs", "at least 1")?;
        unless(self.max_steps != Some(0), "max_steps", "at least 1")?;
        unless(self.batch_size >= 1, "batch_size", "at least 1")?;
        unless(self.accumulation >= 1, "accumulation", "at least 1")?;
        unless(lr.is_finite() && lr >= 0.0, "lr", "a finite number from 0 on")?;
        unless((0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2), "beta1 and beta2", "from 0 to below 1")?;
        unless(eps.is_finite() && eps > 0.0, "eps", "a finite number above 0")?;
        unless(weight_decay.is_finite() && weight_decay >= 0.0, "weight_decay", "a finite number from 0 on")?;
        unless(self.max_grad_norm.is_none_or(|max| max.is_finite() && max > 0.0), "max_grad_norm", "above 0")
    }

    pub fn samples_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulation)
    }

    /// Optimiser steps of the whole run over so many samples.
    pub fn steps(&self, samples: usize) -> u64 {
        let all = u64::from(self.epochs) * samples.div_ceil(self.samples_per_step()) as u64;
        self.max_steps.map_or(all, |max| max.min(all))
    }
}

/// Every sample must label something; a step without labels would have no mean.
pub fn check_samples(samples: &[Sample]) -> Result<(), FitError> {
    match samples.iter().position(|sample| sample.labelled() == 0) {
        _ if samples.is_empty() => Err(FitError::NoSamples),
        Some(sample) => Err(FitError::Unlabelled { sample }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_take_their_defaults_and_unknown_ones_are_refused() {
        let config: FitConfig = serde_json::from_str(r#"{"epochs":3,"optimizer":{"lr":0.001}}"#).unwrap();
        assert_eq!((config.epochs, config.optimizer.lr, config.optimizer.beta1), (3, 0.001, 0.9));
        assert!(serde_json::from_str::<FitConfig>(r#"{"epoch":3}"#).is_err());
    }

    #[test]
    fn steps_round_up_in_each_epoch() {
        let config = FitConfig { epochs: 2, batch_size: 4, accumulation: 2, ..FitConfig::default() };
        assert_eq!(config.steps(17), 6);
        assert_eq!(FitConfig { max_steps: Some(5), ..config }.steps(17), 5);
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let config = FitConfig { batch_size: 0, ..FitConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("batch_size"));
    }
}
