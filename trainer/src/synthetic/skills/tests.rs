//! One right answer, two disjoint sides, the same rows for a seed.

use std::collections::{HashMap, HashSet};

use super::*;

#[test]
fn the_first_rows_are_pinned() {
    let first: Vec<(String, String)> = all()
        .iter()
        .map(|skill| skill.samples(1, 1, Split::HeldOut).remove(0))
        .map(|row| (row.prompt, row.completion))
        .collect();
    let first: Vec<(&str, &str)> = first.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
    assert_eq!(first, GOLDEN);
}

/// Changing these changes every figure measured with the skills.
const GOLDEN: [(&str, &str); 4] = [
    ("date: 21 September 1950\n", "1950-09-21"),
    ("json: Hans is 16, from Lyon\n", r#"{"name":"Hans","age":16,"city":"Lyon"}"#),
    ("units: 96 g in mg\n", "96000 mg"),
    ("roman: 1825\n", "MDCCCXXV"),
];

#[test]
fn train_and_held_out_are_disjoint_and_have_one_right_answer() {
    for skill in all() {
        let train = skill.samples(7, 5000, Split::Train);
        let held_out = skill.samples(8, 5000, Split::HeldOut);
        assert!(held_out.len() >= 400, "{} has {} held-out prompts", skill.name, held_out.len());
        let prompts: HashSet<&str> = train.iter().map(|row| row.prompt.as_str()).collect();
        assert!(held_out.iter().all(|row| !prompts.contains(row.prompt.as_str())), "{}", skill.name);
        let mut answers = HashMap::new();
        for row in skill.samples(9, 5000, Split::Train).iter().chain(&train).chain(&held_out) {
            let answer = answers.entry(row.prompt.clone()).or_insert_with(|| row.completion.clone());
            assert_eq!(*answer, row.completion, "two answers for {:?}", row.prompt);
        }
    }
}

#[test]
fn known_answers() {
    let check = |name: &str, prompt: &str, answer: &str| {
        let skill = by_name(name).expect("a skill of this name");
        let found = [Split::Train, Split::HeldOut]
            .into_iter()
            .flat_map(|split| skill.samples(3, usize::MAX, split))
            .find(|row| row.prompt == prompt)
            .map(|row| row.completion);
        assert_eq!(found.as_deref(), Some(answer), "{prompt:?}");
    };
    check("roman", "roman: 1987\n", "MCMLXXXVII");
    check("roman", "roman: 3999\n", "MMMCMXCIX");
    check("units", "units: 4.7 km in m\n", "4700 m");
    check("units", "units: 0.3 m in cm\n", "30 cm");
    check("units", "units: 12 cm in mm\n", "120 mm");
}

#[test]
fn a_longer_draw_starts_with_the_shorter() {
    for skill in all() {
        let long = skill.samples(5, 50, Split::Train);
        assert_eq!(long[..20], skill.samples(5, 20, Split::Train)[..]);
        assert_ne!(long[..20], skill.samples(6, 20, Split::Train)[..]);
    }
}

#[test]
fn texts_are_short_and_prompts_start_with_the_skills_word() {
    for skill in all() {
        let word = skill.samples(1, 1, Split::Train)[0].prompt.split_once(": ").map(|(word, _)| word.to_owned());
        for row in skill.samples(2, 300, Split::Train) {
            assert_eq!(row.prompt.split_once(": ").map(|(word, _)| word.to_owned()), word);
            assert!(row.prompt.ends_with('\n') && row.prompt.len() + row.completion.len() <= 96);
        }
    }
}

#[test]
fn unknown_names_are_refused() {
    assert!(by_name("dates").is_some() && by_name("date").is_none());
}
