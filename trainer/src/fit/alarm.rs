//! The dead-adapter alarm: a wrong gradient path is silent (the loss still falls a little), so it is looked for.

use super::FitError;
use crate::lora::layout::Layout;

/// Steps in which every factor must have had a gradient. `A`'s first is zero, because `B` starts at zero.
const STEPS: u64 = 3;

/// Watches the first steps of a process.
pub struct Alarm {
    live: Vec<bool>,
    seen: u64,
}

impl Alarm {
    pub fn new(layout: &Layout) -> Self {
        Self { live: vec![false; layout.slots.len()], seen: 0 }
    }

    /// Whether the gradients of the coming step matter.
    pub fn watching(&self) -> bool {
        self.seen < STEPS
    }

    /// Takes which factors had a non-zero gradient in a step with a rate above zero.
    pub fn step(&mut self, live: &[bool], layout: &Layout) -> Result<(), FitError> {
        self.seen += 1;
        self.live.iter_mut().zip(live).for_each(|(ever, &now)| *ever |= now);
        let dead = layout.slots.iter().zip(&self.live).filter(|(_, live)| !**live);
        let names: Vec<String> = dead.map(|(slot, _)| slot.name.clone()).collect();
        if self.seen < STEPS || names.is_empty() {
            return Ok(());
        }
        Err(FitError::DeadFactors { steps: self.seen, names })
    }
}
