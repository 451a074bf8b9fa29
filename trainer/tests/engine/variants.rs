//! LoRA's variants: one factor alone, rank-stabilised scales, chosen modules and layers, going on from an adapter. What
//! each of them writes is plain LoRA, with the logits of the model that was trained.

use std::sync::atomic::AtomicBool;

use potluck_trainer::backend::Backend;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::config::{FitConfig, Train};
use potluck_trainer::fit::progress::{Event, Silent};
use potluck_trainer::fit::run::{FitReport, Run, fit};
use potluck_trainer::lora::LoraError;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::lora::init::kaiming;
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::model::batch::Batch;
use potluck_trainer::peft;

use crate::fitting::{config, model, run, samples};
use crate::operation::on_every_f32_backend;
use crate::support::{architecture, wide};

on_every_f32_backend!(
    every_variant_is_written_as_plain_lora_with_the_same_logits,
    a_frozen_factor_keeps_its_bits,
    a_alone_needs_a_b_that_is_not_zero,
    a_run_goes_on_from_an_adapter,
);

fn from<B: Backend + Clone>(b: &B, start: &Adapter, config: &FitConfig) -> Result<FitReport, FitError> {
    let cancel = AtomicBool::new(false);
    fit(&model(b), &samples(17), config, Run { start: Some(start), ..Run::new("noise", &mut Silent, &cancel) })
}

/// Logits of the adapter on the noise model.
fn logits<B: Backend + Clone>(b: &B, adapter: &Adapter) -> Vec<f64> {
    let model = model(b);
    let attached = Attached::load(model.backend(), model.architecture(), &[(adapter, 1.0)]).unwrap();
    let samples = samples(3);
    let batch = Batch::new(samples.iter().map(|sample| sample.ids.as_slice()));
    let hidden = model.hidden(&batch, &attached).unwrap();
    wide(model.backend().read(&model.logits(&hidden).unwrap()).unwrap())
}

/// The adapter as a PEFT folder gives it back.
fn portable(adapter: &Adapter) -> Adapter {
    let architecture = architecture(true);
    let files = peft::encode(adapter, &architecture).unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&files.config).unwrap();
    assert_eq!((&settings["lora_alpha"], &settings["lora_dropout"]), (&settings["r"], &serde_json::json!(0.0)));
    assert!(settings.get("use_rslora").is_none() && settings.get("layers_to_transform").is_none());
    peft::check(&files.config, &files.model, &architecture).unwrap()
}

fn every_variant_is_written_as_plain_lora_with_the_same_logits(b: &(impl Backend + Clone), _: f64) {
    let plain = config().lora;
    let layer = LoraConfig { layers_to_transform: Some(vec![1]), ..plain.clone() };
    let variants = [
        ("rslora", LoraConfig { use_rslora: true, ..plain.clone() }, 14),
        ("dropout", LoraConfig { lora_dropout: 0.3, ..plain.clone() }, 14),
        ("layers", layer.clone(), 7),
        ("excluded", LoraConfig { exclude_modules: vec!["up_proj".to_owned()], ..layer }, 6),
        ("pattern", LoraConfig { target_modules: Targets::Pattern(r".*\.0\..*(q|down)_proj".to_owned()), ..plain }, 2),
    ];
    for (name, lora, modules) in variants {
        let report = run(b, &FitConfig { lora, ..config() }, None, None).unwrap();
        assert_eq!(report.adapter.tensors.len(), 2 * modules, "{name}");
        let read = portable(&report.adapter);
        let (trained, read) = (logits(b, &report.adapter), logits(b, &read));
        let apart = trained.iter().zip(&read).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-4, "{name}: {apart}");
    }
}

fn a_frozen_factor_keeps_its_bits(b: &(impl Backend + Clone), _: f64) {
    let layout = Layout::new(&config().lora, model(b).architecture()).unwrap();
    let drawn = layout.adapter(&kaiming(&layout, config().seed));
    let only_b = run(b, &FitConfig { train: Train::B, ..config() }, None, None).unwrap().adapter;
    let start = run(b, &config(), None, None).unwrap().adapter;
    let only_a = from(b, &start, &FitConfig { train: Train::A, ..config() }).unwrap().adapter;
    for name in drawn.tensors.keys() {
        let is_a = name.contains("lora_A");
        assert_eq!(only_b.tensors[name] == drawn.tensors[name], is_a, "{name}");
        assert_eq!(only_a.tensors[name] == start.tensors[name], !is_a, "{name}");
    }
}

fn a_alone_needs_a_b_that_is_not_zero(b: &(impl Backend + Clone), _: f64) {
    let error = run(b, &FitConfig { train: Train::A, ..config() }, None, None).unwrap_err();
    assert!(matches!(error, FitError::ZeroB { .. }), "{error}");
}

fn a_run_goes_on_from_an_adapter(b: &(impl Backend + Clone), _: f64) {
    let first = run(b, &config(), None, None).unwrap();
    // As its folder gives it back: the scale is folded into B, and comes out of it again.
    let start = portable(&first.adapter);
    let mut losses = Vec::new();
    let mut progress = |event: &Event| {
        if let Event::Step(done) = event {
            losses.push(done.loss);
        }
    };
    let cancel = AtomicBool::new(false);
    let config = FitConfig { seed: 9, ..config() };
    let run = Run { start: Some(&start), ..Run::new("noise", &mut progress, &cancel) };
    let report = fit(&model(b), &samples(17), &config, run).unwrap();
    assert!(losses[0] < 1.05 * first.loss.unwrap(), "{losses:?} after {:?}", first.loss);
    assert!(report.loss.unwrap() < losses[0]);
    let wrong = FitConfig { lora: LoraConfig { r: 2, ..config.lora.clone() }, ..config };
    let error = from(b, &start, &wrong).unwrap_err();
    assert!(matches!(error, FitError::Lora(LoraError::Shape { .. })), "{error}");
}
