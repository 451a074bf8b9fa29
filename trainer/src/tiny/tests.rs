//! The committed files are what the code says, and the weights can do what they were pretrained for.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::*;
use crate::oracle::Oracle;
use crate::synthetic::corpus::Corpus;
use crate::synthetic::skills::{self, Split};
use crate::synthetic::{Example, skills::Skill};

fn file(name: &str) -> &'static [u8] {
    FILES.iter().find(|(file, _)| *file == name).expect("a file of the base").1
}

fn model() -> Oracle {
    let tensors = candle_core::safetensors::load_buffer(file("model.safetensors"), &Device::Cpu).expect("tensors");
    Oracle::new(architecture(), tensors.into_iter().collect::<BTreeMap<String, Tensor>>()).expect("a whole model")
}

fn tokenizer() -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_bytes(file("tokenizer.json")).expect("a tokenizer")
}

/// With the right text before each position, whether the likeliest token is right at every one.
fn right(model: &Oracle, row: &Example) -> bool {
    let text: Vec<u32> = row.prompt.bytes().chain(row.completion.bytes()).map(byte_id).collect();
    let ids = Tensor::new(&text[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let best = model.logits(&ids).unwrap().argmax(2).unwrap().flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let wanted = text.iter().copied().chain([END_ID]).skip(row.prompt.len());
    best[row.prompt.len() - 1..].iter().copied().eq(wanted)
}

#[test]
fn the_committed_tokenizer_is_the_generated_one() {
    assert_eq!(file("tokenizer.json"), tokenizer_json().as_bytes());
}

#[test]
fn the_weights_are_small_and_about_a_million() {
    assert!(file("model.safetensors").len() <= 5_000_000);
    let count: u64 = architecture().tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    assert!((900_000..1_300_000).contains(&count), "{count}");
}

#[test]
fn it_opens_as_any_other_base() {
    let base = base().expect("the embedded base");
    base.check_finite().expect("finite weights");
    assert_eq!(base.architecture(), &architecture());
    assert_eq!(base.tokenizer().eos(), END_ID);
    assert_eq!(base_id().expect("an id"), base.id().expect("an id"));
}

#[test]
fn any_text_goes_through_the_tokenizer_and_back() {
    let tokenizer = tokenizer();
    let skills = skills::all().iter().flat_map(|skill| skill.samples(1, 50, Split::Train));
    let rows = skills.chain(Corpus::new(3).take(200)).flat_map(|row| [row.prompt, row.completion]);
    for text in rows.chain(["Größe 1\t2\r\n\u{0}\u{7f} 你好 🙂".to_owned(), "  two  spaces  ".to_owned()]) {
        let ids = tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec();
        assert_eq!(ids, text.bytes().map(byte_id).collect::<Vec<_>>());
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
    assert_eq!(tokenizer.token_to_id("<|end|>"), Some(END_ID));
    assert_eq!(tokenizer.get_vocab_size(true), VOCABULARY as usize);
}

#[test]
fn the_base_does_the_tasks_of_its_corpus() {
    let model = model();
    let rows: Vec<Example> = Corpus::new(99).take(200).collect();
    let exact = rows.iter().filter(|row| right(&model, row)).count();
    assert!(exact >= 100, "{exact} of 200 rows right");
}

/// What makes the demo's gain mean something.
#[test]
fn the_base_has_none_of_the_skills() {
    let model = model();
    let exact = |skill: &Skill| skill.samples(99, 100, Split::HeldOut).iter().filter(|row| right(&model, row)).count();
    for skill in skills::all() {
        assert_eq!(exact(skill), 0, "{} of 100 {} right", exact(skill), skill.name);
    }
}
