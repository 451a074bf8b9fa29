//! One text: what is trained decodes to the text that was meant, and has the losses of transformers on small bases.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::{Base, Tokenizer};
use potluck_trainer::data::jsonl;
use potluck_trainer::data::tokenise::{self, Overlong, completion};
use potluck_trainer::evaluate::{EvaluateOptions, Evaluation, evaluate};
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::model::decoder::Model;
use potluck_trainer::random::splitmix64;
use serde_json::{Value, json};

fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases").join(name)
}

/// Tokens of all rows, and their measure.
fn measure(case_name: &str, rows: &str) -> (usize, Evaluation) {
    let base = Base::open(&case(case_name).join("base")).unwrap();
    let rows = jsonl::read(&case(case_name).join(rows)).unwrap();
    let samples = tokenise::samples(&rows, base.tokenizer(), 1024, Overlong::Refuse).unwrap().samples;
    let model = Model::load(CandleBackend::<f32>::new(), &base).unwrap();
    let options = EvaluateOptions { batch_size: 1, stop: vec![], exact_match: false };
    let alone = Attached::none(base.architecture());
    let found = evaluate(&model, &alone, &samples, &options, &AtomicBool::new(false)).unwrap().unwrap();
    (samples.iter().map(|sample| sample.ids.len()).sum(), found)
}

#[test]
fn losses_of_transformers_on_texts_that_are_easily_cut_wrongly() {
    for (name, rows, tokens, labels, loss) in [
        // A prefix space belongs to the start of a text, not to a completion or an answer.
        ("spm-prefix-space", "rows.jsonl", 17, 7, 7.68344),
        ("spm-prefix-space", "chat.jsonl", 58, 9, 7.43615),
        // What a row brings itself is not put around it again.
        ("double-begin-of-text", "text.jsonl", 26, 25, 8.00488),
        // An added token in the assistant's own words is a token, whether the template names it or not.
        ("think-token-as-text", "chat.jsonl", 33, 12, 8.34879),
        // The tokenizer's begin of text, whatever config.json says of it.
        ("bos-differs-from-config", "rows.jsonl", 24, 13, 8.61052),
    ] {
        let (found_tokens, found) = measure(name, rows);
        assert_eq!((found_tokens, found.tokens), (tokens, labels), "{name}/{rows}");
        assert!((found.loss - loss).abs() < 1e-4, "{name}/{rows}: {} and not {loss}", found.loss);
    }
}

#[test]
fn a_prompt_that_begins_the_text_itself_gets_one_begin() {
    let (tokens, found) = measure("double-begin-of-text", "rows.jsonl");
    assert_eq!((tokens, found.tokens), (26, 7));
}

/// Numbers by seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (splitmix64(self.0) % count as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What a tokenizer puts before a piece of text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Prefix {
    None,
    /// Before each text between added tokens.
    Each,
    /// The same, unless a blank is there.
    EachWithoutBlank,
    /// Before the first alone, unless a blank is there.
    First,
}

#[derive(Debug)]
struct Added {
    text: &'static str,
    left: bool,
    right: bool,
}

/// A random tokenizer, and what is known of it.
struct Subject {
    tokenizer: Tokenizer,
    prefix: Prefix,
    /// Whether decoding takes the first blank away again.
    strips: bool,
    added: Vec<Added>,
}

const LETTERS: [&str; 14] = ["a", "b", "c", "1", "2", ".", "'", "s", "\n", "é", "你", "🙂", "<", ">"];

fn subject(dice: &mut Dice) -> Subject {
    let added: Vec<Added> = ["<|x|>", "<t>", "</s>"]
        .into_iter()
        .map(|text| Added { text, left: dice.below(4) == 0, right: dice.below(4) == 0 })
        .collect();
    let bytes = dice.below(2) == 0;
    let (mut vocab, blank): (Vec<String>, &str) =
        if bytes { (byte_letters(), "Ġ") } else { (sentencepiece_letters(), "▁") };
    let merges = merges(dice, &mut vocab, blank);
    let (normalizer, pre_tokenizer, decoder, prefix) = if bytes { byte_level(dice) } else { sentencepiece(dice) };
    let strips = !bytes && prefix != Prefix::None;
    let first = vocab.len();
    let tokens: Vec<Value> = (first..)
        .zip(&added)
        .map(|(id, token)| {
            json!({"id": id, "content": token.text, "single_word": false, "lstrip": token.left, "rstrip": token.right,
                   "normalized": false, "special": token.text != "<t>"})
        })
        .collect();
    let vocab: serde_json::Map<String, Value> =
        vocab.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let unknown = if bytes { Value::Null } else { json!("<unk>") };
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens, "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": !bytes, "ignore_merges": false,
                  "vocab": vocab, "merges": merges},
    });
    let special = SpecialTokens { bos: None, eos: vec![first as u32 + 2] };
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes(), special, 4096).unwrap();
    Subject { tokenizer, prefix, strips, added }
}

/// GPT-2's letters for bytes.
fn byte_letters() -> Vec<String> {
    let plain = |byte: &u32| (33..=126).contains(byte) || (161..=172).contains(byte) || (174..=255).contains(byte);
    let mut shifted = 256u32..;
    let letter = |byte: u32| if plain(&byte) { byte } else { shifted.next().unwrap() };
    (0..256).map(letter).map(|letter| char::from_u32(letter).unwrap().to_string()).collect()
}

fn sentencepiece_letters() -> Vec<String> {
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let letters = ["▁", "a", "b", "c", "1", "2", ".", "s", "<", ">", "é"].map(str::to_owned);
    ["<unk>".to_owned()].into_iter().chain(bytes).chain(letters).collect()
}

