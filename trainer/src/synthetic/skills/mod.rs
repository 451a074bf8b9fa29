//! The demo's skills: small functions with one right answer each, which a volunteer teaches by LoRA.
//!
//! A skill draws a *fact* (a date, a person, a length, a number), writes the prompt and the one right
//! completion. The split is a function of the prompt alone, so that train and held-out rows are
//! disjoint by construction whatever the seeds. Every prompt starts with the skill's own word, so
//! that a summed base can tell the skills apart. Texts are short: a step costs by the token.

mod dates;
mod json;
mod roman;
mod units;

use std::collections::HashSet;

use super::Example;
use super::rng::{Rng, text_hash};

/// Which side of a skill's fixed split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Four prompts in five.
    Train,
    /// One prompt in five; never trained on, used to measure.
    HeldOut,
}

/// A skill, found by [`by_name`] or in [`all`].
pub struct Skill {
    /// As `potluck demo` and the tests name it.
    pub name: &'static str,
    /// For people, in one line.
    pub about: &'static str,
    draw: fn(&mut Rng) -> Example,
}

/// In the order in which the demo hands them out.
static SKILLS: [Skill; 4] = [
    Skill { name: "dates", about: "a written date to ISO 8601", draw: dates::draw },
    Skill { name: "json", about: "a sentence about a person to JSON", draw: json::draw },
    Skill { name: "units", about: "a quantity to a smaller unit", draw: units::draw },
    Skill { name: "roman", about: "a number to Roman numerals", draw: roman::draw },
];

/// Consecutive draws without a new row after which [`Skill::samples`] takes the facts as exhausted.
const PATIENCE: usize = 20_000;

/// Every skill, in the order in which the demo hands them out.
pub fn all() -> &'static [Skill] {
    &SKILLS
}

/// The skill of that name.
pub fn by_name(name: &str) -> Option<&'static Skill> {
    SKILLS.iter().find(|skill| skill.name == name)
}

/// The side on which a prompt lies, for ever.
pub fn split_of(prompt: &str) -> Split {
    if text_hash(prompt).is_multiple_of(5) { Split::HeldOut } else { Split::Train }
}

impl Skill {
    /// `count` rows of `split` with distinct prompts, fewer if the skill has no more. A longer draw by
    /// the same seed starts with the shorter one.
    pub fn samples(&self, seed: u64, count: usize, split: Split) -> Vec<Example> {
        let mut rng = Rng::new(seed ^ text_hash(self.name));
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        let mut misses = 0;
        while rows.len() < count && misses < PATIENCE {
            let row = (self.draw)(&mut rng);
            if split_of(&row.prompt) == split && seen.insert(row.prompt.clone()) {
                rows.push(row);
                misses = 0;
            } else {
                misses += 1;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests;
