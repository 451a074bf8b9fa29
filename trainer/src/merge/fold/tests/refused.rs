//! What has no result, and the words that say why.

use super::*;
use crate::base::json;
use crate::lora::adapter::{AdapterTensor, Factor};
use crate::lora::factors::FactorsError;
use crate::merge::fold::FoldError;

const Q: &str = "model.layers.0.self_attn.q_proj";

fn refusal(base: &Base, inputs: &[Input], dtype: DType) -> FoldError {
    fold(base, inputs, dtype, &mut Discard).unwrap_err()
}

fn one(adapter: &Adapter) -> Input<'_> {
    Input { id: id("a"), weight: Weight::ONE, adapter }
}

fn changed(change: impl FnOnce(&mut Adapter)) -> Adapter {
    let mut adapter = adapter(1, 2, 2.0, 3);
    change(&mut adapter);
    adapter
}

fn tensor(adapter: &mut Adapter, factor: Factor) -> &mut AdapterTensor {
    adapter.tensors.get_mut(&factor.peft_name(Q)).unwrap()
}

#[test]
fn recipes_that_are_none() {
    let good = adapter(1, 2, 2.0, 1);
    let error = refusal(&small::base(), &[one(&good), one(&good)], DType::F32);
    assert!(matches!(&error, FoldError::Twice(twice) if *twice == id("a")), "{error}");
    let error = refusal(&small::base(), &[], DType::Q8_0);
    assert_eq!(error.to_string(), "the result's type is Q8_0: F32, F16 and BF16 are possible");
}

#[test]
fn adapters_that_do_not_fit_the_base() {
    let cases = [
        changed(|adapter| tensor(adapter, Factor::A).shape = [2, 9]),
        changed(|adapter| tensor(adapter, Factor::B).shape = [2, 8]),
        changed(|adapter| tensor(adapter, Factor::B).values.truncate(3)),
        changed(|adapter| drop(adapter.tensors.remove(&Factor::A.peft_name(Q)))),
        changed(|adapter| drop(adapter.tensors.remove(&Factor::B.peft_name(Q)))),
    ];
    for adapter in &cases {
        let error = refusal(&small::base(), &[one(adapter)], DType::F32);
        assert!(
            matches!(&error, FoldError::Module { id: found, module } if *found == id("a") && module == Q),
            "{error}"
        );
    }
    let elsewhere = changed(|adapter| {
        let (a, b) = (tensor(adapter, Factor::A).clone(), tensor(adapter, Factor::B).clone());
        let module = "model.layers.2.self_attn.q_proj";
        adapter.tensors.extend([(Factor::A.peft_name(module), a), (Factor::B.peft_name(module), b)]);
    });
    let error = refusal(&small::base(), &[one(&elsewhere)], DType::F32);
    let wanted =
        format!("the adapter {}: `model.layers.2.self_attn.q_proj` does not fit the base, or lacks a factor", id("a"));
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn factors_that_are_not_finite() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for factor in [Factor::A, Factor::B] {
            let damaged = changed(|adapter| tensor(adapter, factor).values[3] = wrong);
            let error = refusal(&small::base(), &[one(&damaged)], DType::F32);
            let name = factor.peft_name(Q);
            let named = |error: &FoldError| matches!(error, FoldError::Factors { id: found, error: FactorsError::NotFinite { name: own } } if *found == id("a") && *own == name);
            assert!(named(&error), "{error}");
        }
    }
}

#[test]
fn a_weight_that_overflows_names_the_adapter() {
    let large = changed(|adapter| tensor(adapter, Factor::B).values[0] = 1e38);
    run(&small::base(), &[one(&large)], DType::F32);
    let error = refusal(&small::base(), &[Input { weight: Weight(4 << 16), ..one(&large) }], DType::F32);
    let wanted = format!("the adapter {} with weight 4: B of `{Q}` is beyond what F32 can hold", id("a"));
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_result_that_is_not_finite_names_the_tensor_and_the_place() {
    let large = changed(|adapter| {
        tensor(adapter, Factor::A).values.fill(0.0);
        tensor(adapter, Factor::A).values[5] = 1000.0;
        tensor(adapter, Factor::B).values.fill(0.0);
        tensor(adapter, Factor::B).values[3 * 2] = 180.0;
    });
    // 180,000 is beyond F16 alone.
    run(&small::base(), &[one(&large)], DType::BF16);
    let error = refusal(&small::base(), &[one(&large)], DType::F16);
    let wanted = format!(
        "`{Q}.weight` becomes a value that is not finite in F16: row 3, column 5; a weight or an adapter is too large"
    );
    assert_eq!(error.to_string(), wanted);
    // Infinity less infinity, on the way.
    let opposite = changed(|adapter| {
        tensor(adapter, Factor::A).values.fill(f32::MAX);
        tensor(adapter, Factor::B).values = [2.0, -2.0].repeat(8);
    });
    let error = refusal(&small::base(), &[one(&opposite)], DType::F32);
    assert!(
        matches!(&error, FoldError::NotFinite { tensor, row: 0, column: 0, .. } if tensor.starts_with(Q)),
        "{error}"
    );
}

#[test]
fn a_damaged_parent_is_told_apart() {
    let mut tensors = small::tensors();
    let mut values = [0.5f32; 8];
    values[6] = f32::NAN;
    tensors.insert("model.norm.weight".to_owned(), HostTensor::from_f32(vec![8], &values).unwrap());
    let base = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap();
    let error = refusal(&base, &[], DType::F32);
    let wanted =
        "`model.norm.weight` of the parent holds a value that is not finite (NaN or infinity): row 0, column 6";
    assert_eq!(error.to_string(), wanted);
}

/// A file that is cut short while it is folded is an error, not the end of the process.
#[test]
fn a_parent_that_is_cut_short_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let config = json::parse(small::config().as_bytes(), 1 << 20).unwrap();
    std::fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(root.path().join("tokenizer.json"), small::TOKENIZER).unwrap();
    let weights = root.path().join("model.safetensors");
    let bytes = small::safetensors(&small::tensors());
    std::fs::write(&weights, &bytes).unwrap();
    let base = Base::open(root.path()).unwrap();
    std::fs::OpenOptions::new().write(true).open(&weights).unwrap().set_len(bytes.len() as u64 - 20).unwrap();
    let error = refusal(&base, &[], DType::F32);
    assert!(matches!(&error, FoldError::Parent { tensor, .. } if tensor == "model.norm.weight"), "{error}");
}
