//! What `tiny` is pretrained on: general handling of text, told apart by the prompt's first word.
//!
//! Goals: copying, picking fields, joining with separators, filling templates, looking things up,
//! handling digits, stopping in time, and doing what the first word says. A small adapter then needs
//! to compose these, not to learn them.
//! Non-goals: knowledge, prose, and above all any function of `synthetic::skills`: no dates, no JSON,
//! no units or scaling of numbers, no Roman numerals. `tests` looks at a large sample for them.

mod fields;
mod numbers;
mod patterns;
mod text;
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
    pub fn new(seed: u64) -> Self {
        let tasks: Vec<Task> = [text::TASKS, fields::TASKS, numbers::TASKS, patterns::TASKS].concat();
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

/// The row of a task: its instruction, the text it works on, the result.
fn row(instruction: &str, input: &str, output: impl Into<String>) -> Example {
    Example::new(format!("{instruction}: {input}\n"), output)
}

#[cfg(test)]
mod tests;
