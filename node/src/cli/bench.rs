//! `potluck bench`; `exchange` and `merge` have files of their own

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::global::Global;
use super::{ask::ask, bench_exchange, bench_merge, output, references};
use crate::api::answers::{GenerateMeasured, StepMeasured};
use crate::api::ask::{Ask, AskBenchGenerate, AskBenchStep};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{BenchGenerateSettings, BenchStepSettings, BenchTokens, Engine, named};
use potluck_trainer::model::block::Recompute;

/// Measure this machine.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// A whole training step: forward, backward and optimiser, on fixed tokens and a fixed start
    Step(Step),
    /// Reading a prompt and generating from it, greedily
    Generate(Generate),
    /// One file from daemons to a daemon over loopback, encrypted, verified, durable
    Exchange(bench_exchange::Exchange),
    /// Adapters into one, module by module: time, memory, error against the exact sum
    Merge(bench_merge::Merge),
}

#[derive(Debug, Args)]
pub struct Step {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    #[command(flatten)]
    engine: Engine,
    /// What to recompute in the backward pass instead of storing it: `none` (most memory, least arithmetic),
    /// `selective` (the two outputs of the MLP's first half, about half of what is kept) or `full` (all but each block's
    /// input: nearly every product of the forward pass twice)
    #[arg(long, default_value_t, value_parser = named::<Recompute>())]
    recompute: Recompute,
    /// Rows
    #[arg(long, default_value_t = 4, conflicts_with = "tokens")]
    batch: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 512, conflicts_with = "tokens")]
    seq: usize,
    /// Train on these tokens instead of generated ones: a JSON array of steps, each an array of sequences of ids, of
    /// any lengths
    #[arg(long, value_name = "FILE.json")]
    tokens: Option<PathBuf>,
    /// LoRA rank, on all linear layers; alpha is twice that
    #[arg(long, default_value_t = 16)]
    rank: u32,
    /// Steps; the first one is not timed [default: 6, or those of --tokens]
    #[arg(long)]
    steps: Option<usize>,
    /// Seed of the factors
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Generate {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    #[command(flatten)]
    engine: Engine,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_name = "N")]
    prompt_tokens: usize,
    /// Tokens to generate
    #[arg(long, default_value_t = 128, value_name = "N")]
    new_tokens: usize,
    /// Take the prompt from a file like that of `bench step` instead of generating it
    #[arg(long, value_name = "FILE.json")]
    tokens: Option<PathBuf>,
    /// Threads [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
}

pub async fn run(global: &Global, verb: &Bench) -> Outcome<()> {
    match verb {
        Bench::Step(verb) => {
            let request = AskBenchStep { base: references::base(global, &verb.base)?, settings: step(verb)? };
            let measured = ask(global, request).await?;
            output::answer(global, AskBenchStep::SCHEMA, &measured, |measured, _| render_step(measured))
        }
        Bench::Generate(verb) => {
            let request = AskBenchGenerate { base: references::base(global, &verb.base)?, settings: generate(verb)? };
            let measured = ask(global, request).await?;
            output::answer(global, AskBenchGenerate::SCHEMA, &measured, |measured, _| render_generate(measured))
        }
        Bench::Exchange(verb) => bench_exchange::run(global, verb).await,
        Bench::Merge(verb) => bench_merge::run(global, verb).await,
    }
}

fn step(verb: &Step) -> Outcome<BenchStepSettings> {
    if verb.batch == 0 || verb.seq < 2 || verb.rank == 0 || verb.steps.is_some_and(|steps| steps < 2) {
        return Err(Failure::new(Kind::Usage, "a step needs a row, two tokens, a rank and two steps")
            .hint("e.g. `potluck bench step --base tiny --batch 4 --seq 512 --rank 16 --steps 6`"));
    }
    let tokens = match &verb.tokens {
        Some(path) => BenchTokens::File(config::absolute(path)?),
        None => BenchTokens::Hashed { batch: verb.batch, seq: verb.seq },
    };
    Ok(BenchStepSettings {
        engine: verb.engine,
        recompute: verb.recompute,
        tokens,
        rank: verb.rank,
        steps: verb.steps,
        seed: verb.seed,
        threads: verb.threads.unwrap_or_else(config::processors),
    })
}

