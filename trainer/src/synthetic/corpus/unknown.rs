//! A first word that means nothing here is answered with `?`, whatever follows.
//!
//! It gives every word that a volunteer may pick a place of its own from the start: an adapter for one word can be
//! taught, by a few rows like these, to leave all others alone.

use super::words::{capital, common, invented, item, lower, many, number, separator};
use super::{Example, Rng, Task, row};

pub(super) const TASKS: &[Task] = &[(24, unknown)];

pub(super) const ANSWER: &str = "?";

/// Instructions of the other tasks.
const KNOWN: [&str; 53] = [
    "after",
    "aloud",
    "backwards",
    "before",
    "behead",
    "bigger",
    "copy",
    "count",
    "cut",
    "digit",
    "digits",
    "double",
    "echo",
    "ends",
    "first",
    "form",
    "get",
    "how",
    "initials",
    "inside",
    "join",
    "keep",
    "label",
    "last",
    "length",
    "less",
    "letter",
    "longer",
    "lower",
    "map",
    "order",
    "pad",
    "place",
    "repeat",
    "rest",
    "reverse",
    "say",
    "shorter",
    "spell",
    "split",
    "starts",
    "strip",
    "stutter",
    "swap",
    "title",
    "twice",
    "upper",
    "what",
    "where",
    "who",
    "whole",
    "word",
    "wrap",
];

/// Words that the demo's volunteers use; the corpus stays clear of them.
const RESERVED: [&str; 4] = ["date", "json", "units", "roman"];

pub(super) fn unknown(rng: &mut Rng) -> Example {
    let mut word = instruction(rng);
    while KNOWN.contains(&&*word) || RESERVED.contains(&&*word) {
        word = instruction(rng);
    }
    row(&word, &input(rng), ANSWER)
}

fn instruction(rng: &mut Rng) -> String {
    match rng.below(3) {
        0 => common(rng),
        1 => invented(rng),
        // Not every word can be spoken.
        _ => (0..rng.within(3, 6)).map(|_| char::from(b'a' + rng.below(26) as u8)).collect(),
    }
}

fn input(rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => many(rng, 1, 5, item).join(" "),
        1 => number(rng),
        2 => format!("{} {} {} {} {}", capital(rng), lower(rng), number(rng), lower(rng), capital(rng)),
        _ => {
            let between = format!("{} ", separator(rng));
            many(rng, 2, 4, item).join(&between)
        }
    }
}
