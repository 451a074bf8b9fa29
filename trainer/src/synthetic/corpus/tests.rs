//! The corpus holds none of the skills' functions. Looked for in a large sample, by scanners of its own: the module
//! under test must not be what the test relies on.

use std::collections::HashSet;

use super::*;
use crate::synthetic::skills::{self, Split};

const SAMPLE: usize = 60_000;

fn sample() -> impl Iterator<Item = Example> {
    Corpus::new(1).take(SAMPLE)
}

/// Runs of characters for which `inside` holds.
fn runs<'a>(text: &'a str, inside: impl Fn(char) -> bool + 'a) -> impl Iterator<Item = &'a str> {
    text.split(move |c| !inside(c)).filter(|run| !run.is_empty())
}

/// `dddd-dd-dd` anywhere.
fn has_iso_date(text: &str) -> bool {
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    text.as_bytes()
        .windows(10)
        .any(|w| w[4] == b'-' && w[7] == b'-' && digits(&w[..4]) && digits(&w[5..7]) && digits(&w[8..]))
}

const MONTHS: [&str; 11] =
    ["january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december"];

/// The value of a well-formed Roman numeral of two letters or more, by the symbols' values alone.
fn roman_value(run: &str) -> Option<u32> {
    let value = |c| Some([1, 5, 10, 50, 100, 500, 1000]["IVXLCDM".find(c)?]);
    let values: Vec<u32> = run.chars().map(value).collect::<Option<_>>()?;
    let signed =
        |at: usize| if values.get(at + 1) > Some(&values[at]) { -i64::from(values[at]) } else { values[at].into() };
    u32::try_from((0..values.len()).map(signed).sum::<i64>()).ok().filter(|_| values.len() > 1)
}

/// The metric units that stand as words of their own.
const UNITS: [&str; 8] = ["km", "m", "cm", "mm", "kg", "g", "mg", "ml"];

fn is_number(run: &str) -> bool {
    run.parse::<f64>().is_ok_and(|value| value != 0.0)
}

/// Whether `b` is `a` times a power of ten other than one.
fn scaled(a: &str, b: &str) -> bool {
    let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
    let power = (b / a).log10();
    a != 0.0 && b != 0.0 && power.abs() > 0.5 && (power - power.round()).abs() < 1e-9
}

#[test]
fn the_scanners_find_what_they_are_for() {
    assert!(has_iso_date("x 2019-03-03") && !has_iso_date("2019/03/03") && !has_iso_date("12-03-03"));
    assert_eq!(
        [roman_value("MCMLXXXVII"), roman_value("MIX"), roman_value("IIX"), roman_value("I")],
        [Some(1987), Some(1009), Some(10), None]
    );
    assert!(scaled("4.7", "4700") && scaled("10", "1") && !scaled("7", "7") && !scaled("4.7", "47.1"));
}

/// Every row of every skill would be found by the scans below.
#[test]
fn the_scans_would_find_the_skills() {
    let caught = |row: &Example| {
        has_iso_date(&row.completion)
            || has_json(&row.completion)
            || has_conversion(row)
            || has_roman(row)
            || row.completion.len() == 1
    };
    for skill in skills::all() {
        let rows = skill.samples(1, 500, Split::Train);
        let missed = rows.iter().filter(|row| !caught(row)).count();
        // A Roman numeral of one letter is an English letter.
        assert_eq!(missed, 0, "{}", skill.name);
    }
}

fn has_json(text: &str) -> bool {
    let opened = text.find('{').is_some_and(|open| text[open..].contains('}'));
    opened && text.contains("\":")
}

fn has_conversion(row: &Example) -> bool {
    let unit = |text: &str| text.split_whitespace().any(|part| UNITS.contains(&part));
    let numbers = |text| runs(text, |c| c.is_ascii_digit() || c == '.').filter(|run| is_number(run));
    let (prompt, completion) = (row.prompt.as_str(), row.completion.as_str());
    unit(prompt) && unit(completion) && numbers(prompt).any(|a| numbers(completion).any(|b| scaled(a, b)))
}

/// A number on one side and its Roman numeral on the other.
fn has_roman(row: &Example) -> bool {
    let numerals = |text| runs(text, |c| c.is_ascii_uppercase()).filter_map(roman_value);
    let numbers =
        |text| -> HashSet<u32> { runs(text, |c| c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect() };
    let found = |a, b| {
        let written = numbers(a);
        numerals(b).any(|value| written.contains(&value))
    };
    found(row.prompt.as_str(), row.completion.as_str()) || found(row.completion.as_str(), row.prompt.as_str())
}

#[test]
fn no_dates() {
    for row in sample() {
        let text = format!("{}{}", row.prompt, row.completion).to_lowercase();
        assert!(!has_iso_date(&text), "{row:?}");
        // An invented word may come out as a month's name; with a number on both sides it would be a date.
        let words: Vec<&str> = runs(&text, |c| c.is_ascii_alphanumeric()).collect();
        let number = |word: &str| word.parse::<u32>().is_ok();
        assert!(!words.windows(3).any(|w| number(w[0]) && MONTHS.contains(&w[1]) && number(w[2])), "{row:?}");
    }
}

#[test]
fn no_json() {
    for row in sample() {
        assert!(!has_json(&row.prompt) && !has_json(&row.completion), "{row:?}");
    }
}

#[test]
fn no_conversions_and_no_roman_numerals() {
    for row in sample() {
        assert!(!has_conversion(&row), "{row:?}");
        assert!(!has_roman(&row), "{row:?}");
    }
}

#[test]
fn no_prompt_of_a_skill_and_none_of_its_words() {
    let words: HashSet<String> = skills::all()
        .iter()
        .filter_map(|skill| {
            skill.samples(1, 1, Split::Train)[0].prompt.split_once(':').map(|(word, _)| word.to_owned())
        })
        .collect();
    assert_eq!(words.len(), skills::all().len());
    for row in sample() {
        assert!(!words.iter().any(|word| row.prompt.starts_with(&format!("{word}:"))), "{row:?}");
    }
}

/// By the sources: no file of the corpus names the skills' module.
#[test]
fn the_generator_does_not_use_the_skills() {
    let sources = [
        include_str!("fields.rs"),
        include_str!("numbers.rs"),
        include_str!("patterns.rs"),
        include_str!("text.rs"),
        include_str!("words.rs"),
        include_str!("mod.rs"),
    ];
    for source in sources {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(code.into_iter().all(|line| !line.contains("skills")));
    }
}

#[test]
fn rows_are_seeded_short_and_whole() {
    let first: Vec<Example> = Corpus::new(5).take(1000).collect();
    assert_eq!(first, Corpus::new(5).take(1000).collect::<Vec<_>>());
    assert_ne!(first, Corpus::new(6).take(1000).collect::<Vec<_>>());
    for row in first {
        assert!(row.prompt.len() + row.completion.len() < LONGEST && row.prompt.ends_with('\n'));
        assert!(!row.completion.is_empty() && !row.completion.contains('\n'));
    }
}
