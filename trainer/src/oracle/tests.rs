//! The reference against numbers from outside it: finite differences in f64, and properties of the formulas.

use candle_core::Var;
use potluck_protocol::base::{F32Bits, Family};

use super::*;
use crate::synthetic::rng::Rng;

fn architecture(tied: bool) -> Architecture {
    let bits = |value| F32Bits::new(value).expect("finite");
    Architecture {
        family: Family::Llama,
        vocab_size: 11,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 2,
        rms_norm_eps: bits(1e-5),
        rope_theta: bits(100.0),
        tie_word_embeddings: tied,
    }
}

fn values(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| 0.4 * rng.normal()).collect()
}

/// f64 weights, every one a `Var`.
fn weights(architecture: &Architecture) -> BTreeMap<String, Var> {
    let tensors = architecture.tensors();
    let var = |(seed, (name, shape)): (usize, (String, Vec<u64>))| {
        let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
        let values = values(shape.iter().product(), seed as u64);
        (name, Var::from_vec(values, shape, &Device::Cpu).expect("a tensor"))
    };
    tensors.into_iter().enumerate().map(var).collect()
}

fn oracle(architecture: &Architecture, weights: &BTreeMap<String, Var>) -> Oracle {
    let weights = weights.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    Oracle::new(architecture.clone(), weights).expect("all tensors")
}

fn ids() -> Tensor {
    Tensor::new(&[[1u32, 5, 2, 9, 5], [3, 3, 10, 0, 7]], &Device::Cpu).expect("ids")
}

/// The labelled positions, of both rows.
const LABELS: [(u32, u32); 4] = [(2, 9), (3, 5), (5, 3), (8, 7)];

fn scalar(tensor: &Tensor) -> f64 {
    tensor.to_scalar::<f64>().expect("one f64")
}

/// `|gradient - central difference|` within 1e-6 of the tensor's norm, at a few places of each tensor.
fn check_gradients(vars: &BTreeMap<String, Var>, loss: impl Fn() -> Tensor) {
    let step = 1e-5;
    let gradients = loss().backward().expect("a backward pass");
    for (name, var) in vars {
        let Some(gradient) = gradients.get(var) else { panic!("no gradient for {name}") };
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm > 0.0, "the gradient of {name} is zero");
        let before = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for at in (0..before.len()).step_by(before.len() / 4 + 1) {
            let shifted = |by: f64| {
                let mut values = before.clone();
                values[at] += by;
                var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu).unwrap()).unwrap();
                scalar(&loss())
            };
            let difference = (shifted(step) - shifted(-step)) / (2.0 * step);
            shifted(0.0);
            assert!((gradient[at] - difference).abs() < 1e-6 * norm.max(1e-3), "{name}[{at}]");
        }
    }
}

#[test]
fn every_weight_has_the_gradient_that_finite_differences_have() {
    for tied in [true, false] {
        let architecture = architecture(tied);
        let weights = weights(&architecture);
        check_gradients(&weights, || oracle(&architecture, &weights).loss(&ids(), &LABELS).unwrap());
    }
}

#[test]
fn every_lora_factor_has_the_gradient_that_finite_differences_have() {
    let architecture = architecture(true);
    let frozen = weights(&architecture);
    let modules: Vec<String> =
        frozen.keys().filter(|name| name.contains("proj")).map(|name| name.replace(".weight", "")).collect();
    let mut factors = BTreeMap::new();
    for (seed, module) in modules.iter().enumerate() {
        let (out, inner) = architecture.module_shape(module).expect("a module");
        for (suffix, shape) in [("a", (2, inner as usize)), ("b", (out as usize, 2))] {
            let values = values(shape.0 * shape.1, 100 + seed as u64);
            factors.insert(format!("{module} {suffix}"), Var::from_vec(values, shape, &Device::Cpu).unwrap());
        }
    }
    let factor = |module: &str, suffix: &str| factors[&format!("{module} {suffix}")].as_tensor().clone();
    let loras = || modules.iter().map(|m| (m.clone(), Lora { a: factor(m, "a"), b: factor(m, "b"), scale: 1.5 }));
    check_gradients(&factors, || {
        oracle(&architecture, &frozen).with_loras(loras().collect()).loss(&ids(), &LABELS).unwrap()
    });
}

#[test]
fn a_lora_is_the_weight_plus_its_scaled_product() {
    let architecture = architecture(true);
    let frozen = weights(&architecture);
    let module = "model.layers.1.self_attn.k_proj";
    let a = Tensor::from_vec(values(3 * 8, 1), (3, 8), &Device::Cpu).unwrap();
    let b = Tensor::from_vec(values(4 * 3, 2), (4, 3), &Device::Cpu).unwrap();
    let lora = Lora { a: a.clone(), b: b.clone(), scale: 0.5 };
    let with = oracle(&architecture, &frozen).with_loras(BTreeMap::from([(module.to_owned(), lora)]));
    let adapted = with.logits(&ids()).unwrap();
    let weight = &frozen[&format!("{module}.weight")];
    weight.set(&(weight.as_tensor() + (b.matmul(&a).unwrap() * 0.5).unwrap()).unwrap()).unwrap();
    let folded = oracle(&architecture, &frozen).logits(&ids()).unwrap();
    let apart = (adapted - folded).unwrap().abs().unwrap().max_all().unwrap();
    assert!(scalar(&apart) < 1e-12);
}

#[test]
fn a_position_sees_nothing_ahead_of_it() {
    let architecture = architecture(true);
    let model = oracle(&architecture, &weights(&architecture));
    let changed = Tensor::new(&[[1u32, 5, 2, 4, 4], [3, 3, 10, 1, 1]], &Device::Cpu).unwrap();
    let logits = |ids: &Tensor| model.logits(ids).unwrap().narrow(1, 0, 3).unwrap().flatten_all().unwrap();
    assert_eq!(logits(&ids()).to_vec1::<f64>().unwrap(), logits(&changed).to_vec1::<f64>().unwrap());
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let architecture = architecture(true);
    let all: BTreeMap<String, Tensor> =
        weights(&architecture).into_iter().map(|(name, var)| (name, var.into_inner())).collect();
    let mut without = all.clone();
    without.remove("model.norm.weight");
    let error = Oracle::new(architecture.clone(), without).unwrap_err().to_string();
    assert!(error.contains("model.norm.weight"), "{error}");
    let mut wrong = all;
    wrong.insert("model.norm.weight".to_owned(), Tensor::zeros(3, DType::F64, &Device::Cpu).unwrap());
    assert!(Oracle::new(architecture, wrong).is_err());
}
