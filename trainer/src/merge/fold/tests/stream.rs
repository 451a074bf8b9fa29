//! What is held at a time, and from where it is read, changes no bit; and the result is the base that was foretold.

use super::*;
use crate::backend::cpu::instructions::Instructions;
use crate::base::gguf::sample;
use crate::base::write::FolderWriter;
use crate::merge::fold::limits::Bounds;
use crate::merge::fold::{Folded, fold_within};
use crate::peft;

fn within(bounds: Bounds, base: &Base, inputs: &[Input]) -> Folded {
    fold_within(bounds, Instructions::best(), base, inputs, DType::F32, &mut Discard).unwrap()
}

#[test]
fn any_piece_any_batch_and_any_strip_give_one_result() {
    let adapters = adapters();
    let inputs = inputs(&adapters);
    let base = small::base();
    let wanted = within(Bounds::default(), &base, &inputs);
    for piece in [1, 16, 40] {
        for factors in [0, 150, 1000] {
            for strip in [1, 24, 1000] {
                assert_eq!(
                    within(Bounds { piece, factors, strip }, &base, &inputs),
                    wanted,
                    "{piece} {factors} {strip}"
                );
            }
        }
    }
}

#[test]
fn a_folder_has_the_id_that_was_foretold_and_is_a_parent_like_any_other() {
    let root = tempfile::tempdir().unwrap();
    let adapters = adapters();
    let inputs = inputs(&adapters);
    for (name, dtype) in [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)] {
        let out = root.path().join(name);
        let base = small::base();
        let mut folder =
            FolderWriter::create(&out, base.architecture(), base.tokenizer(), base.positions(), dtype).unwrap();
        let folded = fold(&base, &inputs, dtype, &mut folder).unwrap();
        folder.finish().unwrap();
        let opened = Base::open(&out).unwrap();
        assert_eq!(opened.id().unwrap(), folded.base, "{name}");
        // From the file and from memory.
        let (_, tensors) = run(&base, &inputs, dtype);
        let held = Base::from_tensors(small::architecture(), small::tokenizer(), tensors).unwrap();
        assert_eq!(within(Bounds::default(), &opened, &inputs), within(Bounds::default(), &held, &inputs), "{name}");
    }
}

/// Rows of a GGUF file lie in another order, which is undone piece by piece.
#[test]
fn a_quantised_parent_is_read_in_pieces() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("sample.gguf");
    std::fs::write(&file, sample::llama()).unwrap();
    let (opened, held) =
        (Base::open(&file).unwrap(), Base::from_gguf("sample", std::sync::Arc::new(sample::llama())).unwrap());
    let wanted = within(Bounds::default(), &held, &[]);
    assert_eq!(within(Bounds { piece: 1, ..Bounds::default() }, &opened, &[]), wanted);
    let tensors: BTreeMap<_, _> = held
        .architecture()
        .tensors()
        .into_iter()
        .map(|(name, _)| {
            let tensor = held.tensor(&name).unwrap();
            let values = dequantise::tensor(&tensor);
            (name, HostTensor::from_f32(tensor.shape, &values).unwrap())
        })
        .collect();
    let widened = Base::from_tensors(held.architecture().clone(), held.tokenizer().clone(), tensors).unwrap();
    assert_eq!(within(Bounds::default(), &widened, &[]), wanted);
}

#[test]
fn adapters_in_their_files_give_what_they_give_in_memory() {
    let root = tempfile::tempdir().unwrap();
    let base = small::base();
    // The portable profile: its factors are the same on both sides.
    let held = [adapter(1, 4, 4.0, 14), adapter(2, 3, 3.0, 5), adapter(3, 8, 8.0, 9)];
    let files = held.each_ref().map(|adapter| {
        let folder = root.path().join(adapter.config.r.to_string());
        peft::write(adapter, base.architecture(), &folder).unwrap();
        peft::Stored::open(&folder, base.architecture()).unwrap()
    });
    let wanted = inputs(&held);
    let stored: Vec<_> = wanted.iter().zip(&files).map(|(input, adapter)| Input { adapter, ..*input }).collect();
    assert_eq!(within(Bounds::default(), &base, &stored), within(Bounds::default(), &base, &wanted));
}
