//! What `potluck bench` measures: training steps and generation, on any engine.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use potluck_trainer::backend::{Backend, Residency};
use potluck_trainer::bench::generate::{GenerateReport, bench_generate};
use potluck_trainer::bench::hashed_id;
use potluck_trainer::bench::step::{
    BenchProgress, BenchReport, BenchStep, Sequences, bench_step, hashed_sequences, plan,
};
use potluck_trainer::model::decoder::Model;

use super::open::{self, ModelWork, Purpose};
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Progress;
use crate::worker::answers::{GenerateMeasured, StepMeasured};
use crate::worker::context::Context;
use crate::worker::failures;
use crate::worker::proto::{BackendName, BaseSource, BenchGenerateSettings, BenchStepSettings, BenchTokens};

/// Bytes of a file of tokens: some ten million tokens.
const TOKENS_MAX: u64 = 64 << 20;
/// Steps of made-up tokens if their number is not said.
const STEPS: usize = 6;
/// Generations of one measurement, of which the medians are told.
const ROUNDS: usize = 3;

/// Trains for some steps and tells how long they took.
pub fn step(base: &BaseSource, settings: &BenchStepSettings, context: &Context) -> Outcome<StepMeasured> {
    let base = open::base(base)?;
    let batches = read_batches(&settings.tokens, base.architecture().vocab_size)?;
    let steps = settings.steps.unwrap_or(match settings.tokens {
        BenchTokens::Hashed { .. } => STEPS,
        BenchTokens::File(_) => batches.len(),
    });
    let recompute = settings.recompute;
    let bench = BenchStep { batches, rank: settings.rank as usize, steps, seed: settings.seed, recompute };
    let planned = match settings.engine.backend {
        BackendName::Cpu => Some(plan(&open::cpu(settings.engine, Purpose::Train)?, &base, &bench)),
        BackendName::Candle => None,
    };
    let planned = planned.transpose().map_err(|error| Failure::new(Kind::Failed, error))?;
    let work = Steps { bench: &bench, context };
    let (report, engine) = open::with_model(&base, settings.engine, Purpose::Train, Residency::Quantised, work)?;
    let peak = (engine.backend == BackendName::Cpu).then(|| open::cpu(engine, Purpose::Train)).transpose()?;
    Ok(StepMeasured {
        tokens_per_second: report.tokens_per_second,
        step_seconds: report.step_seconds,
        peak_rss_mb: report.peak_rss_bytes.map(megabytes),
        planned_mb: planned.map(|plan| megabytes(plan.total())),
        losses: report.losses,
        params_digest: report.params_digest,
        step_gflop: report.step_flop / 1e9,
        gflops: report.flops / 1e9,
        peak_gflops: peak.map(|backend| backend.peak_flops() / 1e9),
        recompute: settings.recompute,
        seed: settings.seed,
        engine,
        threads: settings.threads,
    })
}

struct Steps<'a> {
    bench: &'a BenchStep,
    context: &'a Context,
}

impl ModelWork for Steps<'_> {
    type Output = BenchReport;

    fn run<B: Backend>(self, model: &Model<B>) -> Outcome<BenchReport> {
        let Self { bench, context } = self;
        let mut on_step = |BenchProgress { step, loss, tokens_per_second }| {
            let tokens: usize = bench.batches.iter().cycle().take(bench.steps).skip(step).flatten().map(Vec::len).sum();
            let seconds_left = tokens as f64 / tokens_per_second;
            let (step, steps) = (step as u64, bench.steps as u64);
            context.report(Progress::Step { step, steps, loss, tokens_per_second, seconds_left });
            if context.cancel().load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let report = bench_step(model, bench, &mut on_step).map_err(|error| Failure::new(Kind::Failed, error))?;
        report.ok_or_else(Failure::interrupted)
    }
}

/// Reads a prompt and generates greedily.
pub fn generate(base: &BaseSource, settings: &BenchGenerateSettings) -> Outcome<GenerateMeasured> {
    let base = open::base(base)?;
    let prompt = read_prompt(settings, base.architecture().vocab_size)?;
    let work = Generation { prompt: &prompt, new_tokens: settings.new_tokens };
    let residency = open::residency_to_generate(&base);
    let (report, engine) = open::with_model(&base, settings.engine, Purpose::Run, residency, work)?;
    Ok(GenerateMeasured {
        prompt_tokens: prompt.len(),
        new_tokens: report.tokens.len(),
        prompt_tokens_per_second: report.prompt_tokens_per_second,
        new_tokens_per_second: Some(report.new_tokens_per_second).filter(|rate| rate.is_finite()),
        peak_rss_mb: report.peak_rss_bytes.map(megabytes),
        tokens: report.tokens,
        engine,
        threads: settings.threads,
    })
}

