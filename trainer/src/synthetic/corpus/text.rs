//! Tasks on letters and words.

use super::words::{capitalise, code, item, lower, many, separator, word};
use super::{Example, Rng, Task, row};

pub(super) const TASKS: &[Task] = &[
    (8, copy),
    (3, upper),
    (2, lower_case),
    (2, capital),
    (4, reverse),
    (3, spell),
    (3, double),
    (4, ends),
    (4, nth),
    (3, trim),
    (2, initials),
    (3, replace),
    (2, without),
    (2, sorted),
    (2, length),
    (3, swap),
    (2, words_reversed),
    (3, longest),
    (2, before_after),
];

pub(super) fn copy(rng: &mut Rng) -> Example {
    let name = *rng.pick(&["copy", "say", "echo"]);
    let text = many(rng, 1, 5, item).join(" ");
    row(name, &text, text.clone())
}

fn upper(rng: &mut Rng) -> Example {
    let text = many(rng, 1, 3, word).join(" ");
    row("upper", &text, text.to_uppercase())
}

fn lower_case(rng: &mut Rng) -> Example {
    let text = many(rng, 1, 3, word).join(" ");
    row("lower", &text, text.to_lowercase())
}

fn capital(rng: &mut Rng) -> Example {
    let words = many(rng, 1, 3, lower);
    let capitals: Vec<String> = words.iter().map(|word| capitalise(word)).collect();
    row("title", &words.join(" "), capitals.join(" "))
}

fn reverse(rng: &mut Rng) -> Example {
    let text = item(rng);
    row("reverse", &text, text.chars().rev().collect::<String>())
}

/// `spell -: cat` to `c-a-t`.
fn spell(rng: &mut Rng) -> Example {
    let (text, between) = (word(rng), separator(rng));
    let letters: Vec<String> = text.chars().map(String::from).collect();
    row(&format!("spell {between}"), &text, letters.join(between))
}

fn double(rng: &mut Rng) -> Example {
    let text = item(rng);
    match rng.below(3) {
        0 => row("twice", &text, format!("{text} {text}")),
        1 => row("double", &text, format!("{text}{text}")),
        _ => row("stutter", &text, text.chars().flat_map(|c| [c, c]).collect::<String>()),
    }
}

fn ends(rng: &mut Rng) -> Example {
    let items = many(rng, 2, 5, item);
    let (first, last) = (&items[0], &items[items.len() - 1]);
    let text = items.join(" ");
    match rng.below(3) {
        0 => row("first", &text, first),
        1 => row("last", &text, last),
        _ => row("ends", &text, format!("{first} {last}")),
    }
}

fn nth(rng: &mut Rng) -> Example {
    let items = many(rng, 2, 5, item);
    let at = rng.below(items.len());
    row(&format!("word {}", at + 1), &items.join(" "), &items[at])
}

fn trim(rng: &mut Rng) -> Example {
    let text = word(rng) + &word(rng);
    match rng.below(3) {
        0 => row("behead", &text, &text[1..]),
        1 => row("cut", &text, &text[..text.len() - 1]),
        _ => {
            let keep = rng.within(1, 4).min(text.len());
            row(&format!("keep {keep}"), &text, &text[..keep])
        }
    }
}

fn initials(rng: &mut Rng) -> Example {
    let words = many(rng, 2, 5, word);
    row("initials", &words.join(" "), words.iter().map(|word| &word[..1]).collect::<String>())
}

fn replace(rng: &mut Rng) -> Example {
    let text = many(rng, 1, 2, lower).join(" ");
    let old = char::from(*rng.pick(text.replace(' ', "").as_bytes()));
    let new = char::from(*rng.pick(b"abcdefghijklmnopqrstuvwxyz0123456789*#"));
    row(&format!("change {old} {new}"), &text, text.replace(old, &new.to_string()))
}

fn without(rng: &mut Rng) -> Example {
    let text = lower(rng) + &lower(rng);
    let letter = char::from(*rng.pick(text.as_bytes()));
    row(&format!("without {letter}"), &text, text.replace(letter, ""))
}

fn sorted(rng: &mut Rng) -> Example {
    let mut letters: Vec<char> = code(rng).chars().filter(char::is_ascii_alphanumeric).collect();
    let text: String = letters.iter().collect();
    letters.sort_unstable();
    row("sort", &text, letters.iter().collect::<String>())
}

fn length(rng: &mut Rng) -> Example {
    if rng.chance(50) {
        let text = word(rng);
        row("length", &text, text.len().to_string())
    } else {
        let words = many(rng, 1, 7, lower);
        row("count", &words.join(" "), words.len().to_string())
    }
}

fn swap(rng: &mut Rng) -> Example {
    let (a, b) = (item(rng), item(rng));
    row("swap", &format!("{a} {b}"), format!("{b} {a}"))
}

fn words_reversed(rng: &mut Rng) -> Example {
    let mut items = many(rng, 2, 4, item);
    let text = items.join(" ");
    items.reverse();
    row("backwards", &text, items.join(" "))
}

/// The longer of two words; of equal ones, the first.
fn longest(rng: &mut Rng) -> Example {
    let (a, b) = (word(rng), word(rng));
    let (long, short) = if a.len() >= b.len() { (&a, &b) } else { (&b, &a) };
    let name = if rng.chance(50) { "longer" } else { "shorter" };
    row(name, &format!("{a} {b}"), if name == "longer" { long } else { short })
}

/// `after cat: dog cat sun` to `sun`.
fn before_after(rng: &mut Rng) -> Example {
    let items = many(rng, 3, 5, lower);
    let at = rng.within(1, items.len() - 2);
    let unique = items.iter().filter(|item| **item == items[at]).count() == 1;
    let (name, answer) = if rng.chance(50) { ("after", at + 1) } else { ("before", at - 1) };
    if unique { row(&format!("{name} {}", items[at]), &items.join(" "), &items[answer]) } else { copy(rng) }
}
