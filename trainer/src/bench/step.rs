//! Training steps, timed, from a start that any other trainer can rebuild.
//!
//! `lora_alpha = 2 r` on all linear layers, no dropout, AdamW (2e-4, 0.9, 0.999, 1e-8, no decay, no clipping) inside
//! the timed step, every token but a sequence's first labelled, the loss their mean. `B` is zero; element `i` of the
//! `t`-th `lora_A` (of all, sorted by name as strings) with `inner` columns is
//!
//! ```text
//! ((splitmix64(seed * 2^48 + t * 2^32 + i) >> 40) / 2^24 - 0.5) * 2 / sqrt(inner)        (mod 2^64)
//! ```
//!
//! `tests/peft/peft_step.py` is the same step in torch and PEFT.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{arithmetic, hashed_id, median};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::data::sample::Sample;
use crate::fit::FitError;
use crate::fit::state::{HostState, TrainState};
use crate::lora::config::{LoraConfig, Targets};
use crate::lora::init::uniform;
use crate::lora::layout::Layout;
use crate::memory::{MemoryPlan, current_rss, peak_rss};
use crate::model::batch::Batch;
use crate::model::block::Recompute;
use crate::model::decoder::Model;
use crate::optim::AdamW;
use crate::random::splitmix64;
use crate::weights::Weights;

/// Token ids of the sequences of one step, of any lengths from two on.
pub type Sequences = Vec<Vec<u32>>;

/// What the steps of a measurement are.
#[derive(Clone, Debug)]
pub struct BenchStep {
    /// One step each; after the last one the first comes again. Not empty.
    pub batches: Vec<Sequences>,
    /// LoRA rank on all linear layers; alpha is twice that.
    pub rank: usize,
    /// How many are made; the first is not timed.
    pub steps: usize,
    /// Moves the draw of `A`.
    pub seed: u64,
    /// What the backward pass computes again.
    pub recompute: Recompute,
}

/// A step that is done.
#[derive(Clone, Copy, Debug)]
pub struct BenchProgress {
    /// From 1.
    pub step: usize,
    /// Mean over the step's labelled positions.
    pub loss: f64,
    /// Of this step alone.
    pub tokens_per_second: f64,
}

/// How fast the steps were, and what they came to.
#[derive(Clone, Debug)]
pub struct BenchReport {
    /// Mean loss over labelled positions, before each update.
    pub losses: Vec<f64>,
    /// Median without the first step (unless it is the only one).
    pub step_seconds: f64,
    /// Median over the same steps; all tokens of the sequences count, and nothing else.
    pub tokens_per_second: f64,
    /// Median over the same steps of the arithmetic by [`arithmetic::training_step`], in operations.
    pub step_flop: f64,
    /// Median over the same steps, in operations a second.
    pub flops: f64,
    /// The process's peak, where the system tells it.
    pub peak_rss_bytes: Option<u64>,
    /// BLAKE3 of the final factors: `f32`, little-endian, `lora_A` and `lora_B` sorted by name.
    pub params_digest: String,
}

/// A batch of made-up tokens: those of the flat positions from 0 on.
pub fn hashed_sequences(batch: usize, seq: usize, vocabulary: u32) -> Sequences {
    let sequence = |row: usize| (row * seq..(row + 1) * seq).map(|position| hashed_id(position, vocabulary)).collect();
    (0..batch).map(sequence).collect()
}

/// What [`bench_step`] will need on this backend, beside what the process holds already.
pub fn plan(backend: &CpuBackend, weights: &dyn Weights, bench: &BenchStep) -> Result<MemoryPlan, FitError> {
    let config = LoraConfig::new(bench.rank, 2.0 * bench.rank as f32, Targets::AllLinear);
    let layout = Layout::new(&config, weights.architecture())?;
    let heaviest = bench.batches.iter().max_by_key(|sequences| sequences.iter().map(Vec::len).sum::<usize>());
    let samples = heaviest.map(samples).unwrap_or_default();
    let (batch, targets) = Batch::training(&samples.iter().collect::<Vec<_>>());
    let resident = current_rss().unwrap_or(0);
    MemoryPlan::of_step(backend, weights, &layout, bench.recompute, (&batch, &targets), resident)
}

fn samples(sequences: &Sequences) -> Vec<Sample> {
    sequences.iter().map(|ids| Sample::completing(ids.clone(), 0)).collect()
}

/// Runs the steps on the calling thread's rayon pool. `None` if `on_step` breaks.
pub fn bench_step<B: Backend>(
    model: &Model<B>,
    bench: &BenchStep,
    on_step: &mut dyn FnMut(BenchProgress) -> ControlFlow<()>,
) -> Result<Option<BenchReport>, FitError> {
    let config = LoraConfig::new(bench.rank, 2.0 * bench.rank as f32, Targets::AllLinear);
    let layout = Layout::new(&config, model.architecture())?;
    let start = HostState::fresh(hashed_factors(&layout, bench.seed), layout.trained);
    let mut state = TrainState::new(model, layout, &start, bench.recompute)?;
    drop(start);
    let mut done = Vec::with_capacity(bench.steps);
    for (step, sequences) in (1..=bench.steps).zip(bench.batches.iter().cycle()) {
        let timed = train(&mut state, step, sequences)?;
        done.push((timed, sequences));
        let tokens_per_second = tokens(sequences) / timed.seconds;
        if on_step(BenchProgress { step, loss: timed.loss, tokens_per_second }).is_break() {
            return Ok(None);
        }
    }
    report(model, bench.rank, &done, &state).map(Some)
}

