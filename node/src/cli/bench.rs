//! `potluck bench step`

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::args::Global;
use super::{base, output, run::ask};
use crate::api::proto::{self, Request};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::BenchSettings;

/// Measure this machine.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// A whole training step: forward, backward and optimiser, on fixed tokens and a fixed start
    Step(Step),
}

#[derive(Debug, Args)]
pub struct Step {
    /// Base model: folder, .gguf file, name, base id, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Rows
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 512)]
    seq: usize,
    /// LoRA rank, on all linear layers; alpha is twice that
    #[arg(long, default_value_t = 16)]
    rank: u32,
    /// Steps; the first one is not timed
    #[arg(long, default_value_t = 6)]
    steps: usize,
    /// Threads [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Deserialize)]
struct Measured {
    tokens_per_second: f64,
    step_seconds: f64,
    peak_rss_mb: Option<f64>,
    losses: Vec<f64>,
    backend: String,
    dtype: String,
    threads: usize,
}

pub async fn run(global: &Global, verb: &Bench) -> Outcome<()> {
    let Bench::Step(step) = verb;
    if step.batch == 0 || step.seq < 2 || step.rank == 0 || step.steps < 2 {
        return Err(Failure::new(Kind::Usage, "a step needs a row, two tokens, a rank and two steps")
            .hint("e.g. `potluck bench step --base tiny --batch 4 --seq 512 --rank 16 --steps 6`"));
    }
    let threads = step.threads.unwrap_or_else(config::processors);
    let settings = BenchSettings { batch: step.batch, seq: step.seq, rank: step.rank, steps: step.steps, threads };
    let request = Request::Bench(proto::Bench { base: base::absolute_reference(&step.base)?, settings });
    output::answer(global, ask(global, &request).await?, |measured: Measured| {
        let memory = measured.peak_rss_mb.map_or_else(String::new, |mb| format!(", {mb:.0} MB at most"));
        vec![
            format!(
                "{} {}, {} threads: {:.1} tokens per second, {:.2} s a step{memory}",
                measured.backend, measured.dtype, measured.threads, measured.tokens_per_second, measured.step_seconds
            ),
            format!("losses {}", measured.losses.iter().map(|loss| format!("{loss:.4}")).collect::<Vec<_>>().join(" ")),
        ]
    })
}
