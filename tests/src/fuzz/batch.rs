//! One batch: a process that reads so many inputs one after the other. What it cannot catch (a stack that overflows,
//! memory that is not to be had, an input without end) ends it; its parent finds the input in a file.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use potluck_protocol::splitmix::{SplitMix64, mix};
use serde::{Deserialize, Serialize};

use super::{Outcome, Target, allocator, forms, seeds};

/// The stack of a thread in Rust, and so of every thread that reads strangers' bytes in the program.
const STACK: usize = 2 << 20;

/// An input that takes longer has no end. The slowest that has one, a template that uses all its fuel three times a chat,
/// takes seconds.
const ENDLESS: Duration = Duration::from_secs(120);

/// Inputs that are kept to be changed further.
const CORPUS_MAX: usize = 4096;

/// Different finds of one batch.
const FINDS_MAX: usize = 16;

/// Tries to make an input that shows a fault shorter.
const SHORTENINGS: usize = 300;

/// How long a batch is.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// At most so many inputs.
    pub inputs: u64,
    /// And no longer than this.
    pub time: Duration,
}

/// What a batch came to: the last line of its output.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub inputs: u64,
    pub accepted: u64,
    /// Ways in which inputs ended, told apart by the words of errors.
    pub outcomes: u64,
    /// The most memory that one input took, and how long it was.
    pub most_memory: usize,
    pub of_bytes: usize,
}

/// An input for which a promise does not hold: a line of a batch's output as soon as it is found, since the next input may
/// end the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Find {
    /// What happened.
    pub what: String,
    /// The input as hex digits.
    pub input: String,
}

/// What the last panic said.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Inputs that this process has begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Reads inputs in a thread of its own, on whose end is waited as long as there is progress.
pub fn run(target: Target, seed: u64, length: Length, current: &Path) -> io::Result<Counts> {
    panic::set_hook(Box::new(|info| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("panic: {info}"));
    }));
    let file = File::create(current)?;
    let (done, end) = sync_channel(1);
    let read = move || drop(done.send(Batch::new(target, seed, file).run(length)));
    std::thread::Builder::new().name("batch".to_owned()).stack_size(STACK).spawn(read)?;
    let mut begun = 0;
    loop {
        match end.recv_timeout(ENDLESS) {
            Ok(counts) => return counts,
            Err(RecvTimeoutError::Timeout) if BEGUN.load(Relaxed) != begun => begun = BEGUN.load(Relaxed),
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("no end within {} s", ENDLESS.as_secs());
                std::process::abort();
            }
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the batch itself failed")),
        }
    }
}

/// The inputs that a batch has begun, and the last of them.
pub fn last_input(current: &Path) -> io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(current)?;
    let mut number = || -> io::Result<u64> {
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let (begun, len) = (number()?, number()?);
    let mut input = Vec::new();
    file.take(len).read_to_end(&mut input)?;
    Ok((begun, input))
}

/// Reads one input: what happened, and the memory that it took.
pub fn read(target: &Target, input: &[u8]) -> (Result<Outcome, String>, usize) {
    let (result, memory) = allocator::measure(|| panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    let caught = |_| {
        let said = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(said.unwrap_or_else(|| "a panic without words".to_owned()))
    };
    let result = result.unwrap_or_else(caught);
    let bound = target.memory.of(input.len());
    match result {
        Ok(_) if memory > bound => {
            let len = input.len();
            (Err(format!("more memory than the {bound} bytes that are stated for {len}: it took {memory}")), memory)
        }
        result => (result, memory),
    }
}

struct Batch {
    target: Target,
    rng: SplitMix64,
    /// The input that is read now lies here.
    file: File,
    /// Inputs to change.
    corpus: Vec<Vec<u8>>,
    /// How inputs have ended.
    known: HashSet<String>,
    /// Kinds of finds that were told.
    finds: BTreeSet<String>,
    counts: Counts,
}

impl Batch {
    fn new(target: Target, seed: u64, file: File) -> Self {
        // What was found once comes first.
        let corpus = [seeds::found(target.name), (target.seeds)()].concat();
        let rng = SplitMix64::new(mix(seed));
        let (known, finds, counts) = (HashSet::new(), BTreeSet::new(), Counts::default());
        Self { target, rng, file, corpus, known, finds, counts }
    }

    fn run(mut self, length: Length) -> io::Result<Counts> {
        let begun = Instant::now();
        let seeds = self.corpus.clone();
        for index in 0..length.inputs {
            if index > 0 && begun.elapsed() >= length.time {
                break;
            }
            // First as they are.
            let input = match seeds.get(index as usize) {
                Some(seed) => seed.clone(),
                None => forms::change(self.target.form, self.target.words, &self.corpus, &mut self.rng),
            };
            self.one(input)?;
        }
        self.counts.outcomes = self.known.len() as u64;
        Ok(self.counts)
    }

    fn one(&mut self, input: Vec<u8>) -> io::Result<()> {
        self.file.rewind()?;
        let begun = BEGUN.fetch_add(1, Relaxed) + 1;
        let head = [begun.to_le_bytes(), (input.len() as u64).to_le_bytes()].concat();
        self.file.write_all(&[&head[..], &input].concat())?;
        let (result, memory) = read(&self.target, &input);
        self.counts.inputs += 1;
        if memory > self.counts.most_memory {
            (self.counts.most_memory, self.counts.of_bytes) = (memory, input.len());
        }
        let end = match result {
            Ok(Outcome::Accepted(what)) => {
                self.counts.accepted += 1;
                format!("accepted {}", words(&what))
            }
            Ok(Outcome::Refused(why)) => words(&why),
            Err(what) => return self.find(what, input),
        };
        if self.known.insert(end) && self.corpus.len() < CORPUS_MAX {
            self.corpus.push(input);
        }
        Ok(())
    }

    fn find(&mut self, what: String, input: Vec<u8>) -> io::Result<()> {
        let kind = words(&what);
        if self.finds.len() < FINDS_MAX && !self.finds.contains(&kind) {
            let input = seeds::hex(&self.shorten(&kind, input));
            println!("{}", serde_json::to_value(Find { what, input })?);
            self.finds.insert(kind);
        }
        Ok(())
    }

    /// Leaves out what is not needed for the same fault.
    fn shorten(&self, kind: &str, mut input: Vec<u8>) -> Vec<u8> {
        let (mut tries, mut part) = (0, input.len() / 2);
        while part > 0 && tries < SHORTENINGS {
            let mut at = 0;
            while at < input.len() && tries < SHORTENINGS {
                let shorter = [&input[..at], &input[(at + part).min(input.len())..]].concat();
                tries += 1;
                if read(&self.target, &shorter).0.is_err_and(|what| words(&what) == kind) {
                    input = shorter;
                } else {
                    at += part;
                }
            }
            part /= 2;
        }
        input
    }
}

/// The words of a message, without numbers and what else differs from input to input: names stand between quotes.
fn words(message: &str) -> String {
    let parts = message.split(['`', '"', '\'']).step_by(2);
    let letters = parts.flat_map(|part| part.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' '));
    letters.take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart_by_their_words() {
        assert_eq!(words("`a.b` is 17, not 1 to 9"), words("`c` is 3, not 1 to 9"));
        assert_ne!(words("`a` is missing"), words("`a` is wrong"));
    }
}
