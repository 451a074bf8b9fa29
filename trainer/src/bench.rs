//! One training step, timed, from a start that any other trainer can rebuild: ids and initial `A` by an integer hash
//! (`splitmix64`), `lora_alpha = 2 r`, AdamW at 2e-4 without decay, every position labelled, the optimiser inside.

use std::time::Instant;

use crate::backend::Backend;
use crate::fit::FitError;
use crate::fit::state::{HostState, TrainState};
use crate::lora::config::{LoraConfig, Targets};
use crate::lora::init::{splitmix64, uniform};
use crate::lora::layout::Layout;
use crate::model::batch::Batch;
use crate::model::block::Recompute;
use crate::model::decoder::Model;
use crate::optim::AdamW;
use crate::sample::Sample;

/// Ids are drawn from counters of their own, far from those of the factors.
const ID_BASE: u64 = 1 << 60;

#[derive(Clone, Copy, Debug)]
pub struct BenchStep {
    /// Sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub seq: usize,
    pub rank: usize,
    pub steps: usize,
    pub recompute: Recompute,
}

#[derive(Clone, Debug)]
pub struct BenchReport {
    /// Mean loss over labelled positions, before each update.
    pub losses: Vec<f64>,
    /// Median without the first step (unless it is the only one).
    pub step_seconds: f64,
    /// `batch * seq / step_seconds`.
    pub tokens_per_second: f64,
    /// The process's peak, where the system tells it.
    pub peak_rss_bytes: Option<u64>,
}

/// Runs the steps on the calling thread's rayon pool.
pub fn bench_step<B: Backend>(model: &Model<B>, bench: &BenchStep) -> Result<BenchReport, FitError> {
    let config = LoraConfig { r: bench.rank, lora_alpha: 2.0 * bench.rank as f32, target_modules: Targets::AllLinear };
    let layout = Layout::new(&config, model.architecture())?;
    let start = HostState::fresh(hashed_factors(&layout));
    let mut state = TrainState::new(model, layout, &start, bench.recompute)?;
    let samples = hashed_samples(bench, model.architecture().vocab_size);
    let (batch, targets) = Batch::training(&samples.iter().collect::<Vec<_>>());
    let optimizer = AdamW::default();
    let (mut losses, mut seconds) = (Vec::new(), Vec::new());
    for step in 1..=bench.steps as u64 {
        let started = Instant::now();
        let step_losses = state.accumulate(&batch, &targets, 1.0 / targets.len() as f64)?;
        state.update(&optimizer.step(step, optimizer.lr, 1.0))?;
        seconds.push(started.elapsed().as_secs_f64());
        losses.push(step_losses.iter().sum::<f64>() / targets.len() as f64);
    }
    let step_seconds = median(&seconds);
    let tokens_per_second = (bench.batch * bench.seq) as f64 / step_seconds;
    Ok(BenchReport { losses, step_seconds, tokens_per_second, peak_rss_bytes: peak_rss() })
}

fn hashed_samples(bench: &BenchStep, vocabulary: u32) -> Vec<Sample> {
    let id = |i: usize| (splitmix64(ID_BASE + i as u64) % u64::from(vocabulary)) as u32;
    let sample = |row: usize| (row * bench.seq..(row + 1) * bench.seq).map(id).collect();
    (0..bench.batch).map(|row| Sample::completing(sample(row), 0)).collect()
}

/// Element `i` of the `t`-th `lora_A` (of all, sorted by name) draws `splitmix64(t * 2^32 + i)`.
fn hashed_factors(layout: &Layout) -> Vec<f32> {
    let mut flat = vec![0.0; layout.len];
    let factors = layout.slots.iter().filter(|slot| slot.name.contains("lora_A"));
    for (t, slot) in factors.enumerate() {
        for (i, value) in flat[slot.range()].iter_mut().enumerate() {
            *value = uniform(splitmix64(((t as u64) << 32) + i as u64), slot.shape[1]);
        }
    }
    flat
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = if seconds.len() > 1 { seconds[1..].to_vec() } else { seconds.to_vec() };
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Linux keeps the peak as `VmHWM`; elsewhere it is not asked for.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
