//! Training runs: they learn, they do not depend on threads, and they stop where they must.

use std::sync::atomic::{AtomicBool, Ordering};

use potluck_protocol::base::Architecture;
use potluck_trainer::backend::Backend;
use potluck_trainer::data::sample::Sample;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::folder::RunFolder;
use potluck_trainer::fit::progress::{Event, Silent};
use potluck_trainer::fit::run::{FitReport, Run, RunEnd, fit};
use potluck_trainer::fit::state::{HostState, TrainState};
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::lora::init::kaiming;
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::model::batch::Batch;
use potluck_trainer::model::block::Recompute;
use potluck_trainer::model::decoder::Model;
use potluck_trainer::optim::AdamW;
use potluck_trainer::random::splitmix64;

use crate::operation::{finite_differences, on_every_backend, on_every_f32_backend};
use crate::support::{HALF, architecture, backend, buffer, distance, noise, noise_model, wide};

on_every_backend!(gradients_of_the_whole_model_match_finite_differences, at_step_zero_the_output_is_the_bases);
on_every_f32_backend!(a_run_lowers_the_loss, the_number_of_threads_changes_no_bit);

pub fn model<B: Backend + Clone>(b: &B) -> Model<B> {
    Model::load(b.clone(), &noise_model(architecture(true), 1)).unwrap()
}

/// Samples of 3 to 9 tokens.
pub fn samples(count: usize) -> Vec<Sample> {
    let sample = |index: usize| {
        let length = 3 + splitmix64(index as u64) as usize % 7;
        let ids = (0..length).map(|i| (splitmix64((index * 100 + i) as u64) % 37) as u32).collect();
        Sample::completing(ids, 1 + index % 2)
    };
    (0..count).map(sample).collect()
}

pub fn config() -> FitConfig {
    FitConfig {
        lora: LoraConfig::new(3, 6.0, Targets::AllLinear),
        optimizer: AdamW { lr: 1e-2, weight_decay: 0.01, ..AdamW::default() },
        epochs: 3,
        batch_size: 3,
        accumulation: 2,
        checkpoint_every: 2,
        seed: 5,
        ..FitConfig::default()
    }
}

/// A run over 17 samples, which is cancelled after a step if one is named.
pub fn run<B: Backend + Clone>(
    b: &B,
    config: &FitConfig,
    folder: Option<&RunFolder>,
    stop_after: Option<u64>,
) -> Result<FitReport, FitError> {
    run_on(b, (&samples(17), &[]), config, folder, stop_after)
}

