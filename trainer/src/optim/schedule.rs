//! How the learning rate moves over a run.

use serde::{Deserialize, Serialize};

use crate::names::named;
/// The shape after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The peak rate to the end.
    Constant,
    /// Down to zero in a line.
    Linear,
    /// Down to zero along half a cosine.
    #[default]
    Cosine,
}

named!(Shape { Constant = "constant", Linear = "linear", Cosine = "cosine" });

/// A factor for the learning rate: up in a line over `warmup_steps`, then by `shape`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// What follows the warm-up.
    pub shape: Shape,
    /// Updates until the peak.
    pub warmup_steps: u64,
}

impl Schedule {
    /// The factor of update `step` (from 0) of `steps`. The first update of a warm-up is `1 / warmup_steps`, not
    /// zero, so that no update is wasted; after the warm-up the first factor is 1 and the last is above 0.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let rest = steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = ((step - self.warmup_steps) as f64 / rest).min(1.0);
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => 1.0 - progress,
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(shape: Shape, warmup_steps: u64, steps: u64) -> Vec<f64> {
        let schedule = Schedule { shape, warmup_steps };
        (0..steps).map(|step| (schedule.factor(step, steps) * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn shapes() {
        assert_eq!(factors(Shape::Constant, 2, 4), [0.5, 1.0, 1.0, 1.0]);
        assert_eq!(factors(Shape::Linear, 0, 4), [1.0, 0.75, 0.5, 0.25]);
        assert_eq!(factors(Shape::Cosine, 1, 5), [1.0, 1.0, 0.854, 0.5, 0.146]);
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_only_a_warm_up() {
        assert_eq!(factors(Shape::Cosine, 4, 2), [0.25, 0.5]);
    }
}