struct Generation<'a> {
    prompt: &'a [u32],
    new_tokens: usize,
}

impl ModelWork for Generation<'_> {
    type Output = GenerateReport;

    fn run<B: Backend>(self, model: &Model<B>) -> Outcome<GenerateReport> {
        let bare = open::attach(model, &[])?;
        let report = bench_generate(model, &bare, self.prompt, self.new_tokens, ROUNDS);
        report.map_err(|error| failures::model(&error))
    }
}

/// The first tokens of a file, or made-up ones.
fn read_prompt(settings: &BenchGenerateSettings, vocabulary: u32) -> Outcome<Vec<u32>> {
    let wanted = settings.prompt_tokens;
    let Some(path) = &settings.tokens else { return Ok((0..wanted).map(|i| hashed_id(i, vocabulary)).collect()) };
    let prompt: Vec<u32> = read_tokens(path, vocabulary)?.into_iter().flatten().flatten().take(wanted).collect();
    if prompt.len() == wanted {
        return Ok(prompt);
    }
    let few = format!("{}: {} tokens, the prompt takes {wanted}", path.display(), prompt.len());
    Err(Failure::new(Kind::Usage, few).hint("lower `--prompt-tokens`"))
}

fn read_batches(tokens: &BenchTokens, vocabulary: u32) -> Outcome<Vec<Sequences>> {
    match tokens {
        BenchTokens::Hashed { batch, seq } => Ok(vec![hashed_sequences(*batch, *seq, vocabulary)]),
        BenchTokens::File(path) => read_tokens(path, vocabulary),
    }
}

/// A file of tokens: at least one step, of at least one sequence each, of two to `TOKENS_MAX` ids of the vocabulary.
fn read_tokens(path: &Path, vocabulary: u32) -> Outcome<Vec<Sequences>> {
    let wrong = |what: String| {
        Failure::new(Kind::Usage, format!("{}: {what}", path.display()))
            .hint("the file is JSON: an array of steps, each an array of sequences, each an array of token ids")
    };
    let failed = |error: std::io::Error| Failure::io(path.display(), &error);
    let mut bytes = Vec::new();
    potluck_trainer::files::open(path).map_err(failed)?.take(TOKENS_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > TOKENS_MAX {
        return Err(wrong(format!("more than {TOKENS_MAX} bytes")));
    }
    let steps: Vec<Sequences> = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    check_tokens(&steps, vocabulary).map_err(wrong)?;
    Ok(steps)
}

fn check_tokens(steps: &[Sequences], vocabulary: u32) -> Result<(), String> {
    if steps.is_empty() {
        return Err("no steps".to_owned());
    }
    for (step, sequences) in steps.iter().enumerate() {
        if sequences.is_empty() {
            return Err(format!("step {step} has no sequence"));
        }
        for (sequence, ids) in sequences.iter().enumerate() {
            if ids.len() < 2 {
                return Err(format!("step {step}, sequence {sequence}: {} tokens, at least 2 are needed", ids.len()));
            }
            if let Some(id) = ids.iter().find(|&&id| id >= vocabulary) {
                return Err(format!(
                    "step {step}, sequence {sequence}: id {id} is beyond the vocabulary, {vocabulary}"
                ));
            }
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::proto::Engine;

    fn file(text: &str) -> Outcome<Vec<Sequences>> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("writable");
        read_tokens(file.path(), 10)
    }

    #[test]
    fn steps_are_read_and_checked() {
        assert_eq!(
            file("[[[1,2],[3,4,9]],[[5,6]]]").expect("good"),
            [vec![vec![1, 2], vec![3, 4, 9]], vec![vec![5, 6]]]
        );
        for bad in ["[]", "[[]]", "[[[1]]]", "[[[1,10]]]", "[[[1,-1]]]", "[[1,2]]", "{}", "[[[1,2]]"] {
            let failure = file(bad).expect_err(bad);
            assert_eq!(failure.kind, Kind::Usage, "{bad}");
        }
        assert_eq!(read_tokens(Path::new("/nowhere/tokens.json"), 10).expect_err("no file").kind, Kind::NotFound);
    }

    #[test]
    fn a_prompt_is_as_long_as_was_said() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[[[1,2],[3,4]],[[5,6]]]").expect("writable");
        let settings = |prompt_tokens| BenchGenerateSettings {
            engine: Engine::default(),
            prompt_tokens,
            new_tokens: 1,
            tokens: Some(file.path().to_path_buf()),
            threads: 1,
        };
        assert_eq!(read_prompt(&settings(5), 10).expect("enough"), [1, 2, 3, 4, 5]);
        assert_eq!(read_prompt(&settings(7), 10).expect_err("too few").kind, Kind::Usage);
    }
}
