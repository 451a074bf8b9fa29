//! Generation with the cache against plain forward passes, alone and in batches, and evaluation on top of it.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use potluck_trainer::backend::Backend;
use potluck_trainer::data::sample::Sample;
use potluck_trainer::evaluate::{EvaluateOptions, evaluate};
use potluck_trainer::generate::{Prompt, generate, generate_batch};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::model::batch::Batch;
use potluck_trainer::model::decoder::Model;

use crate::fitting::samples;
use crate::operation::on_every_f32_backend;
use crate::support::{architecture, backend, noise, noise_model, read};

on_every_f32_backend!(
    cached_generation_equals_running_the_whole_text_again,
    weighted_adapters_add_up,
    evaluation_counts_tokens_and_exact_matches,
);

const STOP: u32 = 36;

fn model<B: Backend + Clone>(b: &B) -> Model<B> {
    Model::load(b.clone(), &noise_model(architecture(true), 1)).unwrap()
}

fn adapter(model: &Model<impl Backend>, seed: u64) -> Adapter {
    let config = LoraConfig::new(2, 4.0, Targets::AllLinear);
    let layout = Layout::new(&config, model.architecture()).unwrap();
    layout.adapter(&noise(seed, layout.len).iter().map(|&x| 0.2 * x as f32).collect::<Vec<_>>())
}

fn attached<B: Backend>(model: &Model<B>, adapters: &[(&Adapter, f32)]) -> Attached<B> {
    Attached::load(model.backend(), model.architecture(), adapters).unwrap()
}

/// Runs the whole text again for every token.
fn uncached<B: Backend>(model: &Model<B>, adapters: &Attached<B>, prompt: &[u32], tokens: usize) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    while ids.len() < prompt.len() + tokens {
        let hidden = model.hidden(&Batch::new([ids.as_slice()]), adapters).unwrap();
        let next = model.greedy(&hidden, &[ids.len() - 1]).unwrap()[0];
        if next == STOP {
            break;
        }
        ids.push(next);
    }
    ids.split_off(prompt.len())
}

fn cached_generation_equals_running_the_whole_text_again(b: &(impl Backend + Clone), _: f64) {
    let model = model(b);
    let adapter = adapter(&model, 4);
    let adapters = attached(&model, &[(&adapter, 0.7)]);
    let samples = samples(9);
    let prompts: Vec<Prompt<'_>> = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| Prompt { ids: &sample.ids, max_new_tokens: 4 + index * 2 })
        .collect();
    let batched = generate_batch(&model, &adapters, &prompts, &[STOP]).unwrap();
    for (prompt, batched) in prompts.iter().zip(&batched) {
        assert_eq!(*batched, uncached(&model, &adapters, prompt.ids, prompt.max_new_tokens));
        let mut streamed = Vec::new();
        let mut take = |token| {
            streamed.push(token);
            ControlFlow::Continue(())
        };
        generate(&model, &adapters, *prompt, &[STOP], &mut take).unwrap();
        assert_eq!(streamed, *batched);
    }
}

#[test]
fn a_listener_may_break() {
    let model = model(&backend::<f32>());
    let base = Attached::none(model.architecture());
    let mut seen = 0;
    let mut take = |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    generate(&model, &base, Prompt { ids: &[1, 2], max_new_tokens: 9 }, &[], &mut take).unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn an_empty_prompt_or_a_foreign_token_is_an_error() {
    let model = model(&backend::<f32>());
    let base = Attached::none(model.architecture());
    let of = |ids: &[u32]| generate_batch(&model, &base, &[Prompt { ids, max_new_tokens: 1 }], &[]).is_err();
    assert!(of(&[]));
    assert!(of(&[37]));
}

/// Weights act as factors of the updates: half of an adapter and half of the same is the adapter.
fn weighted_adapters_add_up(b: &(impl Backend + Clone), _: f64) {
    let model = model(b);
    let (one, two) = (adapter(&model, 4), adapter(&model, 5));
    let batch = Batch::new([[3, 1, 4, 1, 5].as_slice()]);
    let logits = |adapters: &[(&Adapter, f32)]| {
        let hidden = model.hidden(&batch, &attached(&model, adapters)).unwrap();
        read(b, &model.logits(&hidden).unwrap())
    };
    let close = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close(logits(&[(&one, 1.0), (&two, 0.5)]), logits(&[(&two, 0.25), (&one, 1.0), (&two, 0.25)])));
    assert!(!close(logits(&[(&one, 1.0)]), logits(&[(&one, 0.5)])));
}

#[test]
fn adapters_that_do_not_fit_are_named() {
    let model = model(&backend::<f32>());
    let error = |change: &dyn Fn(&mut Adapter)| {
        let mut adapter = adapter(&model, 4);
        change(&mut adapter);
        let attached = Attached::load(model.backend(), model.architecture(), &[(&adapter, 1.0)]);
        attached.err().unwrap().to_string()
    };
    let name = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight";
    assert!(error(&|adapter| drop(adapter.tensors.remove(name))).contains("up_proj.lora_A"));
    assert!(error(&|adapter| adapter.tensors.get_mut(name).unwrap().shape = [2, 19]).contains("[2, 20]"));
    assert!(error(&|adapter| adapter.tensors.get_mut(name).unwrap().values.truncate(3)).contains("3 values"));
    assert!(error(&|adapter| adapter.config.r = 0).contains("rank 0"));
    let foreign = "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight";
    assert!(
        error(&|adapter| {
            let tensor = adapter.tensors[name].clone();
            adapter.tensors.insert(foreign.to_owned(), tensor);
        })
        .contains(foreign)
    );
}

fn evaluation_counts_tokens_and_exact_matches(b: &(impl Backend + Clone), _: f64) {
    let model = model(b);
    let base = Attached::none(model.architecture());
    let mut samples = samples(12);
    // The first samples are what the model itself would say.
    for sample in &mut samples[..5] {
        let said = uncached(&model, &base, &sample.ids, 3);
        let prompt = sample.ids.len();
        *sample = Sample::completing(sample.ids.iter().copied().chain(said).chain([STOP]).collect(), prompt);
    }
    let run = |batch_size: usize| {
        let options = EvaluateOptions { batch_size, stop: vec![STOP], exact_match: true };
        evaluate(&model, &base, &samples, &options, &AtomicBool::new(false)).unwrap().unwrap()
    };
    let (one, all) = (run(1), run(12));
    assert_eq!(one.completions, all.completions);
    assert_eq!((one.tokens, one.samples), (samples.iter().map(Sample::labelled).sum(), 12));
    assert!((one.loss - all.loss).abs() < 1e-6);
    assert!((one.perplexity - one.loss.exp()).abs() < 1e-9);
    let expected = samples.iter().filter(|sample| {
        let completion = sample.completion().strip_suffix(&[STOP]).unwrap_or(sample.completion());
        uncached(&model, &base, sample.prompt(), completion.len() + 8) == completion
    });
    assert_eq!(one.exact, Some(expected.count()));
}

#[test]
fn a_cancelled_evaluation_says_nothing() {
    let model = model(&backend::<f32>());
    let base = Attached::none(model.architecture());
    let options = EvaluateOptions { batch_size: 4, stop: vec![], exact_match: false };
    assert!(evaluate(&model, &base, &samples(3), &options, &AtomicBool::new(true)).unwrap().is_none());
}
