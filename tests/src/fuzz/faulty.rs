//! A target that breaks every promise at some word: that a run finds each kind of fault and goes on is tested with it.

use std::hint::black_box;

use super::{Form, Memory, Outcome, Target};

/// Not among the others: it is run only if it is named.
pub fn target() -> Target {
    Target {
        name: "faulty",
        about: "breaks every promise at some word",
        form: Form::Text,
        words: &["panic", "lie", "much", "stack", "memory"],
        seeds: || vec![b"0".to_vec()],
        memory: Memory::new(1, 4096),
        short: 400,
        run,
    }
}

fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text.contains("panic") {
        panic!("it was asked to");
    }
    if text.contains("lie") {
        return Err("a promise that does not hold".to_owned());
    }
    if text.contains("much") {
        return Outcome::accepted(black_box(vec![1u8; 1 << 20]).len().to_string());
    }
    if text.contains("stack") {
        return Outcome::accepted(deep(u64::MAX).to_string());
    }
    if text.contains("memory") {
        return Outcome::accepted(black_box(vec![1u8; 1 << 40]).len().to_string());
    }
    Outcome::refused("nothing happens")
}

fn deep(left: u64) -> u64 {
    let here = black_box([left; 64]);
    if here[0] == 0 { 0 } else { deep(left - 1).wrapping_add(here[63]) }
}
