//! The settings of `potluck train`: flags with PEFT's and the Hugging Face trainer's names, or a file with the same.

use std::path::Path;

use clap::Args;
use potluck_protocol::limits::JSON_MAX;
use potluck_trainer::fit::config::Train;
use potluck_trainer::fit::watch::{EarlyStopping, Keep};
use potluck_trainer::lora::config::Targets;
use potluck_trainer::model::block::Recompute;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{EngineType, OverlongRows, ScheduleName, TrainSettings};

/// Layers of the largest model that anybody trains here: bounds what a range may ask for.
const LAYERS_MAX: u32 = 1024;

#[derive(Debug, Args)]
pub struct Flags {
    /// LoRA rank
    #[arg(long, default_value_t = 16)]
    r: u32,
    /// LoRA alpha: the update is scaled by alpha / r [default: 2 r]
    #[arg(long, value_name = "ALPHA")]
    lora_alpha: Option<f32>,
    /// Scale by alpha / sqrt(r) (rsLoRA)
    #[arg(long)]
    use_rslora: bool,
    /// Share of the adapter's inputs that is dropped in training
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    lora_dropout: f32,
    /// Modules to adapt: `all-linear`, names such as `q_proj,v_proj`, or a regular expression that matches whole paths,
    /// such as `.*\.[0-4]\.mlp\.(up|down)_proj` (no look-around, no back references)
    #[arg(long, default_value = "all-linear", value_name = "MODULES", value_parser = targets)]
    target_modules: Targets,
    /// Names of modules that get no adapter although they are targets
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    exclude_modules: Vec<String>,
    /// Layers to adapt, from 0, e.g. `0-9,20` [default: all]
    #[arg(long, value_name = "LAYERS", value_parser = layers)]
    layers_to_transform: Option<Layers>,
    /// Factors to train: `both`, or `a` or `b` alone. `b` leaves A as it is drawn; `a` needs an adapter to go on from
    #[arg(long, default_value = "both", value_name = "FACTORS", value_parser = named::<Train>)]
    train: Train,
    /// Peak learning rate
    #[arg(long, default_value_t = 2e-4)]
    learning_rate: f64,
    /// Optimiser steps
    #[arg(long, default_value_t = 200)]
    max_steps: u64,
    /// Rows that go through the model at once
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Batches of an optimiser step; the loss is normalised by the tokens of all of them
    #[arg(long, default_value_t = 1, value_name = "N")]
    gradient_accumulation: usize,
    /// Cut the rows of a step (batch size times accumulation) into micro-batches of at most so many tokens, instead of
    /// batches of rows. There is no padding, and rows do not see each other: it changes memory and speed only
    #[arg(long, value_name = "TOKENS")]
    micro_batch_tokens: Option<usize>,
    /// What the backward pass computes again instead of keeping it: `none`, `selective` or `full` (the least memory). The
    /// result does not depend on it
    #[arg(long, default_value = "none", value_name = "WHAT", value_parser = named::<Recompute>)]
    recompute: Recompute,
    /// What matrix products multiply: bf16 is several times faster where the processor has it, and the adapter is trained
    /// in f32 all the same
    #[arg(long, value_enum, default_value = "auto")]
    dtype: EngineType,
    /// Steps over which the rate rises from zero
    #[arg(long, default_value_t = 10)]
    warmup_steps: u64,
    /// How the rate falls after that
    #[arg(long, value_enum, default_value = "cosine")]
    schedule: ScheduleName,
    /// Longest gradient (global norm)
    #[arg(long, default_value_t = 1.0, value_name = "NORM")]
    max_grad_norm: f64,
    /// Decoupled weight decay of AdamW
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    /// Seed of order, initial weights and dropout: the same seed gives the same bits
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Longest row in tokens; a longer text becomes several samples
    #[arg(long, default_value_t = 1024, value_name = "TOKENS")]
    max_length: usize,
    /// What becomes of a longer prompt with its completion, or a longer chat
    #[arg(long, value_enum, default_value = "refuse")]
    overlong: OverlongRows,
    /// Tokens of a rehearsed answer: about as many as the new answers have, or the long ones drown the new rows
    #[arg(long, default_value_t = 20, value_name = "TOKENS")]
    rehearsal_tokens: usize,
    /// Steps between checkpoints; 0 for one at the end
    #[arg(long, default_value_t = 50, value_name = "STEPS")]
    checkpoint_every: u64,
    /// Measure the loss on the held-out rows every so many steps, and after the last
    #[arg(long, default_value_t = 0, value_name = "STEPS", hide_default_value = true)]
    eval_every: u64,
    /// Stop after so many evaluations in a row without improvement
    #[arg(long, value_name = "N", requires = "eval_every")]
    early_stopping: Option<u32>,
    /// The fall of the held-out loss that counts as an improvement
    #[arg(long, default_value_t = 0.0, value_name = "LOSS", requires = "early_stopping")]
    min_delta: f64,
    /// The state that becomes the adapter: `best` (lowest held-out loss) or `last` [default: best with --eval-every]
    #[arg(long, value_name = "STATE", value_parser = named::<Keep>)]
    keep: Option<Keep>,
}

