//! Rehearsal: prompts that the base answers itself, as rows to train on beside the new ones.
//!
//! An adapter that has only seen its own prompts changes the answers to all others too, and the changes of several
//! adapters add up when they are merged. Rows whose completion is what the frozen base says anyway ask for no change
//! there. (Self-distillation on unlabelled prompts, as in "Learning without Forgetting", Li and Hoiem 2016, arXiv
//! 1606.09282, with hard labels.)

use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::Backend;
use crate::generate::{Prompt, generate_batch};
use crate::lora::attached::Attached;
use crate::model::ModelError;
use crate::model::decoder::Model;
use crate::sample::Sample;

/// Prompts that go through the model at once.
const BATCH: usize = 64;

/// The base's greedy answers of at most `max_new_tokens` tokens, as samples: the prompt is no label, the answer is, and
/// so is `end` where the answer came to its end. A prompt that the base answers with nothing at all labels `end`
/// alone. `None` if it was cancelled.
pub fn answers<B: Backend>(
    model: &Model<B>,
    prompts: &[Vec<u32>],
    max_new_tokens: usize,
    stop: &[u32],
    end: u32,
    cancel: &AtomicBool,
) -> Result<Option<Vec<Sample>>, ModelError> {
    let alone = Attached::none(model.architecture());
    let mut samples = Vec::with_capacity(prompts.len());
    for chunk in prompts.chunks(BATCH) {
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let asked: Vec<_> = chunk.iter().map(|ids| Prompt { ids, max_new_tokens }).collect();
        let answers = generate_batch(model, &alone, &asked, stop)?;
        for (prompt, answer) in chunk.iter().zip(answers) {
            let ended = answer.len() < max_new_tokens;
            let ids = prompt.iter().copied().chain(answer).chain(ended.then_some(end)).collect();
            samples.push(Sample { ids, labels_from: prompt.len() });
        }
    }
    Ok(Some(samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::candle::CandleBackend;
    use crate::evaluate::{EvaluateOptions, evaluate};
    use crate::tiny;

    #[test]
    fn the_base_answers_its_own_rehearsal_without_fault() {
        let base = tiny::base().expect("embedded");
        let model = Model::load(CandleBackend::<f32>::new(), &base).expect("a model");
        let eos = base.tokenizer().special().eos.clone();
        let ids = |text: &str| base.tokenizer().encode_prompt(text).expect("text");
        let prompts = ["copy: Lake 12\n", "zzz: 4 x\n", "upper: river\n"].map(ids);
        let go = AtomicBool::new(false);
        let samples =
            answers(&model, &prompts, 24, &eos, base.tokenizer().eos(), &go).expect("answers").expect("not cancelled");
        assert!(
            samples.iter().zip(&prompts).all(|(sample, prompt)| sample.prompt() == prompt && sample.labelled() > 0)
        );
        let options = EvaluateOptions { batch_size: 2, stop: eos, exact_match: true };
        let alone = Attached::none(model.architecture());
        let measured = evaluate(&model, &alone, &samples, &options, &go).expect("measured").expect("not cancelled");
        assert_eq!(measured.exact, Some(samples.len()), "greedy answers are what greedy generation gives");
        assert!(answers(&model, &prompts, 24, &[], 0, &AtomicBool::new(true)).expect("no error").is_none());
    }
}
