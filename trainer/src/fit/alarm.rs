//! The dead-adapter alarm: a wrong gradient path is silent (the loss still falls a little), so it is looked for.
//!
//! Adam's first moment is a running mean of the gradients: where it is all zero, there never was one. It is part of the
//! checkpoint, so that the watch goes on in a resumed run, and frozen factors have none.

use serde::{Deserialize, Serialize};

/// Steps with a rate above zero after which every trained factor must have had a gradient. `A`'s first is zero, because
/// `B` starts at zero.
const STEPS: u64 = 3;

/// Counts the first steps of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alarm {
    seen: u64,
}

impl Alarm {
    /// Takes note of a step's rate; whether this is the step after which to look.
    pub fn step(&mut self, lr: f64) -> bool {
        if lr <= 0.0 || self.seen >= STEPS {
            return false;
        }
        self.seen += 1;
        self.seen == STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_once_after_three_steps_that_could_change_anything() {
        let mut alarm = Alarm::default();
        let looks: Vec<bool> = [0.0, 1e-3, 0.0, 1e-3, 1e-3, 1e-3].iter().map(|&lr| alarm.step(lr)).collect();
        assert_eq!(looks, [false, false, false, false, true, false]);
    }
}
