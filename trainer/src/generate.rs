//! Greedy generation with a cache of keys and values: one prompt as a stream, or many prompts at once.

use std::ops::ControlFlow;

use crate::backend::Backend;
use crate::lora::attached::Attached;
use crate::model::ModelError;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::decoder::Model;

/// A prompt and how far to go on from it.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
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
    decode(model, adapters, &[prompt], stop, &mut |_, token| on_token(token))
}

/// The most likely continuations of many prompts of any lengths, each without its stop token. Rows that have ended
/// leave the batch.
pub fn generate_batch<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompts: &[Prompt<'_>],
    stop: &[u32],
) -> Result<Vec<Vec<u32>>, ModelError> {
    let mut texts = vec![Vec::new(); prompts.len()];
    decode(model, adapters, prompts, stop, &mut |prompt, token| {
        texts[prompt].push(token);
        ControlFlow::Continue(())
    })?;
    Ok(texts)
}

/// `on_token(prompt, token)` may end its prompt by breaking.
fn decode<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompts: &[Prompt<'_>],
    stop: &[u32],
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
        let last: Vec<usize> =
            batch.lengths.iter().enumerate().map(|(row, length)| row * batch.width + length - 1).collect();
        let tokens = model.greedy(&hidden, &last)?;
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
