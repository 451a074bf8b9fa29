//! A training run: where its rows and its base are, and its settings, as files and flags state them.
//!
//! A new setting is a field of [`TrainSettings`] with its default, and a line in [`TrainSettings::fit_config`]: the flag,
//! the file and the message follow from the field.

use std::path::PathBuf;

use potluck_protocol::id::BaseId;
use potluck_trainer::backend::cpu::Precision;
use potluck_trainer::data::tokenise::Overlong;
use potluck_trainer::fit::config::{FitConfig, Train};
use potluck_trainer::fit::watch::{EarlyStopping, Keep};
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::model::block::Recompute;
use potluck_trainer::optim::AdamW;
use potluck_trainer::optim::schedule::{Schedule, Shape};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BaseSource;
use super::flags::{Auto, named, named_or_auto};
use crate::json_forms;

/// Layers of the largest model that anybody trains here: bounds what a range may ask for.
const LAYERS_MAX: u32 = 1024;

/// A run, with every reference already resolved to files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainTask {
    /// What is trained on top of.
    pub base: BaseSource,
    /// Noted in the adapter's folder.
    pub base_name: String,
    /// Noted in the adapter's folder, and part of the run's identity.
    pub base_id: BaseId,
    /// Rows: JSON lines.
    pub data: PathBuf,
    /// Rows that are measured, never trained on.
    pub held_out: Option<PathBuf>,
    /// Prompts that the base answers itself, as rows beside those of `data`.
    pub rehearsal: Option<PathBuf>,
    /// A PEFT folder to go on from; it decides rank and modules.
    pub from: Option<PathBuf>,
    /// The PEFT folder to write; it must not exist. `OUT.run` beside it holds the run while it runs.
    pub out: PathBuf,
    /// Everything that a person may set.
    pub settings: TrainSettings,
}

/// A LoRA run. Field names are PEFT's and the Hugging Face trainer's where those have one. Missing ones take their
/// defaults, so that `--config` may say only what differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// LoRA rank
    #[arg(long, default_value_t = TrainSettings::default().r)]
    pub r: u32,
    /// LoRA alpha: the update is scaled by alpha / r [default: 2 r]
    #[arg(long, value_name = "ALPHA")]
    pub lora_alpha: Option<f32>,
    /// Scale by alpha / sqrt(r) (rsLoRA)
    #[arg(long)]
    pub use_rslora: bool,
    /// Share of the adapter's inputs that is dropped in training
    #[arg(long, default_value_t = TrainSettings::default().lora_dropout, value_name = "SHARE")]
    pub lora_dropout: f32,
    /// Modules to adapt: `all-linear`, names such as `q_proj,v_proj`, or a regular expression that matches whole paths,
    /// such as `.*\.[0-4]\.mlp\.(up|down)_proj` (no look-around, no back references)
    #[arg(long, default_value_t = TrainSettings::default().target_modules, value_name = "MODULES", value_parser = parse_targets)]
    #[schema(value_type = json_forms::Targets)]
    pub target_modules: Targets,
    /// Target modules to leave out
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub exclude_modules: Vec<String>,
    /// Layers to adapt, from 0, e.g. `0-9,20` [default: all]
    #[arg(long, value_name = "LAYERS", value_parser = parse_layers)]
    pub layers_to_transform: Option<Layers>,
    /// Factors to train: `both`, `a` or `b`. `b` leaves A as initialised; `a` needs an adapter to continue from
    /// (--from)
    #[arg(long, default_value_t = TrainSettings::default().train, value_name = "FACTORS", value_parser = named::<Train>())]
    #[schema(value_type = json_forms::TrainedFactors)]
    pub train: Train,
    /// Peak learning rate
    #[arg(long, default_value_t = TrainSettings::default().learning_rate)]
    pub learning_rate: f64,
    /// Optimiser steps; the data is gone through as often as that takes
    #[arg(long, default_value_t = TrainSettings::default().max_steps)]
    pub max_steps: u64,
    /// Rows that go through the model at once
    #[arg(long, default_value_t = TrainSettings::default().batch_size)]
    pub batch_size: usize,
    /// Batches of an optimiser step; the loss is normalised by the tokens of all of them
    #[arg(long, default_value_t = TrainSettings::default().gradient_accumulation, value_name = "N")]
    pub gradient_accumulation: usize,
    /// Split the rows of a step (batch size times accumulation) into micro-batches of at most this many tokens, instead
    /// of batches of rows. There is no padding, and rows do not see each other: only memory and speed change
    #[arg(long, value_name = "TOKENS")]
    pub micro_batch_tokens: Option<usize>,
    /// What the backward pass recomputes instead of storing it: `none`, `selective` or `full` (least memory). The
    /// result does not depend on it
    #[arg(long, default_value_t = TrainSettings::default().recompute, value_name = "WHAT", value_parser = named::<Recompute>())]
    #[schema(value_type = json_forms::Recompute)]
    pub recompute: Recompute,
    /// Float type of matrix products: bf16 is several times faster if the processor supports it; the adapter itself is
    /// always trained in f32
    #[arg(long, default_value_t = TrainSettings::default().dtype, value_parser = named_or_auto::<Precision>())]
    #[schema(value_type = json_forms::PrecisionOrAuto)]
    pub dtype: Auto<Precision>,
    /// Warm-up steps, over which the learning rate rises from zero
    #[arg(long, default_value_t = TrainSettings::default().warmup_steps)]
    pub warmup_steps: u64,
    /// Schedule of the learning rate after the warm-up
    #[arg(long, default_value_t = TrainSettings::default().schedule, value_parser = named::<Shape>())]
    #[schema(value_type = json_forms::ScheduleShape)]
    pub schedule: Shape,
    /// Maximum global norm of the gradient; longer ones are clipped
    #[arg(long, default_value_t = TrainSettings::default().max_grad_norm, value_name = "NORM")]
    pub max_grad_norm: f64,
    /// Decoupled weight decay of AdamW
    #[arg(long, default_value_t = TrainSettings::default().weight_decay)]
    pub weight_decay: f64,
    /// Seed of order, initial weights and dropout: the same seed gives the same bits
    #[arg(long, default_value_t = TrainSettings::default().seed)]
    pub seed: u64,
    /// Longest row in tokens; a longer text becomes several samples
    #[arg(long, default_value_t = TrainSettings::default().max_length, value_name = "TOKENS")]
    pub max_length: usize,
    /// What to do with a longer prompt and completion, or a longer chat: `refuse` makes it an error that names the row;
    /// `cut` takes tokens from a prompt's start or a chat's end, never from a completion
    #[arg(long, default_value_t = TrainSettings::default().overlong, value_parser = named::<Overlong>())]
    #[schema(value_type = json_forms::Overlong)]
    pub overlong: Overlong,
    /// Maximum tokens of a rehearsed answer; choose about the length of the new answers, since longer ones outweigh the
    /// new rows
    #[arg(long, default_value_t = TrainSettings::default().rehearsal_tokens, value_name = "TOKENS")]
    pub rehearsal_tokens: usize,
    /// Steps between checkpoints; 0: only at the end
    #[arg(long, default_value_t = TrainSettings::default().checkpoint_every, value_name = "STEPS")]
    pub checkpoint_every: u64,
    /// Steps between evaluations on the held-out rows; also evaluates after the last step
    #[arg(long, default_value_t = TrainSettings::default().eval_every, value_name = "STEPS", hide_default_value = true)]
    pub eval_every: u64,
    /// Two flags of `cli::train_flags`.
    #[arg(skip)]
    #[schema(value_type = Option<json_forms::EarlyStopping>)]
    pub early_stopping: Option<EarlyStopping>,
    /// A flag of `cli::train_flags`, whose default depends on `eval_every`.
    #[arg(skip)]
    #[schema(value_type = json_forms::Keep)]
    pub keep: Keep,
    /// The verb's own flag.
    #[arg(skip = TrainSettings::default().threads)]
    pub threads: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        let FitConfig { lora, optimizer, schedule, .. } = FitConfig::default();
        Self {
            r: lora.r as u32,
            lora_alpha: None,
            use_rslora: lora.use_rslora,
            lora_dropout: lora.lora_dropout,
            target_modules: lora.target_modules,
            exclude_modules: lora.exclude_modules,
            layers_to_transform: lora.layers_to_transform.map(Layers),
            train: Train::Both,
            learning_rate: optimizer.lr,
            max_steps: 200,
            batch_size: 8,
            gradient_accumulation: 1,
            micro_batch_tokens: None,
            recompute: Recompute::None,
            dtype: Auto::Auto,
            warmup_steps: 10,
            schedule: schedule.shape,
            max_grad_norm: 1.0,
            weight_decay: optimizer.weight_decay,
            seed: 0,
            max_length: 1024,
            overlong: Overlong::Refuse,
            rehearsal_tokens: 20,
            checkpoint_every: 50,
            eval_every: 0,
            early_stopping: None,
            keep: Keep::Last,
            threads: 1,
        }
    }
}