/// Random merges of letters and of what was merged before.
fn merges(dice: &mut Dice, vocab: &mut Vec<String>, blank: &str) -> Vec<[String; 2]> {
    let mut parts: Vec<String> = [blank, "a", "b", "c", "1", "2", ".", "s", "<"].map(str::to_owned).into();
    let mut merges = Vec::new();
    for _ in 0..dice.below(24) {
        let (left, right) = (dice.of(&parts).clone(), dice.of(&parts).clone());
        let merged = format!("{left}{right}");
        if merged.chars().count() <= 5 && !vocab.contains(&merged) {
            vocab.push(merged.clone());
            parts.push(merged);
            merges.push([left, right]);
        }
    }
    merges
}

fn byte_level(dice: &mut Dice) -> (Value, Value, Value, Prefix) {
    let prefix = dice.below(3) == 0;
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": dice.below(3) > 0});
    let digits = json!({"type": "Digits", "individual_digits": true});
    // Digits would be parted from the text before them, and then get a blank of their own.
    let both = json!({"type": "Sequence", "pretokenizers": [digits, level]});
    let pre_tokenizer = if !prefix && dice.below(2) == 0 { both } else { level };
    let decoder = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    (Value::Null, pre_tokenizer, decoder, if prefix { Prefix::EachWithoutBlank } else { Prefix::None })
}

fn sentencepiece(dice: &mut Dice) -> (Value, Value, Value, Prefix) {
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prepend = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]});
    let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
    let split = dice.below(2) == 0;
    let (normalizer, pre_tokenizer, prefix) = match dice.below(5) {
        0 => (prepend, Value::Null, Prefix::Each),
        1 => (replace, Value::Null, Prefix::None),
        2 => (Value::Null, metaspace("always", split), Prefix::EachWithoutBlank),
        3 => (Value::Null, metaspace("first", split), Prefix::First),
        _ => (Value::Null, metaspace("never", split), Prefix::None),
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix != Prefix::None {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    (normalizer, pre_tokenizer, json!({"type": "Sequence", "decoders": decoders}), prefix)
}

impl Subject {
    /// What the tokenizer makes of a text, by its documented rules alone: blanks that tokens strip are gone, prefixes are
    /// there. `inside`: behind other text; `stripped`: behind a token that strips.
    fn expected(&self, text: &str, inside: bool, stripped: bool) -> (String, bool) {
        let (mut out, mut rest, mut first, mut stripping) = (String::new(), text, true, stripped);
        while !rest.is_empty() {
            let next =
                self.added.iter().filter_map(|token| Some((rest.find(token.text)?, token))).min_by_key(|(at, _)| *at);
            let (mut piece, token) = match next {
                Some((at, token)) => (&rest[..at], Some(token)),
                None => (rest, None),
            };
            let starts_text = first && !inside && !stripped && rest.len() == text.len();
            if stripping {
                piece = piece.trim_start();
            }
            if token.is_some_and(|token| token.left) {
                piece = piece.trim_end();
            }
            if !piece.is_empty() {
                let before = match self.prefix {
                    _ if first && inside => false,
                    Prefix::None => false,
                    Prefix::Each => true,
                    Prefix::EachWithoutBlank => !piece.starts_with(' '),
                    Prefix::First => starts_text && !piece.starts_with(' '),
                };
                out.push_str(if before { " " } else { "" });
                out.push_str(piece);
            }
            first = false;
            stripping = token.is_some_and(|token| token.right);
            out.push_str(token.map_or("", |token| token.text));
            rest = token.map_or("", |token| &rest[rest.find(token.text).unwrap() + token.text.len()..]);
        }
        (out, stripping)
    }
}

fn text(dice: &mut Dice, subject: &Subject, most: usize) -> String {
    let part = |dice: &mut Dice| match dice.below(12) {
        0..=2 => " ",
        3 if dice.below(3) == 0 => dice.of(&subject.added).text,
        _ => dice.of(&LETTERS),
    };
    (0..dice.below(most)).map(|_| part(dice)).collect()
}

#[test]
fn samples_decode_to_the_text_that_was_meant() {
    let mut dice = Dice(13);
    let (mut tried, mut apart) = (0, 0);
    for _ in 0..1000 {
        let subject = subject(&mut dice);
        for _ in 0..10 {
            let (prompt, answer) = (text(&mut dice, &subject, 14), text(&mut dice, &subject, 14));
            let joined = subject.tokenizer.encode_joined(&prompt, &answer).unwrap();
            assert_eq!(joined.ids[..joined.from], subject.tokenizer.encode_prompt(&prompt).unwrap(), "{prompt:?}");
            let mut meant = if joined.apart {
                let (before, stripping) = subject.expected(&prompt, false, false);
                let inside = joined.from > 0;
                before + &subject.expected(&answer, inside, stripping).0
            } else {
                subject.expected(&format!("{prompt}{answer}"), false, false).0
            };
            if subject.strips && meant.starts_with(' ') {
                meant.remove(0);
            }
            let found = subject.tokenizer.decode_all(&joined.ids).unwrap();
            assert_eq!(found, meant, "{prompt:?} {answer:?} {:?} {:?}", subject.prefix, subject.added);
            let sample = completion(&prompt, &answer, &subject.tokenizer).unwrap();
            assert_eq!(sample.ids.last(), Some(&subject.tokenizer.eos()));
            tried += 1;
            apart += usize::from(joined.apart);
        }
    }
    assert_eq!(tried, 10_000);
    assert!(apart > 100, "borders that a token would reach over are among them: {apart}");
}
