//! `potluck train`

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::{self, Request};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{Measured, OverlongRows, ScheduleName, TrainSettings};

/// Train a LoRA adapter on rows and write it as a PEFT folder.
///
/// The data is JSON lines of one kind: {"prompt": "...", "completion": "..."}, of which the loss counts the completion;
/// {"messages": [{"role": "user", "content": "..."}, ...]}, written by the base's chat template, of which it counts every
/// assistant turn; or {"text": "..."}, of which it counts all. `potluck data check` shows what that means for a file. A run that was
/// interrupted resumes from its last checkpoint, to the same bits, when the same command is given again.
#[derive(Debug, Args)]
pub struct Train {
    /// Base model: folder, .gguf file, name, base id, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Training rows
    #[arg(long, value_name = "FILE.jsonl")]
    data: PathBuf,
    /// Rows to measure on when the run is over
    #[arg(long, value_name = "FILE.jsonl")]
    held_out: Option<PathBuf>,
    /// Prompts that the base shall go on answering as it does: rows of {"prompt": "..."} that it answers itself before
    /// the run. An adapter that rehearses disturbs others less when it is merged with them
    #[arg(long, value_name = "FILE.jsonl")]
    rehearsal: Option<PathBuf>,
    /// Tokens of a rehearsed answer: about as many as the new answers have, or the long ones drown the new rows
    #[arg(long, default_value_t = 20, value_name = "TOKENS")]
    rehearsal_tokens: usize,
    /// The PEFT folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// LoRA rank
    #[arg(long, default_value_t = 16)]
    r: u32,
    /// LoRA alpha [default: 2 r]
    #[arg(long, value_name = "ALPHA")]
    lora_alpha: Option<f32>,
    /// Modules to adapt, e.g. `q_proj,v_proj`
    #[arg(long, default_value = "all-linear", value_delimiter = ',', value_name = "NAMES")]
    target_modules: Vec<String>,
    /// Peak learning rate
    #[arg(long, default_value_t = 2e-4)]
    learning_rate: f64,
    /// Optimiser steps
    #[arg(long, default_value_t = 200)]
    max_steps: u64,
    /// Rows of a micro-batch
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Micro-batches of an optimiser step; the loss is normalised by the tokens of all of them
    #[arg(long, default_value_t = 1, value_name = "N")]
    gradient_accumulation: usize,
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
    /// Seed of order and initial weights: the same seed gives the same bits
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Longest row in tokens; a longer text becomes several samples
    #[arg(long, default_value_t = 1024, value_name = "TOKENS")]
    max_length: usize,
    /// What becomes of a longer prompt with its completion, or a longer chat
    #[arg(long, value_enum, default_value = "refuse")]
    overlong: OverlongRows,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 50, value_name = "STEPS")]
    checkpoint_every: u64,
    /// Threads [default: all processors]; the result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
}

/// The answer, as far as it is shown to people.
#[derive(Deserialize)]
struct Trained {
    folder: PathBuf,
    steps: u64,
    tokens_per_second: f64,
    loss: f64,
    held_out: Option<Measured>,
}

pub async fn run(global: &Global, verb: &Train) -> Outcome<()> {
    let request = Request::Train(Box::new(verb.request()?));
    let base = verb.base.clone();
    output::answer(global, ask(global, &request).await?, |trained: Trained| {
        let mut lines = vec![format!(
            "trained {} steps, loss {:.4}, {:.0} tokens per second",
            trained.steps, trained.loss, trained.tokens_per_second
        )];
        if let Some(measured) = trained.held_out {
            lines.push(format!("held out: {}, loss {:.4}", output::exact(&measured), measured.loss));
        }
        lines.push(format!(
            "next: potluck publish {} --name NAME    potluck generate --base {base} --adapter {0} PROMPT",
            trained.folder.display()
        ));
        lines.push(trained.folder.display().to_string());
        lines
    })
}

impl Train {
    fn request(&self) -> Outcome<proto::Train> {
        Ok(proto::Train {
            base: super::base::absolute_reference(&self.base)?,
            data: config::absolute(&self.data)?,
            held_out: self.held_out.as_deref().map(config::absolute).transpose()?,
            rehearsal: self.rehearsal.as_deref().map(config::absolute).transpose()?,
            out: config::absolute(&self.out)?,
            settings: self.settings()?,
        })
    }

    fn settings(&self) -> Outcome<TrainSettings> {
        let positive = [
            ("--r", u64::from(self.r)),
            ("--max-steps", self.max_steps),
            ("--batch-size", self.batch_size as u64),
            ("--gradient-accumulation", self.gradient_accumulation as u64),
            ("--max-length", self.max_length as u64),
            ("--rehearsal-tokens", self.rehearsal_tokens as u64),
        ];
        if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Failure::new(Kind::Usage, format!("{flag} is 0")).hint(format!("give {flag} a number above 0")));
        }
        let rates = self.learning_rate.is_finite()
            && self.learning_rate >= 0.0
            && self.weight_decay >= 0.0
            && self.max_grad_norm > 0.0;
        if !rates {
            return Err(Failure::new(Kind::Usage, "a rate, decay or norm is negative or no number")
                .hint("e.g. `--learning-rate 2e-4 --weight-decay 0 --max-grad-norm 1`"));
        }
        let all = self.target_modules.iter().any(|name| name == "all-linear");
        Ok(TrainSettings {
            r: self.r,
            lora_alpha: self.lora_alpha.unwrap_or(2.0 * self.r as f32),
            target_modules: if all { Vec::new() } else { self.target_modules.clone() },
            learning_rate: self.learning_rate,
            max_steps: self.max_steps,
            batch_size: self.batch_size,
            gradient_accumulation: self.gradient_accumulation,
            warmup_steps: self.warmup_steps,
            schedule: self.schedule,
            max_grad_norm: self.max_grad_norm,
            weight_decay: self.weight_decay,
            seed: self.seed,
            max_length: self.max_length,
            overlong: self.overlong,
            rehearsal_tokens: self.rehearsal_tokens,
            checkpoint_every: self.checkpoint_every,
            threads: self.threads.unwrap_or_else(config::processors),
        })
    }
}
