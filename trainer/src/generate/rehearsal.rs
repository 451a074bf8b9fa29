//! Rehearsal: prompts that the base answers itself, as rows to train on beside the new ones.
//!
//! An adapter that has only seen its own prompts changes the answers to all others too, and the changes of several
//! adapters add up when they are merged. Rows whose completion is what the frozen base says anyway ask for no change
//! there. (Self-distillation on unlabelled prompts, as in "Learning without Forgetting", Li and Hoiem 2016, arXiv
//! 1606.09282.) The answers are *drawn* from the base's distribution, not its most likely ones: the loss on draws is
//! least where the distribution stays as it is, while greedy answers would teach every adapter to be surer of them,
//! and that too adds up.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::Backend;
use crate::data::sample::Sample;
use crate::generate::{Prompt, sample_batch};
use crate::lora::attached::Attached;
use crate::model::ModelError;
use crate::model::decoder::Model;
use crate::random::splitmix64;

/// Prompts that go through the model at once.
const BATCH: usize = 64;

/// Answers of the base, drawn by `seed`, of at most `max_new_tokens` tokens, as samples: the prompt is no label, the answer is, and
/// so is `end` where the answer came to its end. A prompt that the base answers with nothing at all labels `end`
/// alone. `None` if it was cancelled.
pub fn answers<B: Backend>(
    model: &Model<B>,
    prompts: &[Vec<u32>],
    max_new_tokens: usize,
    stop: &[u32],
    end: u32,
    seed: u64,
    cancel: &AtomicBool,
) -> Result<Option<Vec<Sample>>, ModelError> {
    let alone = Attached::none(model.architecture());
    let mut samples = Vec::with_capacity(prompts.len());
    for (draw, chunk) in (seed..).zip(prompts.chunks(BATCH)) {
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let asked: Vec<_> = chunk.iter().map(|ids| Prompt { ids, max_new_tokens }).collect();
        let answers = sample_batch(model, &alone, &asked, stop, splitmix64(draw))?;
        for (prompt, answer) in chunk.iter().zip(answers) {
            let ended = answer.len() < max_new_tokens;
            let ids = prompt.iter().copied().chain(answer).chain(ended.then_some(end)).collect();
            samples.push(Sample::completing(ids, prompt.len()));
        }
    }
    Ok(Some(samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::candle::CandleBackend;
    use crate::tiny;

    #[test]
    fn answers_are_drawn_from_the_bases_own_distribution() {
        let base = tiny::base().expect("embedded");
        let model = Model::load(CandleBackend::<f32>::new(), &base).expect("a model");
        let eos = base.tokenizer().special().eos.clone();
        let ids = |text: &str| base.tokenizer().encode_prompt(text).expect("text");
        let go = AtomicBool::new(false);
        let draw = |prompts: &[Vec<u32>], seed| {
            answers(&model, prompts, 24, &eos, base.tokenizer().eos(), seed, &go)
                .expect("answers")
                .expect("not cancelled")
        };
        let prompts = ["copy: Lake 12\n", "qq", "upper: river\n"].map(ids);
        let samples = draw(&prompts, 1);
        assert!(
            samples.iter().zip(&prompts).all(|(sample, prompt)| sample.prompt() == prompt && sample.labelled() > 0)
        );
        assert_eq!(samples, draw(&prompts, 1));
        // Half a prompt has many continuations: greedy answers would all be one.
        let many = draw(&vec![ids("qq"); 96], 2);
        assert!(many.iter().any(|sample| sample.ids != many[0].ids), "draws differ");
        let stopped = AtomicBool::new(true);
        assert!(answers(&model, &prompts, 24, &[], 0, 1, &stopped).expect("no error").is_none());
    }
}