#[derive(Clone, Copy)]
struct Timed {
    seconds: f64,
    loss: f64,
}

fn train<B: Backend>(state: &mut TrainState<'_, B>, step: usize, sequences: &Sequences) -> Result<Timed, FitError> {
    let samples = samples(sequences);
    let optimizer = AdamW::default();
    let started = Instant::now();
    let (batch, targets) = Batch::training(&samples.iter().collect::<Vec<_>>());
    let losses = state.accumulate(&batch, &targets, 1.0 / targets.len() as f64)?;
    state.update(&optimizer.step(step as u64, optimizer.lr, 1.0))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Timed { seconds, loss: losses.iter().sum::<f64>() / targets.len() as f64 })
}

fn report<B: Backend>(
    model: &Model<B>,
    rank: usize,
    done: &[(Timed, &Sequences)],
    state: &TrainState<'_, B>,
) -> Result<BenchReport, FitError> {
    // The digest below is no part of a step: it must not raise the peak.
    let peak_rss_bytes = peak_rss();
    let warm = if done.len() > 1 { &done[1..] } else { done };
    let middle = |of: &dyn Fn(f64, &Sequences) -> f64| {
        median(&warm.iter().map(|(timed, sequences)| of(timed.seconds, sequences)).collect::<Vec<_>>())
    };
    let flop = |sequences: &Sequences| {
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        arithmetic::training_step(model.architecture(), rank, &lengths) as f64
    };
    Ok(BenchReport {
        losses: done.iter().map(|(timed, _)| timed.loss).collect(),
        step_seconds: middle(&|seconds, _| seconds),
        tokens_per_second: middle(&|seconds, sequences| tokens(sequences) / seconds),
        step_flop: middle(&|_, sequences| flop(sequences)),
        flops: middle(&|seconds, sequences| flop(sequences) / seconds),
        peak_rss_bytes,
        params_digest: digest(&state.host()?.params),
    })
}

fn tokens(sequences: &Sequences) -> f64 {
    sequences.iter().map(Vec::len).sum::<usize>() as f64
}

fn hashed_factors(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut flat = vec![0.0; layout.len];
    let factors = layout.slots.iter().filter(|slot| slot.name.contains("lora_A"));
    for (t, slot) in factors.enumerate() {
        let first = (seed << 48).wrapping_add((t as u64) << 32);
        for (i, value) in flat[slot.range()].iter_mut().enumerate() {
            *value = uniform(splitmix64(first.wrapping_add(i as u64)), slot.shape[1]);
        }
    }
    flat
}

fn digest(params: &[f32]) -> String {
    let mut hasher = blake3::Hasher::new();
    params.iter().for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::candle::CandleBackend;

    fn run(bench: &BenchStep) -> Option<BenchReport> {
        let model = Model::load(CandleBackend::<f32>::new(), &crate::tiny::base().expect("embedded")).expect("loads");
        bench_step(&model, bench, &mut |_| ControlFlow::Continue(())).expect("trains")
    }

    fn uneven(seed: u64) -> BenchStep {
        let batches = vec![vec![vec![1, 2, 3, 4], vec![5, 6]], vec![vec![7, 8, 9]]];
        BenchStep { batches, rank: 2, steps: 3, seed, recompute: Recompute::None }
    }

    #[test]
    fn a_seed_is_a_start_and_batches_come_in_turn() {
        let (first, again, other) = (run(&uneven(0)), run(&uneven(0)), run(&uneven(1)));
        let [first, again, other] = [first, again, other].map(|report| report.expect("not stopped"));
        assert_eq!(first.losses.len(), 3);
        assert_eq!(first.losses, again.losses);
        assert_eq!(first.params_digest, again.params_digest);
        assert_eq!(first.losses[0], other.losses[0], "B is zero: the first loss is the base's");
        assert_ne!(first.params_digest, other.params_digest);
        assert!(first.losses[2] < first.losses[0], "the third step sees the first one's batch again");
        assert!(first.tokens_per_second > 0.0 && first.flops > 0.0);
    }

    #[test]
    fn whoever_watches_can_stop_it() {
        let model = Model::load(CandleBackend::<f32>::new(), &crate::tiny::base().expect("embedded")).expect("loads");
        let mut seen = 0;
        let stopped = bench_step(&model, &uneven(0), &mut |progress| {
            seen = progress.step;
            ControlFlow::Break(())
        });
        assert!(stopped.expect("trains").is_none());
        assert_eq!(seen, 1);
    }
}
