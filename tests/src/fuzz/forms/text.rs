//! Text of words: the words of a language put in, taken out, repeated, and numbers at their edges.

use potluck_protocol::splitmix::SplitMix64;

use super::{number, pick, place, word};

/// Makes one change at the borders of characters.
pub fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut SplitMix64) {
    let mut text = String::from_utf8_lossy(input).into_owned();
    let other = String::from_utf8_lossy(other);
    match rng.below(7) {
        0 | 1 => text.insert_str(border(&text, rng), word(words, rng)),
        2 => drop(text.drain(part(&text, rng))),
        3 => {
            let times = if rng.chance(90) { 1 } else { 1 + rng.below(50) as usize };
            let again = text[part(&text, rng)].repeat(times);
            text.insert_str(border(&text, rng), &again);
        }
        4 => renumber(&mut text, rng),
        5 => text.insert_str(border(&text, rng), &other[part(&other, rng)]),
        _ => text.replace_range(part(&text, rng), word(words, rng)),
    }
    *input = text.into_bytes();
}

fn border(text: &str, rng: &mut SplitMix64) -> usize {
    let at = place(text.len(), rng);
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn part(text: &str, rng: &mut SplitMix64) -> std::ops::Range<usize> {
    let from = border(text, rng);
    let most = if rng.chance(80) { 30 } else { text.len() as u64 + 1 };
    let len = rng.below(most) as usize;
    let to = (from..=(from + len).min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    from..to.unwrap_or(from)
}

/// A number in the text becomes another one.
fn renumber(text: &mut String, rng: &mut SplitMix64) {
    let digits: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
    if digits.is_empty() {
        return;
    }
    let from = *pick(&digits, rng);
    let len = text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let sign = if rng.chance(20) { "-" } else { "" };
    text.replace_range(from..from + len, &format!("{sign}{}", number(rng)));
}
