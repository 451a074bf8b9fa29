//! Which samples a step sees: a seeded shuffle of each epoch, known from the step's number alone; and how they are cut
//! into micro-batches, which changes memory and speed but not the step.

use super::config::FitConfig;
use crate::data::pack::pack;
use crate::data::sample::Sample;
use crate::random::splitmix64;

/// The order of samples over a whole run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Decides the shuffle of every epoch.
    pub seed: u64,
    /// How many there are; above 0.
    pub samples: usize,
    /// Samples of one optimiser step. An epoch's last step takes what is left.
    pub per_step: usize,
}

impl Order {
    /// Optimiser steps that see every sample once.
    pub fn steps_per_epoch(&self) -> u64 {
        self.samples.div_ceil(self.per_step) as u64
    }

    /// The indices of the samples of a step (from 0).
    pub fn step(&self, step: u64) -> Vec<usize> {
        let epoch = step / self.steps_per_epoch();
        let within = (step % self.steps_per_epoch()) as usize;
        let shuffled = self.epoch(epoch);
        shuffled.into_iter().skip(within * self.per_step).take(self.per_step).collect()
    }

    /// Fisher and Yates; draw `i` of an epoch is a function of seed, epoch and `i`.
    fn epoch(&self, epoch: u64) -> Vec<usize> {
        let key = splitmix64(splitmix64(self.seed).wrapping_add(epoch));
        let mut indices: Vec<usize> = (0..self.samples).collect();
        for i in (1..self.samples).rev() {
            let draw = splitmix64(key.wrapping_add(i as u64));
            // The high bits of the product: uniform to within samples / 2^64.
            let pick = (u128::from(draw) * (i as u128 + 1)) >> 64;
            indices.swap(i, pick as usize);
        }
        indices
    }
}

/// The step's samples, by their place in the step, as they go through the model together.
pub fn micro_batches(samples: &[&Sample], config: &FitConfig) -> Vec<Vec<usize>> {
    match config.micro_batch_tokens {
        // The last token of a sample is only predicted: it is no row.
        Some(tokens) => {
            pack(&samples.iter().map(|sample| sample.ids.len().saturating_sub(1)).collect::<Vec<_>>(), tokens)
        }
        None => (0..samples.len()).collect::<Vec<_>>().chunks(config.batch_size).map(<[usize]>::to_vec).collect(),
    }
}

/// Steps times samples that are looked through for the heaviest micro-batch.
const LOOK_AHEAD: u64 = 20_000_000;

/// The micro-batch with the most tokens among all of a run. Of very many samples, the longest ones together, which is
/// no less.
pub fn heaviest<'a>(samples: &'a [Sample], config: &FitConfig) -> Vec<&'a Sample> {
    if config.steps(samples.len()).saturating_mul(samples.len() as u64) > LOOK_AHEAD {
        let mut longest: Vec<&Sample> = samples.iter().collect();
        longest.sort_by_key(|sample| std::cmp::Reverse(sample.ids.len()));
        longest.truncate(config.samples_per_step());
        let first = micro_batches(&longest, config).into_iter().next().unwrap_or_default();
        return first.into_iter().map(|at| longest[at]).collect();
    }
    let order = Order { seed: config.seed, samples: samples.len(), per_step: config.samples_per_step() };
    let (mut most, mut found) = (0, Vec::new());
    for step in 0..config.steps(samples.len()).min(order.steps_per_epoch()) {
        let chosen: Vec<&Sample> = order.step(step).into_iter().map(|index| &samples[index]).collect();
        for micro_batch in micro_batches(&chosen, config) {
            let tokens = micro_batch.iter().map(|&at| chosen[at].ids.len()).sum();
            if tokens > most {
                (most, found) = (tokens, micro_batch.iter().map(|&at| chosen[at]).collect());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_micro_batch_is_found() {
        let samples: Vec<Sample> = (2..40).map(|length| Sample::completing(vec![1; length], 1)).collect();
        let config = FitConfig { batch_size: 1, accumulation: 4, ..FitConfig::default() };
        assert_eq!(heaviest(&samples, &config).iter().map(|sample| sample.ids.len()).collect::<Vec<_>>(), [39]);
    }

    #[test]
    fn a_step_is_cut_by_samples_or_by_tokens() {
        let sample = |length: usize| Sample::completing(vec![1; length], 1);
        let samples = [sample(6), sample(3), sample(5), sample(3)];
        let samples: Vec<&Sample> = samples.iter().collect();
        let cut = |batch_size, micro_batch_tokens| {
            micro_batches(&samples, &FitConfig { batch_size, micro_batch_tokens, ..FitConfig::default() })
        };
        assert_eq!(cut(3, None), [vec![0, 1, 2], vec![3]]);
        assert_eq!(cut(3, Some(7)), [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn each_epoch_sees_every_sample_once_and_in_another_order() {
        let order = Order { seed: 7, samples: 10, per_step: 4 };
        assert_eq!(order.steps_per_epoch(), 3);
        let epoch = |first: u64| -> Vec<usize> { (first..first + 3).flat_map(|step| order.step(step)).collect() };
        let (one, two) = (epoch(0), epoch(3));
        assert_ne!(one, two);
        for mut seen in [one, two] {
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(order.step(2).len(), 2);
    }

    #[test]
    fn the_seed_decides() {
        let order = |seed| Order { seed, samples: 50, per_step: 50 }.step(0);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
