//! Weights chosen by a loss: a compass search, one adapter's weight at a time.
//!
//! The search starts at the better of the weights that were given and the same divided by their number. It tries each
//! weight a step up and a step down, goes where the loss falls, and halves the step when a whole round brings nothing:
//! steps of 1/2, 1/4 and 1/8, weights from 0 to 2. Each evaluation is a pass over the rows, so their number is bounded;
//! no weights are evaluated twice.

use std::collections::HashMap;

use potluck_protocol::recipe::Weight;

use super::limits::EVALUATIONS_PER_ADAPTER;

/// The first step, and the least.
const STEPS: (i32, i32) = (1 << 15, 1 << 13);
/// A weight that is searched for is between zero and this.
const WEIGHT_MAX: i32 = 2 << 16;

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// In the order of the adapters.
    pub weights: Vec<Weight>,
    /// At these weights.
    pub loss: f64,
    /// At the weights that were given.
    pub given_loss: f64,
    /// How often the loss was asked for.
    pub evaluations: usize,
}

/// The bound on the number of evaluations.
pub fn evaluations_max(adapters: usize) -> usize {
    adapters.saturating_mul(EVALUATIONS_PER_ADAPTER).saturating_add(2)
}

/// Searches from `given`. An error of `loss` ends it. A loss that is not a number is none that is gone to.
pub fn choose<E>(given: &[Weight], loss: impl FnMut(&[Weight]) -> Result<f64, E>) -> Result<Chosen, E> {
    let count = given.len();
    let known = HashMap::new();
    let mut search = Search { loss, known, max: evaluations_max(count), best: given.to_vec(), lowest: f64::INFINITY };
    let given_loss = search.evaluate(given)?.unwrap_or(f64::INFINITY);
    search.lowest = given_loss;
    search.go_if_better(given.iter().map(|weight| Weight(weight.0 / count.max(1) as i32)).collect())?;
    let mut step = STEPS.0;
    while step >= STEPS.1 {
        if !search.round(step)? {
            step /= 2;
        }
    }
    Ok(Chosen { weights: search.best, loss: search.lowest, given_loss, evaluations: search.known.len() })
}

struct Search<F> {
    loss: F,
    /// Losses by weights, so that none are evaluated twice.
    known: HashMap<Vec<i32>, f64>,
    /// Evaluations at most.
    max: usize,
    best: Vec<Weight>,
    /// The loss at `best`.
    lowest: f64,
}

impl<E, F: FnMut(&[Weight]) -> Result<f64, E>> Search<F> {
    /// `None` once there were as many evaluations as are allowed.
    fn evaluate(&mut self, weights: &[Weight]) -> Result<Option<f64>, E> {
        let key: Vec<i32> = weights.iter().map(|weight| weight.0).collect();
        if let Some(&known) = self.known.get(&key) {
            return Ok(Some(known));
        }
        if self.known.len() == self.max {
            return Ok(None);
        }
        let found = (self.loss)(weights)?;
        let found = if found.is_nan() { f64::INFINITY } else { found };
        self.known.insert(key, found);
        Ok(Some(found))
    }

    fn go_if_better(&mut self, trial: Vec<Weight>) -> Result<(), E> {
        if let Some(found) = self.evaluate(&trial)?.filter(|found| *found < self.lowest) {
            (self.best, self.lowest) = (trial, found);
        }
        Ok(())
    }

    /// Tries every weight a step up and a step down; whether anything was gained.
    fn round(&mut self, step: i32) -> Result<bool, E> {
        let before = self.lowest;
        for index in 0..self.best.len() {
            for change in [step, -step] {
                let mut trial = self.best.clone();
                trial[index].0 = trial[index].0.saturating_add(change).clamp(0, WEIGHT_MAX);
                self.go_if_better(trial)?;
            }
        }
        Ok(self.lowest < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(values: &[f64]) -> Vec<Weight> {
        values.iter().map(|&value| Weight::nearest(value).unwrap()).collect()
    }

    /// A bowl around some weights.
    fn bowl(centre: &[f64]) -> impl FnMut(&[Weight]) -> Result<f64, ()> {
        move |weights| Ok(1.0 + weights.iter().zip(centre).map(|(w, c)| (w.get() - c) * (w.get() - c)).sum::<f64>())
    }

    #[test]
    fn the_weights_with_the_least_loss_are_found() {
        let found = choose(&weights(&[1.0, 1.0, 1.0]), bowl(&[0.25, 0.875, 1.5])).unwrap();
        assert_eq!((found.weights, found.loss), (weights(&[0.25, 0.875, 1.5]), 1.0));
        assert!(found.given_loss > 1.5 && found.evaluations <= evaluations_max(3));
        // Harmful adapters get nothing, not a negative weight.
        let found = choose(&weights(&[1.0, 1.0]), bowl(&[0.5, -1.0])).unwrap();
        assert_eq!(found.weights, weights(&[0.5, 0.0]));
    }

    #[test]
    fn evaluations_are_bounded_and_none_is_repeated() {
        let mut seen = std::collections::BTreeSet::new();
        let mut falling = 0.0;
        let found = choose(&weights(&[1.0; 8]), |weights: &[Weight]| {
            assert!(seen.insert(weights.to_vec()), "{weights:?} twice");
            falling -= 1.0;
            Ok::<_, ()>(falling)
        });
        assert_eq!(found.map(|found| found.evaluations <= evaluations_max(8)), Ok(true));
        assert_eq!(choose(&weights(&[1.0]), |_| Err::<f64, _>("no rows")), Err("no rows"));
    }

    #[test]
    fn a_loss_that_is_no_number_is_not_gone_to() {
        let found = choose(&weights(&[1.0]), |w| Ok::<_, ()>(if w[0].get() < 1.0 { f64::NAN } else { w[0].get() }));
        assert_eq!(found.map(|found| (found.weights, found.loss)), Ok((weights(&[1.0]), 1.0)));
    }
}
