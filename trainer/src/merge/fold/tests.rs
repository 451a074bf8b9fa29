//! Golden digests of the rule `fold-f32/1`, its ends, and what is refused. `trainer/tests/fold_digests.rs` holds random
//! recipes against the rule written out a second time.

mod refused;
mod stream;

use std::collections::BTreeMap;

use half::bf16;
use potluck_protocol::id::{Digest, FoldDigest, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;

use super::{Input, fold};
use crate::base::sink::{Discard, Memory};
use crate::base::{Base, small};
use crate::lora::adapter::Adapter;
use crate::merge::testing::{adapter, dense};
use crate::tensor::HostTensor;
use crate::tensor::dequantise;

fn id(name: &str) -> ManifestId {
    ManifestId(Digest::of(name.as_bytes()))
}

fn adapters() -> [Adapter; 3] {
    [adapter(1, 4, 8.0, 14), adapter(2, 3, 3.0, 5), adapter(3, 8, 4.0, 9)]
}

fn inputs(adapters: &[Adapter; 3]) -> Vec<Input<'_>> {
    let [a, b, c] = adapters;
    vec![
        Input { id: id("a"), weight: Weight::ONE, adapter: a },
        Input { id: id("b"), weight: Weight(-12_345), adapter: b },
        Input { id: id("c"), weight: Weight(3 << 15), adapter: c },
    ]
}

fn run(base: &Base, inputs: &[Input], dtype: DType) -> (FoldDigest, BTreeMap<String, HostTensor>) {
    let mut memory = Memory::default();
    let folded = fold(base, inputs, dtype, &mut memory).unwrap();
    (folded.digest, memory.into_tensors())
}

#[test]
fn one_digest_on_any_number_of_threads_and_in_any_order() {
    let adapters = adapters();
    let mut inputs = inputs(&adapters);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let (wanted, tensors) = run(&small::base(), &inputs, dtype);
        for threads in 1..=3 {
            inputs.rotate_left(1);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (found, again) = pool.install(|| run(&small::base(), &inputs, dtype));
            assert_eq!(found, wanted, "{threads} threads");
            assert!(again.iter().zip(&tensors).all(|(a, b)| a.1.bytes() == b.1.bytes()));
        }
        assert_eq!(fold(&small::base(), &inputs, dtype, &mut Discard).unwrap().digest, wanted);
    }
}

/// The format: a changed digest is a changed rule, which needs a new name.
#[test]
fn the_digest_of_a_known_recipe_does_not_change() {
    let adapters = adapters();
    let found =
        [DType::F32, DType::F16, DType::BF16].map(|dtype| run(&small::base(), &inputs(&adapters), dtype).0.to_string());
    assert_eq!(
        found,
        [
            "b403242068228cc1c8d571b098f05d8ddf0db959263717f4ea2aec4c60335119",
            "ade7d408185d63f27527acc6d85ec7f44cc41ae2545577ea0db46bdd84122e48",
            "162884069eb614fcf9a76691fbcffdc4ceb7aa46e911fb4990af78560434cb28",
        ]
    );
}

#[test]
fn the_result_is_the_dense_sum() {
    let adapters = adapters();
    let inputs = inputs(&adapters);
    let (_, tensors) = run(&small::base(), &inputs, DType::F32);
    for (name, found) in &tensors {
        let module = name.trim_end_matches(".weight");
        let mut wanted: Vec<f64> =
            dequantise::tensor(&small::base().tensor(name).unwrap()).into_iter().map(f64::from).collect();
        for (input, adapter) in inputs.iter().zip(&adapters) {
            for (total, part) in wanted.iter_mut().zip(dense(adapter, module)) {
                *total += input.weight.get() * part;
            }
        }
        let error =
            dequantise::tensor(found).iter().zip(&wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(error < 1e-6, "{name}: {error}");
    }
}

#[test]
fn no_adapter_leaves_the_base_as_it_is_and_revoking_gives_it_back() {
    let base = small::base();
    let (_, tensors) = run(&base, &[], DType::F32);
    for (name, tensor) in &tensors {
        assert_eq!(tensor.bytes(), base.tensor(name).unwrap().bytes(), "{name}");
    }
    let folded = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap();
    assert_eq!(folded.id().unwrap(), base.id().unwrap());
}

#[test]
fn rounding_is_to_nearest_even_and_minus_zero_becomes_zero() {
    let mut tensors = small::tensors();
    // In bf16, 1 + 2^-8 lies half-way between 1 and 1 + 2^-7, and 1 + 3 * 2^-8 between 1 + 2^-7 and 1 + 2^-6.
    let values = [1.0 + 0.003_906_25, 1.0 + 0.011_718_75, -0.0, 1e-45, -1e-45, 0.5, 1.0, 2.0];
    tensors.insert("model.norm.weight".to_owned(), HostTensor::from_f32(vec![8], &values).unwrap());
    let base = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap();
    let bits = |dtype| run(&base, &[], dtype).1["model.norm.weight"].bytes().to_vec();
    let rounded: Vec<_> =
        bits(DType::BF16).as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect();
    assert_eq!(rounded, [1.0, 1.015_625, 0.0, 0.0, 0.0, 0.5, 1.0, 2.0]);
    // The last values: what rounding makes of a small negative number is plus zero too.
    assert_eq!(bits(DType::BF16)[4..10], [0; 6], "minus zero");
    let full = bits(DType::F32);
    assert_eq!(full[8..12], [0; 4], "minus zero");
    assert_eq!(full[12..16], 1e-45f32.to_le_bytes(), "tiny numbers stay");
}
