//! How well a model with its adapters does on samples: loss, perplexity, and exact match of greedy completions.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::data::sample::Sample;
use crate::generate::{Prompt, generate_batch};
use crate::lora::attached::Attached;
use crate::model::ModelError;
use crate::model::batch::Batch;
use crate::model::decoder::Model;

/// Tokens that a completion may run over its reference before it is cut: it can no longer match.
const OVERRUN: usize = 8;

/// Samples that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum EvaluateError {
    #[error("there are no samples to measure")]
    NoSamples,
    #[error("sample {sample} has no completion token to measure (its prompt may fill the whole length)")]
    Unlabelled { sample: usize },
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// How samples are measured.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Samples that go through the model at once.
    pub batch_size: usize,
    /// Tokens that end a completion.
    pub stop: Vec<u32>,
    /// Whether to generate completions at all.
    pub exact_match: bool,
}

/// What was measured over all samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// How many there were.
    pub samples: usize,
    /// Labelled tokens.
    pub tokens: usize,
    /// Mean over labelled tokens.
    pub loss: f64,
    /// `e^loss`
    pub perplexity: f64,
    /// Samples whose greedy completion has exactly the reference's tokens.
    pub exact: Option<usize>,
    /// The greedy completions, in the samples' order, for a comparison as text.
    #[serde(skip)]
    pub completions: Vec<Vec<u32>>,
}

impl Evaluation {
    /// Share of exact matches.
    pub fn accuracy(&self) -> Option<f64> {
        self.exact.map(|exact| exact as f64 / self.samples as f64)
    }
}

/// `None` if it was cancelled, which is looked at before each batch.
pub fn evaluate<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    samples: &[Sample],
    options: &EvaluateOptions,
    cancel: &AtomicBool,
) -> Result<Option<Evaluation>, EvaluateError> {
    if samples.is_empty() {
        return Err(EvaluateError::NoSamples);
    }
    if let Some(sample) = Sample::first_unlabelled(samples) {
        return Err(EvaluateError::Unlabelled { sample });
    }
    // By length, so that completions that are generated together begin and end at about the same time.
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|&index| samples[index].ids.len());
    let (mut losses, mut completions) = (vec![0.0; samples.len()], vec![Vec::new(); samples.len()]);
    for chunk in order.chunks(options.batch_size.max(1)) {
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let rows: Vec<&Sample> = chunk.iter().map(|&index| &samples[index]).collect();
        let (batch, targets) = Batch::training(&rows);
        for (loss, target) in model.losses(&batch, &targets, adapters)?.iter().zip(&targets) {
            losses[chunk[batch.sequence(target.row)]] += loss;
        }
        if options.exact_match {
            let prompts: Vec<Prompt<'_>> = rows.iter().map(|sample| prompt(sample)).collect();
            let texts = generate_batch(model, adapters, &prompts, &options.stop)?;
            chunk.iter().zip(texts).for_each(|(&index, text)| completions[index] = text);
        }
    }
    let tokens: usize = samples.iter().map(Sample::labelled).sum();
    let loss = losses.iter().sum::<f64>() / tokens as f64;
    let exact = options.exact_match.then(|| {
        let pairs = samples.iter().zip(&completions);
        pairs.filter(|(sample, completion)| reference(sample, &options.stop) == completion.as_slice()).count()
    });
    Ok(Some(Evaluation { samples: samples.len(), tokens, loss, perplexity: loss.exp(), exact, completions }))
}

fn prompt(sample: &Sample) -> Prompt<'_> {
    Prompt { ids: sample.prompt(), max_new_tokens: sample.completion().len() + OVERRUN }
}

/// A sample's completion without the token that ends it.
fn reference<'a>(sample: &'a Sample, stop: &[u32]) -> &'a [u32] {
    match sample.completion().split_last() {
        Some((last, rest)) if stop.contains(last) => rest,
        _ => sample.completion(),
    }
}
