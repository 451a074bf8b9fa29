//! LoRA's variants: one factor alone, rank-stabilised scales, chosen modules and layers, going on from an adapter. What
//! each of them writes is plain LoRA, with the logits of the model that was trained.

use std::sync::atomic::AtomicBool;

use potluck_trainer::backend::Backend;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::config::{FitConfig, Train};
use potluck_trainer::fit::run::{FitReport, Run, fit};
use potluck_trainer::lora::LoraError;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::lora::init::kaiming;
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::model::batch::Batch;
use potluck_trainer::peft;
use potluck_trainer::progress::{Event, Silent};

use crate::fitting::{config, model, run, samples};

fn from(start: &Adapter, config: &FitConfig) -> Result<FitReport, FitError> {
    let cancel = AtomicBool::new(false);
    fit(&model(), &samples(17), config, Run { start: Some(start), ..Run::new("noise", &mut Silent, &cancel) })
}

/// Logits of the adapter on the noise model.
fn logits(adapter: &Adapter) -> Vec<f32> {
    let model = model();
    let attached = Attached::load(model.backend(), model.architecture(), &[(adapter, 1.0)]).unwrap();
    let samples = samples(3);
    let batch = Batch::new(samples.iter().map(|sample| sample.ids.as_slice()));
    let hidden = model.hidden(&batch, &attached).unwrap();
    model.backend().read(&model.logits(&hidden).unwrap()).unwrap()
}

/// The adapter as a PEFT folder gives it back.
fn portable(adapter: &Adapter) -> Adapter {
    let architecture = model().architecture().clone();
    let files = peft::encode(adapter, &architecture).unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&files.config).unwrap();
    assert_eq!((&settings["lora_alpha"], &settings["lora_dropout"]), (&settings["r"], &serde_json::json!(0.0)));
    assert!(settings.get("use_rslora").is_none() && settings.get("layers_to_transform").is_none());
    peft::check(&files.config, &files.model, &architecture).unwrap()
}

#[test]
fn every_variant_is_written_as_plain_lora_with_the_same_logits() {
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
        let report = run(&FitConfig { lora, ..config() }, None, None).unwrap();
        assert_eq!(report.adapter.tensors.len(), 2 * modules, "{name}");
        let read = portable(&report.adapter);
        let (trained, read) = (logits(&report.adapter), logits(&read));
        let apart = trained.iter().zip(&read).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{name}: {apart}");
    }
}

#[test]
fn a_frozen_factor_keeps_its_bits() {
    let layout = Layout::new(&config().lora, model().architecture()).unwrap();
    let drawn = layout.adapter(&kaiming(&layout, config().seed));
    let only_b = run(&FitConfig { train: Train::B, ..config() }, None, None).unwrap().adapter;
    let start = run(&config(), None, None).unwrap().adapter;
    let only_a = from(&start, &FitConfig { train: Train::A, ..config() }).unwrap().adapter;
    for name in drawn.tensors.keys() {
        let is_a = name.contains("lora_A");
        assert_eq!(only_b.tensors[name] == drawn.tensors[name], is_a, "{name}");
        assert_eq!(only_a.tensors[name] == start.tensors[name], !is_a, "{name}");
    }
}

#[test]
fn a_alone_needs_a_b_that_is_not_zero() {
    let error = run(&FitConfig { train: Train::A, ..config() }, None, None).unwrap_err();
    assert!(matches!(error, FitError::ZeroB { .. }), "{error}");
}

#[test]
fn a_run_goes_on_from_an_adapter() {
    let first = run(&config(), None, None).unwrap();
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
    let report = fit(&model(), &samples(17), &config, run).unwrap();
    assert!(losses[0] < 1.05 * first.loss.unwrap(), "{losses:?} after {:?}", first.loss);
    assert!(report.loss.unwrap() < losses[0]);
    let wrong = FitConfig { lora: LoraConfig { r: 2, ..config.lora.clone() }, ..config };
    let error = from(&start, &wrong).unwrap_err();
    assert!(matches!(error, FitError::Lora(LoraError::Shape { .. })), "{error}");
}