impl Flags {
    pub fn settings(&self) -> TrainSettings {
        let kept = if self.eval_every > 0 { Keep::Best } else { Keep::Last };
        TrainSettings {
            r: self.r,
            lora_alpha: self.lora_alpha,
            use_rslora: self.use_rslora,
            lora_dropout: self.lora_dropout,
            target_modules: self.target_modules.clone(),
            exclude_modules: self.exclude_modules.clone(),
            layers_to_transform: self.layers_to_transform.as_ref().map(|layers| layers.0.clone()),
            train: self.train,
            learning_rate: self.learning_rate,
            max_steps: self.max_steps,
            batch_size: self.batch_size,
            gradient_accumulation: self.gradient_accumulation,
            micro_batch_tokens: self.micro_batch_tokens,
            recompute: self.recompute,
            dtype: self.dtype,
            warmup_steps: self.warmup_steps,
            schedule: self.schedule,
            max_grad_norm: self.max_grad_norm,
            weight_decay: self.weight_decay,
            seed: self.seed,
            max_length: self.max_length,
            overlong: self.overlong,
            rehearsal_tokens: self.rehearsal_tokens,
            checkpoint_every: self.checkpoint_every,
            eval_every: self.eval_every,
            early_stopping: self.early_stopping.map(|patience| EarlyStopping { patience, min_delta: self.min_delta }),
            keep: self.keep.unwrap_or(kept),
            ..TrainSettings::default()
        }
    }
}

/// Settings from a file.
pub fn read(path: &Path) -> Outcome<TrainSettings> {
    let bytes = potluck_trainer::files::read(path, JSON_MAX as u64)
        .map_err(|error| Failure::io(format!("read {}", path.display()), &error))?;
    let wrong = |reason: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("{}: {reason}", path.display()))
            .hint("take the training.json beside an adapter that `potluck train` wrote, and change what should differ")
    };
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}

