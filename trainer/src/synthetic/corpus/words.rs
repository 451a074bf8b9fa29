//! The material of the rows: words, names, numbers and symbols.

use super::Rng;

const COMMON: [&str; 112] = [
    "cat", "dog", "river", "stone", "green", "house", "light", "water", "paper", "table", "quick", "seven", "window",
    "garden", "small", "bread", "music", "under", "north", "cloud", "silver", "orange", "bird", "story", "train",
    "winter", "bottle", "happy", "mountain", "sugar", "yellow", "finger", "letter", "market", "kitchen", "animal",
    "summer", "forest", "island", "bridge", "copper", "planet", "pocket", "rabbit", "shadow", "ticket", "velvet",
    "walnut", "zebra", "apple", "black", "chair", "dance", "earth", "fruit", "glass", "horse", "ice", "jump", "knife",
    "lemon", "mouse", "night", "ocean", "plant", "queen", "road", "ship", "tree", "uncle", "voice", "wheel", "young",
    "box", "sun", "key", "map", "hat", "sky", "red", "blue", "old", "new", "big", "cold", "warm", "slow", "fast",
    "open", "long", "deep", "high", "low", "the", "and", "with", "from", "this", "that", "over", "into", "good",
    "word", "line", "page", "name", "book", "door", "hand", "king", "lake", "moon",
];

const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwxyz";
const VOWELS: &[u8] = b"aeiou";
const SYMBOLS: &[u8] = b"!#$%&()*+,-./:;<=>?@[]^_|~{}'\"`\\";

/// What separates things; never a letter, digit, space or quote.
const SEPARATORS: [&str; 19] =
    ["-", "/", ",", ";", "|", ".", "+", "*", "_", "~", "--", "::", "=", ">", "->", "&", "#", "@", "!"];

pub(super) fn separator(rng: &mut Rng) -> &'static str {
    SEPARATORS[rng.below(SEPARATORS.len())]
}

fn common(rng: &mut Rng) -> String {
    (*rng.pick(&COMMON)).to_owned()
}

/// A pronounceable word that need not exist.
fn invented(rng: &mut Rng) -> String {
    let mut word = String::new();
    for _ in 0..rng.within(1, 3) {
        word.push(char::from(*rng.pick(CONSONANTS)));
        word.push(char::from(*rng.pick(VOWELS)));
        if rng.chance(35) {
            word.push(char::from(*rng.pick(CONSONANTS)));
        }
    }
    word
}

/// A lower-case word.
pub(super) fn lower(rng: &mut Rng) -> String {
    if rng.chance(45) { common(rng) } else { invented(rng) }
}

/// A word with its first letter in upper case.
pub(super) fn capital(rng: &mut Rng) -> String {
    capitalise(&lower(rng))
}

pub(super) fn capitalise(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// A word in any case.
pub(super) fn word(rng: &mut Rng) -> String {
    match rng.below(10) {
        0..6 => lower(rng),
        6..9 => capital(rng),
        _ => lower(rng).to_uppercase(),
    }
}

/// One to four digits, no leading zero.
pub(super) fn number(rng: &mut Rng) -> String {
    let digits = rng.within(1, 4);
    (0..digits).map(|at| char::from(b'0' + if at == 0 { rng.within(1, 9) } else { rng.below(10) } as u8)).collect()
}

/// A number with a decimal part.
pub(super) fn decimal(rng: &mut Rng) -> String {
    let limit = *rng.pick(&[10, 100]);
    format!("{}.{}", rng.below(limit), number(rng))
}

/// Digits and letters without sense, or symbols; a quote and a brace never meet in one.
pub(super) fn code(rng: &mut Rng) -> String {
    let symbols = rng.chance(40);
    let text: String = (0..rng.within(2, 6))
        .map(|_| match (symbols, rng.below(3)) {
            (true, _) => *rng.pick(SYMBOLS),
            (false, 0) => *rng.pick(b"0123456789"),
            (false, 1) => *rng.pick(CONSONANTS),
            _ => rng.pick(CONSONANTS).to_ascii_uppercase(),
        })
        .map(char::from)
        .collect();
    if text.contains(['{', '}']) { text.replace('"', "'") } else { text }
}

/// Whatever can stand between two spaces.
pub(super) fn item(rng: &mut Rng) -> String {
    match rng.below(10) {
        0..5 => word(rng),
        5..8 => number(rng),
        8 => decimal(rng),
        _ => code(rng),
    }
}

/// A word or a number: what can stand between separators.
pub(super) fn plain(rng: &mut Rng) -> String {
    if rng.chance(60) { word(rng) } else { number(rng) }
}

pub(super) fn many(rng: &mut Rng, low: usize, high: usize, make: fn(&mut Rng) -> String) -> Vec<String> {
    (0..rng.within(low, high)).map(|_| make(rng)).collect()
}
