//! The settings of a training run, as a file or a command line gives them.

use serde::{Deserialize, Serialize};

use super::FitError;
use super::watch::{EarlyStopping, Keep};
use crate::backend::Trains;
use crate::data::sample::Sample;
use crate::lora::config::LoraConfig;
use crate::model::block::Recompute;
use crate::names::named;
use crate::optim::AdamW;
use crate::optim::schedule::Schedule;

/// How an adapter is trained. Two runs with equal settings, data and base give the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Rank, scale and places of the adapter.
    pub lora: LoraConfig,
    /// Peak rate, moments and decay.
    pub optimizer: AdamW,
    /// How the rate moves over the run.
    pub schedule: Schedule,
    /// Times that every sample is seen.
    pub epochs: u32,
    /// Ends the run earlier, and the schedule with it.
    pub max_steps: Option<u64>,
    /// Samples that go through the model at once, unless [`Self::micro_batch_tokens`] says otherwise.
    pub batch_size: usize,
    /// Batches of one optimiser step. The loss is a mean over the labelled tokens of all of them, so `batch_size * 2`
    /// and `accumulation * 2` train the same.
    pub accumulation: usize,
    /// Cuts the step's `batch_size * accumulation` samples into micro-batches of at most so many tokens instead
    /// ([`crate::data::pack`]). Sequences lie one behind another without padding and see themselves only, so this
    /// changes memory and speed alone.
    pub micro_batch_tokens: Option<usize>,
    /// Gradients longer than this are scaled down to it.
    pub max_grad_norm: Option<f64>,
    /// Which factors are trained. One alone: `A` stays as drawn, or `B` as it was in the adapter to start from.
    pub train: Train,
    /// Decides the first `A`, the order of samples and what is dropped.
    pub seed: u64,
    /// Steps between evaluations on held-out samples, with one after the last step; 0 for none.
    pub eval_every: u64,
    /// Ends the run before its last step; needs [`Self::eval_every`].
    pub early_stopping: Option<EarlyStopping>,
    /// Which state becomes the adapter; [`Keep::Best`] needs [`Self::eval_every`].
    pub keep: Keep,
    /// Steps between checkpoints, where a run has a place for them; 0 for only one at the end.
    pub checkpoint_every: u64,
    /// Trades time for memory, and changes no bit.
    pub recompute: Recompute,
}

/// Which factors of every pair are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Train {
    /// Ordinary LoRA.
    #[default]
    Both,
    /// `B` stays as it is: the adapter to start from must have one that is not zero.
    A,
    /// `A` stays as it was drawn, or as it was in the adapter to start from.
    B,
}

named!(Train { Both = "both", A = "a", B = "b" });

impl Train {
    /// The same for the backend.
    pub fn factors(self) -> Trains {
        Trains { a: self != Self::B, b: self != Self::A }
    }
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            lora: LoraConfig::default(),
            optimizer: AdamW::default(),
            schedule: Schedule::default(),
            epochs: 1,
            max_steps: None,
            batch_size: 8,
            accumulation: 1,
            micro_batch_tokens: None,
            max_grad_norm: Some(1.0),
            train: Train::Both,
            seed: 0,
            eval_every: 0,
            early_stopping: None,
            keep: Keep::Last,
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
        unless(self.micro_batch_tokens != Some(0), "micro_batch_tokens", "at least 1")?;
        unless(lr.is_finite() && lr >= 0.0, "lr", "a finite number from 0 on")?;
        unless((0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2), "beta1 and beta2", "from 0 to below 1")?;
        unless(eps.is_finite() && eps > 0.0, "eps", "a finite number above 0")?;
        unless(weight_decay.is_finite() && weight_decay >= 0.0, "weight_decay", "a finite number from 0 on")?;
        unless(self.max_grad_norm.is_none_or(|max| max.is_finite() && max > 0.0), "max_grad_norm", "above 0")?;
        let delta = |stop: EarlyStopping| stop.min_delta.is_finite() && stop.min_delta >= 0.0 && stop.patience >= 1;
        unless(
            self.early_stopping.is_none_or(delta),
            "early_stopping",
            "a patience of at least 1, with a min_delta from 0 on",
        )
    }

    /// What needs held-out samples, or evaluations of them.
    pub fn check_held_out(&self, held_out: &[Sample]) -> Result<(), FitError> {
        let judged = self.early_stopping.is_some() || self.keep == Keep::Best;
        if judged && self.eval_every == 0 {
            return Err(FitError::Setting {
                field: "eval_every",
                need: "above 0 to stop early or to keep the best state",
            });
        }
        match Sample::first_unlabelled(held_out) {
            _ if self.eval_every > 0 && held_out.is_empty() => Err(FitError::NoHeldOut),
            Some(sample) => Err(FitError::UnlabelledHeldOut { sample }),
            None => Ok(()),
        }
    }

    /// Samples of one optimiser step, the last one of an epoch aside.
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
    match Sample::first_unlabelled(samples) {
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

    #[test]
    fn stopping_early_needs_something_to_measure() {
        let stopping = Some(EarlyStopping { patience: 2, min_delta: 0.0 });
        let sample = |labels_from| Sample::completing(vec![1, 2], labels_from);
        let check = |eval_every, held_out: &[Sample]| {
            let config = FitConfig { early_stopping: stopping, eval_every, ..FitConfig::default() };
            config.check_held_out(held_out).map_err(|error| error.to_string())
        };
        assert!(check(0, &[sample(1)]).unwrap_err().contains("eval_every"));
        assert!(matches!(check(5, &[]), Err(error) if error.contains("held-out")));
        assert!(check(5, &[sample(1), sample(2)]).unwrap_err().contains("sample 1"));
        assert!(check(5, &[sample(1)]).is_ok());
    }
}