/// What the types do not say, with the flag that says it.
pub fn check(settings: &TrainSettings) -> Outcome<()> {
    let positive = [
        ("--r", u64::from(settings.r)),
        ("--max-steps", settings.max_steps),
        ("--batch-size", settings.batch_size as u64),
        ("--gradient-accumulation", settings.gradient_accumulation as u64),
        ("--micro-batch-tokens", settings.micro_batch_tokens.unwrap_or(1) as u64),
        ("--max-length", settings.max_length as u64),
        ("--rehearsal-tokens", settings.rehearsal_tokens as u64),
        ("--early-stopping", settings.early_stopping.map_or(1, |stopping| stopping.patience).into()),
    ];
    if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(Failure::new(Kind::Usage, format!("{flag} is 0")).hint(format!("give {flag} a number above 0")));
    }
    let TrainSettings { learning_rate, weight_decay, max_grad_norm, lora_dropout, .. } = *settings;
    if !(learning_rate.is_finite() && learning_rate >= 0.0 && weight_decay >= 0.0 && max_grad_norm > 0.0) {
        return Err(Failure::new(Kind::Usage, "a rate, decay or norm is negative or no number")
            .hint("e.g. `--learning-rate 2e-4 --weight-decay 0 --max-grad-norm 1`"));
    }
    if !(0.0..1.0).contains(&lora_dropout) {
        return Err(Failure::new(Kind::Usage, format!("--lora-dropout {lora_dropout} is no share from 0 to below 1"))
            .hint("e.g. `--lora-dropout 0.05`"));
    }
    if settings.eval_every == 0 && (settings.early_stopping.is_some() || settings.keep == Keep::Best) {
        return Err(Failure::new(Kind::Usage, "nothing is evaluated while the run goes on")
            .hint("say how often with --eval-every STEPS, on rows given with --held-out FILE.jsonl"));
    }
    Ok(())
}

/// Layers in the order in which they were typed.
#[derive(Clone, Debug)]
struct Layers(Vec<u32>);

fn layers(text: &str) -> Result<Layers, String> {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|layer| *layer < LAYERS_MAX);
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(first..=last)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    let ranges = ranges.ok_or("give layers and ranges of layers, e.g. `0-9,20`")?;
    Ok(Layers(ranges.into_iter().flatten().collect()))
}

fn targets(text: &str) -> Result<Targets, String> {
    let targets = Targets::typed(text);
    targets.matcher().map_err(|error| error.to_string())?;
    Ok(targets)
}

/// One of the names that a type has in files.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        flags: Flags,
    }

    fn typed(text: &str) -> Result<TrainSettings, String> {
        let words = std::iter::once("train").chain(text.split_whitespace());
        Typed::try_parse_from(words).map(|typed| typed.flags.settings()).map_err(|error| error.to_string())
    }

    #[test]
    fn no_flag_means_what_an_empty_file_means() {
        assert_eq!(typed("").unwrap(), TrainSettings::default());
        assert_eq!(serde_json::from_str::<TrainSettings>("{}").unwrap(), TrainSettings::default());
    }

    #[test]
    fn what_is_typed_comes_back_from_its_file() {
        let settings = typed(
            "--r 4 --use-rslora --lora-dropout 0.1 --target-modules .*\\.(up|down)_proj --layers-to-transform 0-2,5 \
             --train b --micro-batch-tokens 512 --recompute full --dtype f32 --eval-every 5 --early-stopping 3 --min-delta 0.01",
        )
        .unwrap();
        assert_eq!(settings.layers_to_transform, Some(vec![0, 1, 2, 5]));
        assert_eq!((settings.keep, settings.train), (Keep::Best, Train::B));
        assert_eq!(settings.target_modules, Targets::Pattern(r".*\.(up|down)_proj".to_owned()));
        check(&settings).unwrap();
        let file = serde_json::to_string_pretty(&settings).unwrap();
        assert_eq!(serde_json::from_str::<TrainSettings>(&file).unwrap(), settings);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (text, says) in [
            ("--layers-to-transform 3-1", "0-9,20"),
            ("--layers-to-transform 0-4000000000", "0-9,20"),
            ("--target-modules (", "no regular expression"),
            ("--train c", "`both`, `a`, `b`"),
            ("--keep first", "`last` or `best`"),
            ("--min-delta 1", "--early-stopping"),
        ] {
            let error = typed(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for text in ["--lora-dropout 1", "--keep best", "--micro-batch-tokens 0"] {
            let failure = check(&typed(text).unwrap()).unwrap_err();
            assert!(failure.kind == Kind::Usage && failure.hint.is_some(), "{text}: {failure}");
        }
    }
}
