//! Tasks on digits. None scales a number, and none writes one in another system.

use super::words::{decimal, number};
use super::{Example, Rng, Task, row};

pub(super) const TASKS: &[Task] = &[
    (3, pad),
    (2, strip),
    (2, aloud),
    (3, compare),
    (2, step),
    (2, digit),
    (2, parts),
    (2, repeat),
    (2, letter),
    (2, add),
];

const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// `pad 3: 7` to `007`; the filler is any character.
fn pad(rng: &mut Rng) -> Example {
    let (text, width) = (number(rng), rng.within(1, 6));
    let filler = if rng.chance(50) { '0' } else { char::from(*rng.pick(b"*#._-x")) };
    let missing = width.saturating_sub(text.len());
    row(&format!("pad {filler} {width}"), &text, filler.to_string().repeat(missing) + &text)
}

/// Leading zeros away.
fn strip(rng: &mut Rng) -> Example {
    let text = number(rng);
    row("strip", &("0".repeat(rng.below(4)) + &text), text)
}

fn aloud(rng: &mut Rng) -> Example {
    let text = number(rng);
    let words: Vec<&str> = text.bytes().map(|digit| DIGITS[usize::from(digit - b'0')]).collect();
    if rng.chance(60) { row("aloud", &text, words.join(" ")) } else { row("digits", &words.join(" "), text) }
}

fn compare(rng: &mut Rng) -> Example {
    let (a, b) = (rng.within(1, 999), rng.within(1, 999));
    let text = format!("{a} {b}");
    if rng.chance(50) { row("bigger", &text, a.max(b).to_string()) } else { row("less", &text, a.min(b).to_string()) }
}

fn step(rng: &mut Rng) -> Example {
    let n = rng.within(1, 999);
    if rng.chance(50) {
        row("next", &n.to_string(), (n + 1).to_string())
    } else {
        row("prev", &n.to_string(), (n - 1).to_string())
    }
}

fn digit(rng: &mut Rng) -> Example {
    let text = number(rng);
    let at = rng.below(text.len());
    row(&format!("digit {}", at + 1), &text, &text[at..=at])
}

/// What stands before or after the point.
fn parts(rng: &mut Rng) -> Example {
    let text = decimal(rng);
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    if rng.chance(50) { row("whole", &text, whole) } else { row("rest", &text, rest) }
}

/// `repeat 4: x` to `xxxx`.
fn repeat(rng: &mut Rng) -> Example {
    let (times, sign) = (rng.within(1, 8), char::from(*rng.pick(b"abcxyz0123456789*-.#")));
    row(&format!("repeat {times}"), &sign.to_string(), sign.to_string().repeat(times))
}

/// Places in the alphabet.
fn letter(rng: &mut Rng) -> Example {
    let at = rng.below(26);
    let sign = char::from(b'a' + at as u8).to_string();
    if rng.chance(50) { row("letter", &(at + 1).to_string(), sign) } else { row("place", &sign, (at + 1).to_string()) }
}

fn add(rng: &mut Rng) -> Example {
    let (a, b) = (rng.within(0, 20), rng.within(0, 9));
    row("add", &format!("{a} {b}"), (a + b).to_string())
}