fn generate(verb: &Generate) -> Outcome<BenchGenerateSettings> {
    if verb.prompt_tokens == 0 || verb.new_tokens == 0 {
        return Err(Failure::new(Kind::Usage, "a prompt needs a token, and so does what follows it")
            .hint("e.g. `potluck bench generate --base tiny --prompt-tokens 64 --new-tokens 32`"));
    }
    Ok(BenchGenerateSettings {
        engine: verb.engine,
        prompt_tokens: verb.prompt_tokens,
        new_tokens: verb.new_tokens,
        tokens: verb.tokens.as_deref().map(config::absolute).transpose()?,
        threads: verb.threads.unwrap_or_else(config::processors),
    })
}

fn render_step(measured: &StepMeasured) -> Vec<String> {
    let StepMeasured { tokens_per_second, step_seconds, gflops, .. } = measured;
    let (engine, memory) = (engine(&measured.engine, measured.threads), memory(measured.peak_rss_mb));
    vec![
        format!(
            "{engine}: {tokens_per_second:.1} tokens per second, {step_seconds:.2} s a step, {gflops:.0} GFLOP/s{memory}"
        ),
        format!("losses {}", measured.losses.iter().map(|loss| format!("{loss:.4}")).collect::<Vec<_>>().join(" ")),
    ]
}

fn render_generate(measured: &GenerateMeasured) -> Vec<String> {
    let (engine, memory) = (engine(&measured.engine, measured.threads), memory(measured.peak_rss_mb));
    let new = measured.new_tokens_per_second.map_or_else(String::new, |rate| format!(", generates {rate:.1}"));
    vec![format!("{engine}: reads {:.1} tokens per second{new}{memory}", measured.prompt_tokens_per_second)]
}

/// `cpu f32, 2 threads`
fn engine(engine: &Engine, threads: usize) -> String {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    format!("{} {}, {threads} threads", name(engine.backend.to_possible_value()), engine.dtype)
}

fn memory(peak_rss_mb: Option<f64>) -> String {
    peak_rss_mb.map_or_else(String::new, |mb| format!(", {mb:.0} MB at most"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Verb};
    use crate::cli::snapshots::{check, check_failures, refusal};

    #[test]
    fn what_is_seen() {
        let measured = StepMeasured {
            tokens_per_second: 1234.5,
            step_seconds: 1.66,
            peak_rss_mb: Some(812.0),
            planned_mb: Some(800.0),
            losses: vec![4.5, 4.25, 4.0],
            params_digest: "ab".repeat(32),
            step_gflop: 100.0,
            gflops: 60.0,
            peak_gflops: Some(90.0),
            recompute: Recompute::None,
            seed: 0,
            engine: Engine::default(),
            threads: 2,
        };
        check("bench-step", |_| render_step(&measured));
        let generated = GenerateMeasured {
            prompt_tokens: 512,
            new_tokens: 1,
            prompt_tokens_per_second: 900.0,
            new_tokens_per_second: None,
            peak_rss_mb: None,
            tokens: vec![7],
            engine: Engine::default(),
            threads: 2,
        };
        check("bench-generate-one-token", |_| render_generate(&generated));
        let more = GenerateMeasured { new_tokens_per_second: Some(31.0), peak_rss_mb: Some(300.0), ..generated };
        check("bench-generate", |_| render_generate(&more));
        let verb = |_: &Cli, verb: &Verb| match verb {
            Verb::Bench(Bench::Step(verb)) => step(verb).map(drop),
            Verb::Bench(Bench::Generate(verb)) => generate(verb).map(drop),
            _ => Ok(()),
        };
        check_failures(
            "bench-error",
            &[
                refusal("bench step --base tiny --batch 0", verb),
                refusal("bench generate --base tiny --new-tokens 0", verb),
            ],
        );
    }
}