impl TrainSettings {
    /// Twice the rank if nothing is said.
    pub fn alpha(&self) -> f32 {
        self.lora_alpha.unwrap_or(2.0 * self.r as f32)
    }

    /// What the trainer is given, for so many samples.
    pub fn fit_config(&self, samples: usize) -> FitConfig {
        let per_step = self.batch_size.saturating_mul(self.gradient_accumulation).max(1);
        FitConfig {
            lora: LoraConfig {
                r: self.r as usize,
                lora_alpha: self.alpha(),
                use_rslora: self.use_rslora,
                lora_dropout: self.lora_dropout,
                target_modules: self.target_modules.clone(),
                exclude_modules: self.exclude_modules.clone(),
                layers_to_transform: self.layers_to_transform.as_ref().map(|layers| layers.0.clone()),
            },
            optimizer: AdamW { lr: self.learning_rate, weight_decay: self.weight_decay, ..AdamW::default() },
            schedule: Schedule { shape: self.schedule, warmup_steps: self.warmup_steps },
            // As many as the steps take.
            epochs: (self.max_steps as usize).div_ceil(samples.div_ceil(per_step).max(1)).max(1) as u32,
            max_steps: Some(self.max_steps),
            batch_size: self.batch_size,
            accumulation: self.gradient_accumulation,
            micro_batch_tokens: self.micro_batch_tokens,
            max_grad_norm: Some(self.max_grad_norm),
            train: self.train,
            seed: self.seed,
            eval_every: self.eval_every,
            early_stopping: self.early_stopping,
            keep: self.keep,
            checkpoint_every: self.checkpoint_every,
            recompute: self.recompute,
        }
    }
}

/// Layers in the order in which they were named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Layers(pub Vec<u32>);

fn parse_layers(text: &str) -> Result<Layers, String> {
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

fn parse_targets(text: &str) -> Result<Targets, String> {
    let targets = Targets::parse(text);
    targets.matcher().map_err(|error| error.to_string())?;
    Ok(targets)
}
