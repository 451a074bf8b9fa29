//! What memory a run will need, and what this machine has.
//!
//! The need is not estimated by a formula beside the engine: the engine itself runs on paper ([`CpuBackend::dry`]), with
//! every buffer on the books and none in memory.

use serde::{Deserialize, Serialize};

use crate::backend::Target;
use crate::backend::cpu::CpuBackend;
use crate::fit::FitError;
use crate::fit::state::{HostState, TrainState};
use crate::lora::layout::Layout;
use crate::model::batch::Batch;
use crate::model::block::Recompute;
use crate::model::decoder::Model;
use crate::optim::AdamW;
use crate::weights::Weights;

/// Scratch of one thread: packed panels, scores of attention, partial sums.
const THREAD_BYTES: u64 = 3 << 20;

/// Bytes that a run needs at its peak, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The program with what it had read before: tokenizer, rows.
    pub program: u64,
    /// Frozen weights, those in mapped files included.
    pub weights: u64,
    /// Trained factors, their gradients and moments.
    pub factors: u64,
    /// Activations, gradients and logits.
    pub activations: u64,
    /// Scratch of all threads.
    pub scratch: u64,
}

impl MemoryPlan {
    /// Runs a step of this micro-batch on paper. `resident` is what the process holds already, without the weights.
    pub fn of_step(
        backend: &CpuBackend,
        weights: &dyn Weights,
        layout: &Layout,
        recompute: Recompute,
        (batch, targets): (&Batch, &[Target]),
        resident: u64,
    ) -> Result<Self, FitError> {
        let model = Model::load(backend.dry(), weights)?;
        let start = HostState::fresh(vec![0.0; layout.len], layout.trained);
        let mut state = TrainState::new(&model, layout.clone(), &start, recompute)?;
        let factors = model.backend().peak_bytes() as u64;
        state.accumulate(batch, targets, 1.0)?;
        state.update(&AdamW::default().step(1, 1e-4, 1.0))?;
        Ok(Self {
            program: resident,
            weights: model.weights().map(|weight| weight.resident_bytes() as u64).sum(),
            factors,
            activations: (model.backend().peak_bytes() as u64).saturating_sub(factors),
            scratch: THREAD_BYTES * rayon::current_num_threads() as u64,
        })
    }

    /// The peak, in bytes.
    pub fn total(&self) -> u64 {
        self.program + self.weights + self.factors + self.activations + self.scratch
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{:.0} MB (weights {:.0}, factors and moments {:.0}, activations {:.0}, threads {:.0}, program {:.0})",
            mb(self.total()),
            mb(self.weights),
            mb(self.factors),
            mb(self.activations),
            mb(self.scratch),
            mb(self.program)
        )
    }
}

/// The process's peak so far, where the system tells it (Linux: `VmHWM`).
pub fn peak_rss() -> Option<u64> {
    status("VmHWM:")
}

/// What the process holds now (Linux: `VmRSS`).
pub fn current_rss() -> Option<u64> {
    status("VmRSS:")
}

/// What could still be had without swapping, by the system's own estimate (Linux: `MemAvailable`, and the limit of the
/// process's control group where it has one). `None` where the system does not tell.
pub fn available() -> Option<u64> {
    let system = kib_of(&kernel_file("/proc/meminfo")?, "MemAvailable:")?;
    Some(group_limit().map_or(system, |limit| limit.saturating_sub(current_rss().unwrap_or(0)).min(system)))
}

fn group_limit() -> Option<u64> {
    kernel_file("/sys/fs/cgroup/memory.max")?.trim().parse().ok()
}

fn status(field: &str) -> Option<u64> {
    kib_of(&kernel_file("/proc/self/status")?, field)
}

#[expect(clippy::disallowed_methods, reason = "a file of the kernel, short and never a pipe")]
fn kernel_file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The bytes of a line such as `VmHWM:   1234 kB`.
fn kib_of(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(kib_of("VmPeak: 3 kB\nVmHWM:\t    1234 kB\n", "VmHWM:"), Some(1234 * 1024));
        assert_eq!(kib_of("VmHWM: many\n", "VmHWM:"), None);
    }
}
