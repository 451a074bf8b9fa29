//! Changed inputs for every parser of strangers' bytes: `potluck-tests fuzz`.
//!
//! Goals: whatever comes, no parser panics, overflows its stack or a number, allocates more than its stated bound, or
//! reads two byte strings as one value where it promises that there is one only; one input that ends the process costs a
//! batch, not the run; the same seed gives the same inputs. Non-goals: to know which lines were reached. Inputs are
//! changed with knowledge of their form, and those that end otherwise than any before are changed further, which takes
//! the place of coverage.
//!
//! ```text
//! command -> campaign: batches, each in a child process -> batch: seeds, changes, run, novelty
//! ```

mod forms;
mod allocator;
mod seeds;
mod flags;
mod protocol;
mod signed;
mod frames;
mod lineage;
mod assembly;
mod model;
mod folder;
mod adapter;
mod chat;
mod hub;
mod faulty;
mod batch;
mod campaign;
pub mod command;

pub use allocator::Counting;
use forms::Form;

/// A parser with what it promises.
pub struct Target {
    pub name: &'static str,
    /// What it reads, in one line.
    pub about: &'static str,
    /// How its inputs are changed.
    pub form: Form,
    /// What its inputs are made of.
    pub words: &'static [&'static str],
    /// Inputs to begin with, accepted and refused ones.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The most memory that it may take at a time.
    pub memory: Memory,
    /// Inputs of a short run.
    pub short: u64,
    /// Reads one input. The error says which promise does not hold.
    pub run: fn(&[u8]) -> Result<Outcome, String>,
}

/// So many times the bytes of the input, and so many more.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub times: usize,
    pub plus: usize,
}

impl Memory {
    const fn new(times: usize, plus: usize) -> Self {
        Self { times, plus }
    }

    /// For an input of so many bytes.
    fn of(self, len: usize) -> usize {
        self.times.saturating_mul(len).saturating_add(self.plus)
    }
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read; in words, as what.
    Accepted(String),
    /// It was refused, for this reason.
    Refused(String),
}

impl Outcome {
    fn refused(error: impl ToString) -> Result<Self, String> {
        Ok(Self::Refused(error.to_string()))
    }

    fn accepted(what: impl Into<String>) -> Result<Self, String> {
        Ok(Self::Accepted(what.into()))
    }
}

/// That a promise holds; else which one does not.
fn hold(holds: bool, promise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(promise()) }
}

/// Every target, those of one crate together.
pub fn all() -> Vec<Target> {
    let mut all = protocol::targets();
    all.extend(signed::targets());
    all.push(frames::target());
    all.extend([lineage::target(), assembly::target()]);
    all.extend(model::targets());
    all.extend([folder::target(), adapter::target(), chat::template(), chat::rows(), hub::target()]);
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Otherwise nobody reads it again.
    #[test]
    fn every_find_lies_where_a_target_reads_it() {
        let known: BTreeSet<String> = all().iter().map(|target| target.name.to_owned()).collect();
        let folders = seeds::found_targets();
        assert!(folders.is_subset(&known) && !folders.is_empty(), "{folders:?}");
        for target in all().iter().filter(|target| folders.contains(target.name)) {
            let found = seeds::found(target.name);
            assert!(!found.is_empty() && found.len() as u64 <= target.short, "{}: a short run reads all", target.name);
        }
    }

    #[test]
    fn every_target_has_a_name_of_its_own_and_seeds() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|target| target.name).collect();
        assert_eq!(names.len(), all.len());
        for target in &all {
            assert!(!(target.seeds)().is_empty(), "{}", target.name);
        }
    }
}
