//! What `tiny` is pretrained on: general handling of text, told apart by the prompt's first word.
//!
//! Goals: copying, picking fields, joining with separators, filling templates, looking things up, handling digits,
//! stopping in time, doing what the first word says, and saying `?` where it says nothing known. A small adapter then
//! needs to compose these, not to learn them, and adapters for different words can be summed.
//! Non-goals: knowledge, prose, and above all any function of `synthetic::skills`: no dates, no JSON,
//! no units or scaling of numbers, no Roman numerals. `tests` looks at a large sample for them.

mod fields;
mod numbers;
mod patterns;
mod text;
mod unknown;
mod words;

use super::Example;
use super::rng::Rng;

/// One kind of row: how often it comes, and how it is made.
type Task = (usize, fn(&mut Rng) -> Example);

/// Rows longer than this many bytes are drawn again: attention pays by the square.
const LONGEST: usize = 92;

/// An endless, seeded stream of rows.
pub struct Corpus {
    rng: Rng,
    tasks: Vec<Task>,
    total: usize,
}

impl Corpus {
    /// The same seed gives the same rows, for ever.
    pub fn new(seed: u64) -> Self {
        let tasks: Vec<Task> = [text::TASKS, fields::TASKS, numbers::TASKS, patterns::TASKS, unknown::TASKS].concat();
        let total = tasks.iter().map(|task| task.0).sum();
        Self { rng: Rng::new(seed), tasks, total }
    }

    fn draw(&mut self) -> Example {
        let mut ticket = self.rng.below(self.total);
        for (weight, make) in &self.tasks {
            if ticket < *weight {
                return make(&mut self.rng);
            }
            ticket -= weight;
        }
        text::copy(&mut self.rng)
    }
}

impl Iterator for Corpus {
    type Item = Example;

    fn next(&mut self) -> Option<Example> {
        loop {
            let row = self.draw();
            if row.prompt.len() + row.completion.len() < LONGEST && !row.completion.is_empty() {
                return Some(row);
            }
        }
    }
}

/// Only rows whose instruction means nothing to the base, with its answer to them.
pub fn unknown_instructions(seed: u64) -> impl Iterator<Item = Example> {
    let mut rng = Rng::new(seed);
    std::iter::repeat_with(move || unknown::unknown(&mut rng)).filter(|row| row.prompt.len() < LONGEST)
}

/// The row of a task: its instruction, the text it works on, the result.
fn row(instruction: &str, input: &str, output: impl Into<String>) -> Example {
    Example::new(format!("{instruction}: {input}\n"), output)
}

#[cfg(test)]
mod tests;
