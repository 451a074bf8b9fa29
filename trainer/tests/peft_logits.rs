//! torch and PEFT are the reference: logits of a base and an adapter that they wrote, within 1e-4 in f32.
//! `fixtures/make_peft_fixture.py` made them; `fixtures/check_with_peft.py` goes the other way, live.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

use std::path::PathBuf;

use potluck_protocol::id::{Digest, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;
use potluck_trainer::backend::Backend;
use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::base::Base;
use potluck_trainer::base::sink::Memory;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::merge::fold::{Input, fold};
use potluck_trainer::merge::{self, Method};
use potluck_trainer::model::batch::Batch;
use potluck_trainer::model::decoder::Model;
use potluck_trainer::peft;

/// What torch and PEFT found at the last four positions.
#[derive(serde::Deserialize)]
struct Reference {
    ids: Vec<u32>,
    base: Vec<Vec<f32>>,
    adapted: Vec<Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn reference() -> Reference {
    serde_json::from_str(&std::fs::read_to_string(fixture("peft/logits.json")).unwrap()).unwrap()
}

fn base() -> Base {
    Base::open(&fixture("peft/base")).unwrap()
}

fn adapter(base: &Base) -> Adapter {
    peft::read(&fixture("peft/adapter"), base.architecture()).unwrap()
}

/// The largest difference from the reference's logits.
fn difference(base: &Base, adapters: &[(&Adapter, f32)], ids: &[u32], wanted: &[Vec<f32>]) -> f32 {
    let model = Model::load(CandleBackend::<f32>::new(), base).unwrap();
    let attached = Attached::load(model.backend(), base.architecture(), adapters).unwrap();
    let hidden = model.hidden(&Batch::new([ids]), &attached).unwrap();
    let logits: Vec<f32> = model.backend().read(&model.logits(&hidden).unwrap()).unwrap();
    let wanted: Vec<f32> = wanted.concat();
    let found = &logits[logits.len() - wanted.len()..];
    found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_folder_written_by_peft_gives_its_logits() {
    let (base, reference) = (base(), reference());
    let adapter = adapter(&base);
    let plain = difference(&base, &[], &reference.ids, &reference.base);
    assert!(plain < 1e-4, "base: {plain}");
    let adapted = difference(&base, &[(&adapter, 1.0)], &reference.ids, &reference.adapted);
    assert!(adapted < 1e-4, "adapter: {adapted}");
    let without = difference(&base, &[], &reference.ids, &reference.adapted);
    assert!(without > 1.0, "the adapter must matter: {without}");
}

#[test]
fn fold_and_sum_give_the_logits_of_the_adapter() {
    let (base, reference) = (base(), reference());
    let adapter = adapter(&base);
    let (half, one) = (Weight(1 << 15), Weight::ONE);
    let part = merge::Input { weight: half, factors: &adapter };
    let (halves, _) = merge::whole::merge(&[part, part], base.architecture(), Method::Sum).unwrap();
    let summed = difference(&base, &[(&halves, 1.0)], &reference.ids, &reference.adapted);
    assert!(summed < 1e-4, "sum: {summed}");

    let input = Input { id: ManifestId(Digest::of(b"adapter")), weight: one, adapter: &adapter };
    let mut memory = Memory::default();
    fold(&base, &[input], DType::F32, &mut memory).unwrap();
    let folded =
        Base::from_tensors(base.architecture().clone(), base.tokenizer().clone(), memory.into_tensors()).unwrap();
    let folded = difference(&folded, &[], &reference.ids, &reference.adapted);
    assert!(folded < 1e-4, "fold: {folded}");
}

/// Blocks of eight bits lose a little, rows in the wrong order would lose everything.
#[test]
fn a_gguf_file_gives_nearly_the_logits_of_the_folder() {
    let file = Base::open(&fixture("gguf/tiny.gguf")).unwrap();
    let reference = reference();
    let quantised = difference(&file, &[], &reference.ids, &reference.base);
    assert!(quantised < 0.25, "{quantised}");
}