/// A run over samples, with others held out.
pub fn run_on<B: Backend + Clone>(
    b: &B,
    (samples, held_out): (&[Sample], &[Sample]),
    config: &FitConfig,
    folder: Option<&RunFolder>,
    stop_after: Option<u64>,
) -> Result<FitReport, FitError> {
    let cancel = AtomicBool::new(false);
    let mut progress = |event: &Event| {
        if matches!(event, Event::Step(done) if Some(done.step) == stop_after) {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    fit(&model(b), samples, config, Run { folder, held_out, ..Run::new("noise", &mut progress, &cancel) })
}

pub fn bits(report: &FitReport) -> Vec<u32> {
    report.adapter.tensors.values().flat_map(|tensor| tensor.values.iter().map(|x| x.to_bits())).collect()
}

fn a_run_lowers_the_loss(b: &(impl Backend + Clone), _: f64) {
    let mut losses = Vec::new();
    let cancel = AtomicBool::new(false);
    let mut progress = |event: &Event| {
        if let Event::Step(done) = event {
            losses.push(done.loss);
        }
    };
    let config = FitConfig { epochs: 40, ..config() };
    let report = fit(&model(b), &samples(6), &config, Run::new("noise", &mut progress, &cancel)).unwrap();
    assert_eq!((report.steps, report.end), (40, RunEnd::Finished));
    assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
}

/// Large enough that products and rows are shared out: two steps of four rows of 90 to 140 tokens.
fn the_number_of_threads_changes_no_bit(b: &(impl Backend + Clone), _: f64) {
    let large = Architecture { hidden_size: 96, intermediate_size: 200, head_dim: 16, ..architecture(true) };
    let model = Model::load(b.clone(), &noise_model(large, 1)).unwrap();
    let sample = |index: usize| {
        let ids = (0..90 + index * 10).map(|i| (splitmix64((index * 1000 + i) as u64) % 37) as u32).collect();
        Sample::completing(ids, 3)
    };
    let samples: Vec<Sample> = (0..6).map(sample).collect();
    let config = FitConfig { batch_size: 4, accumulation: 1, epochs: 1, ..config() };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let cancel = AtomicBool::new(false);
        pool.install(|| bits(&fit(&model, &samples, &config, Run::new("noise", &mut Silent, &cancel)).unwrap()))
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(3));
}

#[test]
fn a_factor_without_gradient_raises_the_alarm() {
    // With an all-zero `down_proj` of a base whose `up_proj` is zero, nothing reaches the factors of `gate_proj`.
    let mut weights = noise_model(architecture(true), 1);
    weights.zero("model.layers.1.mlp.up_proj.weight");
    let model = Model::load(backend::<f32>(), &weights).unwrap();
    let targets = Targets::Names(vec!["gate_proj".to_owned()]);
    let config = FitConfig { lora: LoraConfig { target_modules: targets, ..config().lora }, ..config() };
    let cancel = AtomicBool::new(false);
    let error = fit(&model, &samples(17), &config, Run::new("noise", &mut Silent, &cancel)).unwrap_err();
    let FitError::DeadFactors { names, .. } = error else { panic!("{error}") };
    let module = "base_model.model.model.layers.1.mlp.gate_proj";
    assert_eq!(names, [format!("{module}.lora_A.weight"), format!("{module}.lora_B.weight")]);
}

fn at_step_zero_the_output_is_the_bases(b: &(impl Backend + Clone), _: f64) {
    let model = model(b);
    let layout = Layout::new(&config().lora, model.architecture()).unwrap();
    let adapter = layout.adapter(&kaiming(&layout, 3));
    let attached = Attached::load(model.backend(), model.architecture(), &[(&adapter, 1.0)]).unwrap();
    let base = Attached::none(model.architecture());
    let samples = samples(4);
    let batch = Batch::new(samples.iter().map(|sample| sample.ids.as_slice()));
    let [with, without] = [&attached, &base].map(|adapters| {
        let hidden = model.hidden(&batch, adapters).unwrap();
        model.backend().read(&model.logits(&hidden).unwrap()).unwrap()
    });
    assert_eq!(with, without);
}

/// Gradients in every factor of the adapter, through two layers, the norm and the head. Where only some layers have
/// pairs, the schedule leaves out what nothing needs.
fn gradients_of_the_whole_model_match_finite_differences(b: &(impl Backend + Clone), tolerance: f64) {
    for names in [None, Some("q_proj"), Some("down_proj")] {
        let targets = names.map_or(Targets::AllLinear, |name| Targets::Names(vec![name.to_owned()]));
        check_model(b, LoraConfig::new(2, 3.0, targets), tolerance);
    }
}

fn check_model<B: Backend + Clone>(b: &B, lora: LoraConfig, tolerance: f64) {
    let weights = noise_model(architecture(false), 1);
    let (model, oracle) = (Model::load(b.clone(), &weights).unwrap(), Model::load(backend::<f64>(), &weights).unwrap());
    let layout = Layout::new(&lora, model.architecture()).unwrap();
    let start: Vec<f64> = noise(9, layout.len).iter().map(|x| f64::from((0.3 * x) as f32)).collect();
    let samples = samples(3);
    let (batch, targets) = Batch::training(&samples.iter().collect::<Vec<_>>());
    let scale = 1.0 / targets.len() as f64;
    // The state starts from `f32`; the differences are taken on the buffer of the same values.
    let host = HostState::fresh(start.iter().map(|&x| x as f32).collect(), layout.trained);
    let mut state = TrainState::new(&model, layout.clone(), &host, Recompute::None).unwrap();
    state.accumulate(&batch, &targets, scale).unwrap();
    let got = wide(state.gradients().unwrap());
    let loss = |x: &[Vec<f64>]| {
        let flat = buffer(oracle.backend(), &x[0], 1, layout.len);
        let adapters = Attached::views(oracle.backend(), oracle.architecture(), &layout, &flat, None).unwrap();
        oracle.losses(&batch, &targets, &adapters).unwrap().iter().sum::<f64>() * scale
    };
    let expected = finite_differences(&loss, &[start]).remove(0);
    // Roundings to bf16 add up over the layers, and take the larger a part of a factor's gradient, the smaller that is
    // beside the others.
    let (all, each) = if tolerance == HALF { (2.0 * HALF, 4.0 * HALF) } else { (tolerance, tolerance) };
    let whole = distance(&got, &expected);
    assert!(whole < all, "all: {whole:e}");
    for slot in &layout.slots {
        let distance = distance(&got[slot.range()], &expected[slot.range()]);
        assert!(distance < each, "{}: {distance:e}", slot.name);
    }
}
