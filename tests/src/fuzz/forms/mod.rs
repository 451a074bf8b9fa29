//! How an input is changed, by its form: so that most changes are understood by the parser, and do not end at its first
//! byte.

mod bytes;
mod parts;
mod json;
mod text;
mod safetensors;

use potluck_protocol::splitmix::SplitMix64;

/// What an input is, for whoever changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Numbers and texts with their lengths in front, as the wire types and GGUF have them.
    Bytes,
    /// Several of them, each with its length in front.
    Parts,
    /// One JSON value.
    Json,
    /// Text of words.
    Text,
    /// A JSON header with its length in front, and data.
    Safetensors,
}

/// Bytes of the longest input.
const LONGEST: usize = 512 << 10;

/// Numbers at which readers change their mind.
const EDGES: [u64; 22] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    31,
    32,
    63,
    64,
    127,
    128,
    255,
    256,
    65_535,
    1 << 20,
    u32::MAX as u64,
    1 << 32,
    1 << 63,
    u64::MAX,
];

/// An input that differs from one of `corpus`, which is not empty, in a few places.
pub fn change(form: Form, words: &[&str], corpus: &[Vec<u8>], rng: &mut SplitMix64) -> Vec<u8> {
    let mut input = pick(corpus, rng).clone();
    let other = pick(corpus, rng);
    // Mostly one change, rarely many.
    let changes = 1 + rng.below(3) * rng.below(3);
    for _ in 0..=changes {
        // Now and then the form itself is broken.
        if form == Form::Bytes || rng.chance(6) {
            bytes::change(&mut input, other, words, rng);
        } else {
            match form {
                Form::Parts => parts::change(&mut input, other, words, rng),
                Form::Json => json::change(&mut input, other, words, rng),
                Form::Safetensors => safetensors::change(&mut input, other, words, rng),
                Form::Text | Form::Bytes => text::change(&mut input, other, words, rng),
            }
        }
    }
    input.truncate(LONGEST);
    input
}

/// One of `items`, which are not empty.
fn pick<'a, T>(items: &'a [T], rng: &mut SplitMix64) -> &'a T {
    &items[rng.below(items.len() as u64) as usize]
}

/// One of the target's words.
fn word<'a>(words: &[&'a str], rng: &mut SplitMix64) -> &'a str {
    words.get(rng.below(words.len() as u64) as usize).copied().unwrap_or("x")
}

/// A place from 0 to `len`, at its start as often as anywhere: there the headers are.
fn place(len: usize, rng: &mut SplitMix64) -> usize {
    let near = if rng.chance(40) { len.min(512) } else { len };
    rng.below(near as u64 + 1) as usize
}

/// A short range within `len`.
fn range(len: usize, rng: &mut SplitMix64) -> std::ops::Range<usize> {
    let from = place(len, rng);
    let most = if rng.chance(80) { 40 } else { len as u64 };
    from..(from + rng.below(most + 1) as usize).min(len)
}

/// A number of interest: at an edge or close to one, or any.
fn number(rng: &mut SplitMix64) -> u64 {
    match rng.below(8) {
        0 => rng.next_u64(),
        1 => rng.below(1000),
        2 => pick(&EDGES, rng).wrapping_sub(1),
        3 => pick(&EDGES, rng).wrapping_add(1),
        _ => *pick(&EDGES, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_one_others() {
        let corpus = vec![br#"{"a":[1,2,{"b":"c"}]}"#.to_vec(), b"[]".to_vec()];
        for form in [Form::Bytes, Form::Parts, Form::Json, Form::Text, Form::Safetensors] {
            let run = |seed| {
                let mut rng = SplitMix64::new(seed);
                (0..200).map(|_| change(form, &["word"], &corpus, &mut rng)).collect::<Vec<_>>()
            };
            assert_eq!(run(1), run(1));
            assert_ne!(run(1), run(2));
        }
    }

    #[test]
    fn empty_inputs_can_be_changed() {
        let mut rng = SplitMix64::new(3);
        for form in [Form::Bytes, Form::Parts, Form::Json, Form::Text, Form::Safetensors] {
            let grown = (0..500).filter(|_| !change(form, &["word"], &[Vec::new()], &mut rng).is_empty());
            assert!(grown.count() > 50, "something comes of nothing");
        }
    }
}
