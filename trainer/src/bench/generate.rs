//! Reading a prompt and generating from it greedily, timed apart.

use std::ops::ControlFlow;
use std::time::Instant;

use super::median;
use crate::backend::Backend;
use crate::generate::{Prompt, generate};
use crate::lora::attached::Attached;
use crate::memory::peak_rss;
use crate::model::ModelError;
use crate::model::decoder::Model;

/// How fast a prompt is read and tokens are generated.
#[derive(Clone, Debug)]
pub struct GenerateReport {
    /// Prompt tokens over the seconds until the first new token is there. Median of the rounds.
    pub prompt_tokens_per_second: f64,
    /// New tokens but the first over the seconds after it. Median of the rounds; NaN of a single token.
    pub new_tokens_per_second: f64,
    /// The new tokens, the same in every round.
    pub tokens: Vec<u32>,
    /// The process's peak, where the system tells it.
    pub peak_rss_bytes: Option<u64>,
}

/// Generates `new_tokens` tokens after a prompt, past any end of text, `rounds` times with a cache of its own each.
pub fn bench_generate<B: Backend>(
    model: &Model<B>,
    adapters: &Attached<B>,
    prompt: &[u32],
    new_tokens: usize,
    rounds: usize,
) -> Result<GenerateReport, ModelError> {
    let (mut prompts, mut news, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        tokens.clear();
        let (started, mut first) = (Instant::now(), None);
        let mut on_token = |token: u32| {
            first.get_or_insert_with(Instant::now);
            tokens.push(token);
            ControlFlow::Continue(())
        };
        generate(model, adapters, Prompt { ids: prompt, max_new_tokens: new_tokens }, &[], &mut on_token)?;
        let ended = Instant::now();
        let first = first.unwrap_or(ended);
        prompts.push(prompt.len() as f64 / (first - started).as_secs_f64());
        if tokens.len() > 1 {
            news.push((tokens.len() - 1) as f64 / (ended - first).as_secs_f64());
        }
    }
    Ok(GenerateReport {
        prompt_tokens_per_second: median(&prompts),
        new_tokens_per_second: median(&news),
        tokens,
        peak_rss_bytes: peak_rss(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::candle::CandleBackend;
    use crate::bench::hashed_id;

    #[test]
    fn every_round_generates_all_tokens() {
        let model = Model::load(CandleBackend::<f32>::new(), &crate::tiny::base().expect("embedded")).expect("loads");
        let prompt: Vec<u32> = (0..9).map(|i| hashed_id(i, model.architecture().vocab_size)).collect();
        let bare = Attached::load(model.backend(), model.architecture(), &[]).expect("nothing to attach");
        let report = bench_generate(&model, &bare, &prompt, 5, 2).expect("generates");
        assert_eq!(report.tokens.len(), 5);
        assert!(report.prompt_tokens_per_second > 0.0 && report.new_tokens_per_second > 0.0);
    }
}
