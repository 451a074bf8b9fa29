//! What a run tells whoever watches it.

use serde::{Deserialize, Serialize};

/// One optimiser step, done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDone {
    /// From 1.
    pub step: u64,
    /// Of the whole run.
    pub steps: u64,
    /// Mean loss over the step's labelled tokens, before the update.
    pub loss: f64,
    /// The rate of this step's update.
    pub lr: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// Tokens of the step, prompts included.
    pub tokens: usize,
    /// Of this step alone.
    pub seconds: f64,
    /// Over this process's part of the run.
    pub tokens_per_second: f64,
    /// An estimate from this process's steps.
    pub seconds_left: f64,
}

/// The held-out samples measured during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Steps that the adapter had.
    pub step: u64,
    /// Mean loss over the held-out samples' labelled tokens.
    pub loss: f64,
    /// Whether it is the lowest so far.
    pub best: bool,
    /// Wall time of the evaluation.
    pub seconds: f64,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A run goes on from its checkpoint.
    Resumed {
        /// The checkpoint's step.
        step: u64,
        /// Of the whole run.
        steps: u64,
    },
    /// A step is done.
    Step(StepDone),
    /// The held-out samples were measured.
    Evaluated(Evaluated),
    /// The held-out loss has not fallen any more: the run ends before its last step.
    StoppedEarly {
        /// The last step.
        step: u64,
    },
    /// The state after this many steps is on disk.
    Checkpoint {
        /// The step whose state it is.
        step: u64,
    },
}

/// Takes events as they happen, on the training thread: it must return soon.
pub trait Progress {
    /// Called for each event, in order.
    fn event(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Progress for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

/// For runs that nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn event(&mut self, _event: &Event) {}
}
