//! How a step is cut into micro-batches changes nothing but memory and speed: accumulation, packing, recomputation.

use potluck_trainer::backend::Backend;
use potluck_trainer::backend::real::Real;
use potluck_trainer::data::sample::Sample;
use potluck_trainer::fit::config::FitConfig;
use potluck_trainer::fit::order::micro_batches;
use potluck_trainer::fit::state::{Dropped, HostState, TrainState};
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::lora::layout::Layout;
use potluck_trainer::model::batch::Batch;
use potluck_trainer::model::block::Recompute;
use potluck_trainer::model::decoder::Model;

use crate::fitting::{bits, config, run, samples};
use crate::operation::{on_every_backend, on_every_f32_backend};
use crate::support::{DOUBLE, HALF, architecture, distance, noise, noise_model};

on_every_backend!(accumulation_and_packing_change_no_gradient, dropout_changes_the_gradients);
on_every_f32_backend!(runs_do_not_depend_on_the_cut, recomputed_activations_give_the_same_bits);

const COUNT: usize = 24;

/// The gradients of one step over all samples, cut as the settings say.
fn gradients<B: Backend + Clone>(b: &B, lora_dropout: f32, cut: &FitConfig) -> Vec<f64> {
    let model = Model::load(b.clone(), &noise_model(architecture(true), 1)).unwrap();
    let lora = LoraConfig { lora_dropout, ..LoraConfig::new(3, 6.0, Targets::AllLinear) };
    let layout = Layout::new(&lora, model.architecture()).unwrap();
    let start = noise(3, layout.len).iter().map(|x| 0.3 * *x as f32).collect();
    let mut state =
        TrainState::new(&model, layout.clone(), &HostState::fresh(start, layout.trained), Recompute::None).unwrap();
    let samples = samples(COUNT);
    let all: Vec<&Sample> = samples.iter().collect();
    let scale = 1.0 / samples.iter().map(Sample::labelled).sum::<usize>() as f64;
    for chosen in micro_batches(&all, cut) {
        let rows: Vec<&Sample> = chosen.iter().map(|&index| &samples[index]).collect();
        let (batch, targets) = Batch::training(&rows);
        let dropped = Dropped::new(7, 3, &chosen, batch.lengths());
        state.accumulate_with_dropout(&batch, &targets, scale, &dropped).unwrap();
    }
    state.gradients().unwrap().into_iter().map(Real::wide).collect()
}

fn cut(batch_size: usize, micro_batch_tokens: Option<usize>) -> FitConfig {
    FitConfig { batch_size, micro_batch_tokens, ..FitConfig::default() }
}

/// Relative to the norm of the gradient: accumulation within 1e-6, packing within 1e-5; in f64 next to nothing, in
/// bf16 within what all its operations must hold.
fn accumulation_and_packing_change_no_gradient(b: &(impl Backend + Clone), tolerance: f64) {
    let (double, half) = (tolerance == DOUBLE, tolerance == HALF);
    for dropout in [0.0, 0.3] {
        let together = gradients(b, dropout, &cut(COUNT, None));
        let check = |name: &str, cut: FitConfig, tolerance: f64| {
            let apart = distance(&gradients(b, dropout, &cut), &together);
            // Products of bf16 round the scaled gradients of each micro-batch anew.
            let tolerance = if double {
                1e-13
            } else if half {
                HALF
            } else {
                tolerance
            };
            assert!(apart <= tolerance, "{name}, dropout {dropout}: {apart:e}");
        };
        for batch_size in [1, 5, 8] {
            check("accumulation", cut(batch_size, None), 1e-6);
        }
        for tokens in [4, 16, 50] {
            check("packing", cut(1, Some(tokens)), 1e-5);
        }
    }
}

fn dropout_changes_the_gradients(b: &(impl Backend + Clone), _: f64) {
    let apart = distance(&gradients(b, 0.3, &cut(8, None)), &gradients(b, 0.0, &cut(8, None)));
    assert!(apart > 0.05, "{apart}");
}

/// A loss that is a mean over the step's labelled tokens does not depend on how the step is cut into batches.
fn runs_do_not_depend_on_the_cut(b: &(impl Backend + Clone), _: f64) {
    let together = run(b, &FitConfig { batch_size: 6, accumulation: 1, ..config() }, None, None).unwrap();
    let apart = run(b, &FitConfig { batch_size: 1, accumulation: 6, ..config() }, None, None).unwrap();
    let packed =
        run(b, &FitConfig { batch_size: 6, accumulation: 1, micro_batch_tokens: Some(20), ..config() }, None, None);
    for other in [apart, packed.unwrap()] {
        for (name, tensor) in &together.adapter.tensors {
            let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let apart = distance(&wide(&tensor.values), &wide(&other.adapter.tensors[name].values));
            assert!(apart < 1e-3, "{name}: {apart}");
        }
    }
}

fn recomputed_activations_give_the_same_bits(b: &(impl Backend + Clone), _: f64) {
    let dropout = LoraConfig { lora_dropout: 0.1, ..config().lora };
    let with =
        |recompute| bits(&run(b, &FitConfig { recompute, lora: dropout.clone(), ..config() }, None, None).unwrap());
    let kept = with(Recompute::None);
    assert_eq!(kept, with(Recompute::Selective));
    assert_eq!(kept, with(Recompute::Full));
}
