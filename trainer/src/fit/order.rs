//! Which samples a step sees: a seeded shuffle of each epoch, known from the step's number alone; and how they are cut
//! into micro-batches, which changes memory and speed but not the step.

use super::config::FitConfig;
use crate::data::pack::pack;
use crate::lora::init::splitmix64;
use crate::sample::Sample;

/// The order of samples over a whole run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub seed: u64,
    pub samples: usize,
    /// Samples of one optimiser step. An epoch's last step takes what is left.
    pub per_step: usize,
}

impl Order {
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

#[cfg(test)]
mod tests {
    use super::*;

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
