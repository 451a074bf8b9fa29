//! Held-out loss during a run: which state was the best, and when to stop.

use serde::{Deserialize, Serialize};

use crate::fit::exact::Exact;
use crate::names::named;

/// Ends a run whose held-out loss has stopped falling (`early_stopping_patience` and `early_stopping_threshold` of the
/// Hugging Face trainer).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// So many evaluations in a row without an improvement end the run.
    pub patience: u32,
    /// A fall of at least so much is an improvement.
    pub min_delta: f64,
}

/// Which state of a run becomes its adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The state after the last step.
    #[default]
    Last,
    /// The state with the lowest held-out loss.
    Best,
}

named!(Keep { Last = "last", Best = "best" });

/// The evaluation with the lowest loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Best {
    /// Optimiser steps that the state has had.
    pub step: u64,
    /// Mean loss over the held-out samples' labelled tokens.
    pub loss: Exact,
}

/// What evaluations have shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The lowest loss so far.
    pub best: Option<Best>,
    /// The loss that the next one has to fall below by `min_delta`.
    reference: Option<Exact>,
    /// Evaluations since the last improvement.
    without: u32,
    /// Step of the last evaluation.
    pub evaluated: u64,
}

impl Watch {
    /// Takes an evaluation; whether it is the best so far.
    pub fn take(&mut self, step: u64, loss: f64, min_delta: f64) -> bool {
        self.evaluated = step;
        if self.reference.is_none_or(|reference| loss <= reference.get() - min_delta && loss < reference.get()) {
            (self.reference, self.without) = (Some(Exact::of(loss)), 0);
        } else {
            self.without += 1;
        }
        let best = self.best.is_none_or(|best| loss < best.loss.get());
        if best {
            self.best = Some(Best { step, loss: Exact::of(loss) });
        }
        best
    }

    /// Whether the run is to end.
    pub fn is_over(&self, stopping: Option<EarlyStopping>) -> bool {
        stopping.is_some_and(|stopping| self.without >= stopping.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which evaluation a run over these losses ends, and the best step.
    fn ends(losses: &[f64], patience: u32, min_delta: f64) -> (Option<u64>, u64) {
        let mut watch = Watch::default();
        for (step, &loss) in (1..).zip(losses) {
            watch.take(step, loss, min_delta);
            if watch.is_over(Some(EarlyStopping { patience, min_delta })) {
                return (Some(step), watch.best.unwrap().step);
            }
        }
        (None, watch.best.unwrap().step)
    }

    #[test]
    fn patience_counts_evaluations_without_improvement() {
        assert_eq!(ends(&[3.0, 2.0, 2.5, 2.1, 1.0], 2, 0.0), (Some(4), 2));
        assert_eq!(ends(&[3.0, 2.0, 2.5, 1.9, 2.0, 2.0], 3, 0.0), (None, 4));
        assert_eq!(ends(&[3.0, 3.0, 3.0], 2, 0.0), (Some(3), 1), "equal is no improvement");
    }

    /// Small falls are no improvement, but the best is still the best, and many small falls add up to one.
    #[test]
    fn improvements_smaller_than_min_delta_do_not_count() {
        assert_eq!(ends(&[3.0, 2.9, 2.8], 2, 0.5), (Some(3), 3));
        assert_eq!(ends(&[3.0, 2.7, 2.4, 2.3, 2.2], 3, 0.5), (None, 5));
    }

    #[test]
    fn without_a_limit_a_run_goes_on() {
        let mut watch = Watch::default();
        for step in 1..100 {
            watch.take(step, 1.0, 0.0);
        }
        assert!(!watch.is_over(None));
    }
}
