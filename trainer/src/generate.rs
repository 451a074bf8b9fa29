//! Generation with a cache of keys and values: one prompt as a stream, or many prompts at once.

pub mod rehearsal;

use std::ops::ControlFlow;

use crate::backend::Backend;
use crate::backend::real::Real;
use crate::lora::attached::Attached;
use crate::model::ModelError;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::decoder::Model;
use crate::random::splitmix64;

/// A prompt and how far to go on from it.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// Tokens to go on from; not empty.
    pub ids: &'a [u32],
    /// Tokens at most.
    pub max_new_tokens: usize,
}

/// The most likely continuation, one token after another: `on_token` takes each as it is found and may break.
/// Ends at a token of `stop`, which is not passed on.
pub fn generate<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompt: Prompt<'_>,
    stop: &[u32],
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<(), ModelError> {
    decode(model, adapters, &[prompt], stop, Choice::Greedy, &mut |_, token| on_token(token))
}

/// The most likely continuations of many prompts of any lengths, each without its stop token. Rows that have ended
/// leave the batch.
pub fn generate_batch<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompts: &[Prompt<'_>],
    stop: &[u32],
) -> Result<Vec<Vec<u32>>, ModelError> {
    collect(model, adapters, prompts, stop, Choice::Greedy)
}

/// Continuations drawn from the model's own distribution (temperature 1), otherwise as [`generate_batch`]. One seed
/// gives one draw on one machine; another processor's last bits may turn a close draw.
pub fn sample_batch<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompts: &[Prompt<'_>],
    stop: &[u32],
    seed: u64,
) -> Result<Vec<Vec<u32>>, ModelError> {
    collect(model, adapters, prompts, stop, Choice::Sampled { seed })
}

/// How the next token is found.
#[derive(Clone, Copy)]
enum Choice {
    Greedy,
    Sampled { seed: u64 },
}

fn collect<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompts: &[Prompt<'_>],
    stop: &[u32],
    choice: Choice,
) -> Result<Vec<Vec<u32>>, ModelError> {
    let mut texts = vec![Vec::new(); prompts.len()];
    decode(model, adapters, prompts, stop, choice, &mut |prompt, token| {
        texts[prompt].push(token);
        ControlFlow::Continue(())
    })?;
    Ok(texts)
}

/// One token of the distribution of each row; `keys[i]` decides row `i`'s draw.
fn sample<B: Backend>(model: &Model<B>, hidden: &B::Buf, rows: &[usize], keys: &[u64]) -> Result<Vec<u32>, ModelError> {
    let backend = model.backend();
    let logits = backend.read(&model.logits(&backend.gather(hidden, rows)?)?)?;
    let vocabulary = logits.len() / rows.len().max(1);
    let draw = |(row, &key): (&[B::Real], &u64)| {
        let largest = row.iter().map(|value| value.wide()).fold(f64::NEG_INFINITY, f64::max);
        let mass = |value: &B::Real| (value.wide() - largest).exp();
        let total: f64 = row.iter().map(mass).sum();
        // 53 random bits: a number from 0 to below 1.
        let mut left = (splitmix64(key) >> 11) as f64 / (1u64 << 53) as f64 * total;
        let found = row.iter().position(|value| {
            left -= mass(value);
            left < 0.0
        });
        // Rounding may leave a trace of mass behind the last token.
        found.unwrap_or(row.len() - 1) as u32
    };
    Ok(logits.chunks(vocabulary.max(1)).zip(keys).map(draw).collect())
}

/// `on_token(prompt, token)` may end its prompt by breaking.
fn decode<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompts: &[Prompt<'_>],
    stop: &[u32],
    choice: Choice,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Result<(), ModelError> {
    let mut active: Vec<usize> = (0..prompts.len()).filter(|&index| prompts[index].max_new_tokens > 0).collect();
    if let Some(&sequence) = active.iter().find(|&&index| prompts[index].ids.is_empty()) {
        return Err(ModelError::Length { sequence, got: 0, max: usize::MAX });
    }
    let capacity = prompts.iter().map(|prompt| prompt.ids.len() + prompt.max_new_tokens).max().unwrap_or(0);
    let mut cache = Cache::new(model.backend(), model.architecture(), prompts.len(), capacity)?;
    let mut found = vec![0; prompts.len()];
    let mut batch = Batch::new(active.iter().map(|&index| prompts[index].ids));
    while !active.is_empty() {
        let hidden = model.hidden_cached(&batch, &active, &mut cache, adapters)?;
        let last = batch.last_rows();
        let tokens = match choice {
            Choice::Greedy => model.greedy(&hidden, &last)?,
            Choice::Sampled { seed } => {
                let key = |&index: &usize| splitmix64(splitmix64(seed) + ((index as u64) << 32) + found[index] as u64);
                sample(model, &hidden, &last, &active.iter().map(key).collect::<Vec<_>>())?
            }
        };
        let mut next = Vec::with_capacity(active.len());
        active = active
            .iter()
            .zip(tokens)
            .filter_map(|(&index, token)| {
                found[index] += 1;
                let going = !stop.contains(&token)
                    && on_token(index, token).is_continue()
                    && found[index] < prompts[index].max_new_tokens;
                going.then(|| {
                    next.push(token);
                    index
                })
            })
            .collect();
        batch = Batch::new(next.chunks(1));
    }
    Ok(())
}
