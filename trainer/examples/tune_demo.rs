//! Trains the demo's three skills on `tiny` with given settings and says how well their adapters do alone and summed.
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo run --release -p potluck-trainer --example tune_demo -- --steps 300 --weight-decay 5
//! ```
//!
//! Every option takes a value and defaults to what `DemoSettings::tiny` says: `--r`, `--alpha`, `--modules` (names
//! with commas, or `all`), `--lr`, `--steps`, `--batch`, `--warmup`, `--weight-decay`, `--train`, `--rehearsal`,
//! `--unknown`, `--own-answers`, `--begun-answers`, `--answer-tokens`; and `--seed` (1), `--validation` (100: rows per skill), `--show` (3: failures shown per skill).
//!
//! It measures on rows of the training side that no adapter has seen, never on held-out rows: what is chosen here is
//! then measured cleanly by the demo. Everything runs on one thread, so several can run side by side.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what fails here fails the run"
)]

use std::collections::HashSet;
use std::error::Error;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::base::Base;
use potluck_trainer::data::sample::Sample;
use potluck_trainer::data::tokenise;
use potluck_trainer::evaluate::{EvaluateOptions, Evaluation, evaluate};
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::progress::Silent;
use potluck_trainer::fit::run::{Run, fit};
use potluck_trainer::generate::rehearsal::answers;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::model::decoder::Model;
use potluck_trainer::optim::AdamW;
use potluck_trainer::optim::schedule::{Schedule, Shape};
use potluck_trainer::synthetic::Example;
use potluck_trainer::synthetic::settings::DemoSettings;
use potluck_trainer::synthetic::skills::{self, Skill, Split};
use potluck_trainer::tiny;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Cpu = CandleBackend<f32>;

/// The demo's volunteers.
const SKILLS: usize = 3;

struct Options {
    settings: DemoSettings,
    modules: Targets,
    seed: u64,
    validation: usize,
    show: usize,
}

/// A skill with its validation rows and, once trained, its adapter.
struct Volunteer {
    skill: &'static Skill,
    rows: Vec<Example>,
    samples: Vec<Sample>,
    adapter: Adapter,
}

fn main() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| measure(&options).map_err(|error| error.to_string()))?;
    Ok(())
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        settings: DemoSettings::tiny(),
        modules: targets(DemoSettings::tiny().target_modules.iter().copied()),
        seed: 1,
        validation: 100,
        show: 3,
    };
    while let Some(key) = args.next() {
        let value = args.next().ok_or_else(|| format!("{key} needs a value"))?;
        let settings = &mut options.settings;
        match &*key {
            "--r" => set(&mut settings.r, &value)?,
            "--alpha" => set(&mut settings.lora_alpha, &value)?,
            "--modules" => options.modules = targets(value.split(',').filter(|name| *name != "all")),
            "--lr" => set(&mut settings.learning_rate, &value)?,
            "--steps" => set(&mut settings.max_steps, &value)?,
            "--batch" => set(&mut settings.batch_size, &value)?,
            "--warmup" => set(&mut settings.warmup_steps, &value)?,
            "--weight-decay" => set(&mut settings.weight_decay, &value)?,
            "--train" => set(&mut settings.train_rows, &value)?,
            "--rehearsal" => set(&mut settings.rehearsal_rows, &value)?,
            "--unknown" => set(&mut settings.unknown_rows, &value)?,
            "--own-answers" => set(&mut settings.own_answers, &value)?,
            "--begun-answers" => set(&mut settings.begun_answers, &value)?,
            "--answer-tokens" => set(&mut settings.answer_tokens, &value)?,
            "--seed" => set(&mut options.seed, &value)?,
            "--validation" => set(&mut options.validation, &value)?,
            "--show" => set(&mut options.show, &value)?,
            _ => return Err(format!("no option {key}; they stand at the top of this file").into()),
        }
    }
    Ok(options)
}

fn set<T: FromStr>(field: &mut T, value: &str) -> Result<()>
where
    T::Err: Error + 'static,
{
    *field = value.parse()?;
    Ok(())
}

/// No name means all linear layers.
fn targets<'a>(names: impl Iterator<Item = &'a str>) -> Targets {
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() { Targets::AllLinear } else { Targets::Names(names) }
}

fn measure(options: &Options) -> Result<()> {
    let base = tiny::base()?;
    let model = Model::load(Cpu::new(), &base)?;
    let trained = skills::all().iter().take(SKILLS).map(|skill| train(&base, &model, skill, options));
    let volunteers = trained.collect::<Result<Vec<Volunteer>>>()?;

    let sum: Vec<&Adapter> = volunteers.iter().map(|volunteer| &volunteer.adapter).collect();
    let (mut own_total, mut merged_total) = (0.0, 0.0);
    for volunteer in &volunteers {
        let own = accuracy(&evaluated(&base, &model, volunteer, &[&volunteer.adapter])?);
        let summed = evaluated(&base, &model, volunteer, &sum)?;
        let merged = accuracy(&summed);
        println!("{:8} own {own:5.1} %  merged {merged:5.1} %", volunteer.skill.name);
        show_failures(&base, volunteer, &summed, options.show)?;
        own_total += own;
        merged_total += merged;
    }
    let mean = |total: f64| total / SKILLS as f64;
    let ratio = merged_total / own_total;
    println!("mean     own {:5.1} %  merged {:5.1} %  ratio {ratio:.3}", mean(own_total), mean(merged_total));
    Ok(())
}

fn train(base: &Base, model: &Model<Cpu>, skill: &'static Skill, options: &Options) -> Result<Volunteer> {
    let rows = options.settings.training_rows(skill, options.seed);
    let mut samples = samples(base, &rows)?;
    samples.extend(rehearsal(base, model, skill, options)?);
    let (mut silent, cancel) = (Silent, AtomicBool::new(false));
    let run = Run::new(tiny::NAME, &mut silent, &cancel);
    let started = Instant::now();
    let report = fit(model, &samples, &config(options, samples.len()), run)?;
    let (loss, seconds) = (report.loss.unwrap_or_default(), started.elapsed().as_secs_f64());
    println!("{:8} last loss {loss:.4}  {} tokens  {seconds:.0} s", skill.name, report.tokens);
    let rows = validation(skill, &rows, options);
    Ok(Volunteer { skill, samples: self::samples(base, &rows)?, rows, adapter: report.adapter })
}

/// The base's own answers to other prompts.
fn rehearsal(base: &Base, model: &Model<Cpu>, skill: &Skill, options: &Options) -> Result<Vec<Sample>> {
    let prompts = options.settings.rehearsal_prompts(skill, options.seed);
    let tokenizer = base.tokenizer();
    let encoded =
        prompts.iter().map(|prompt| tokenizer.encode_prompt(prompt)).collect::<std::result::Result<Vec<_>, _>>()?;
    let (eos, cancel) = (tokenizer.eos(), AtomicBool::new(false));
    answers(model, &encoded, options.settings.answer_tokens, &[eos], eos, options.seed, &cancel)?
        .ok_or_else(|| "cancelled".into())
}

/// Rows of the training side, by another seed, that are not among those trained on.
fn validation(skill: &Skill, trained: &[Example], options: &Options) -> Vec<Example> {
    let trained: HashSet<&str> = trained.iter().map(|row| row.prompt.as_str()).collect();
    let drawn = skill.samples(!options.seed, trained.len() + 10 * options.validation, Split::Train);
    drawn.into_iter().filter(|row| !trained.contains(row.prompt.as_str())).take(options.validation).collect()
}

fn samples(base: &Base, rows: &[Example]) -> Result<Vec<Sample>> {
    let sample = |row: &Example| Ok(tokenise::completion(&row.prompt, &row.completion, base.tokenizer())?);
    rows.iter().map(sample).collect()
}

/// As `potluck train` takes the demo's settings.
fn config(options: &Options, samples: usize) -> FitConfig {
    let settings = &options.settings;
    let per_epoch = samples.div_ceil(settings.batch_size).max(1) as u64;
    FitConfig {
        lora: LoraConfig::new(settings.r as usize, settings.lora_alpha, options.modules.clone()),
        optimizer: AdamW { lr: settings.learning_rate, weight_decay: settings.weight_decay, ..AdamW::default() },
        schedule: Schedule { shape: Shape::Cosine, warmup_steps: settings.warmup_steps },
        epochs: settings.max_steps.div_ceil(per_epoch).max(1) as u32,
        max_steps: Some(settings.max_steps),
        batch_size: settings.batch_size,
        seed: options.seed,
        ..FitConfig::default()
    }
}

/// With the adapters added up, each with weight 1, as the merge adds them.
fn evaluated(base: &Base, model: &Model<Cpu>, volunteer: &Volunteer, adapters: &[&Adapter]) -> Result<Evaluation> {
    let weighted: Vec<(&Adapter, f32)> = adapters.iter().map(|adapter| (*adapter, 1.0)).collect();
    let attached = Attached::load(model.backend(), model.architecture(), &weighted)?;
    let options = EvaluateOptions { batch_size: 32, stop: vec![base.tokenizer().eos()], exact_match: true };
    let evaluation = evaluate(model, &attached, &volunteer.samples, &options, &AtomicBool::new(false))?;
    evaluation.ok_or_else(|| "cancelled".into())
}

fn accuracy(evaluation: &Evaluation) -> f64 {
    100.0 * evaluation.accuracy().unwrap_or_default()
}

fn show_failures(base: &Base, volunteer: &Volunteer, evaluation: &Evaluation, count: usize) -> Result<()> {
    let mut shown = 0;
    for (row, completion) in volunteer.rows.iter().zip(&evaluation.completions) {
        let text = base.tokenizer().decode(completion)?;
        if shown < count && text != row.completion {
            println!("    {:?} gave {text:?}, not {:?}", row.prompt, row.completion);
            shown += 1;
        }
    }
    Ok(())
}
