//! Tasks shown by examples: the prompt has two solved cases, the model does the third alike.

use super::fields::starting_with;
use super::words::{capitalise, lower, plain, separator};
use super::{Example, Rng, Task};

pub(super) const TASKS: &[Task] = &[(12, pattern), (2, starting_with)];

/// `cat>tac; dog>god; sun>` to `nus`.
fn pattern(rng: &mut Rng) -> Example {
    let rule = rng.below(8);
    let (arrow, sign, end) = (separator(rng), separator(rng), separator(rng));
    let mut solved = Vec::new();
    for _ in 0..3 {
        let (a, b) = (if rule == 3 { lower(rng) } else { plain(rng) }, plain(rng));
        solved.push(apply(rule, &a, &b, sign));
    }
    let end = if end == arrow { " " } else { end };
    let shown = format!("{}{arrow}{}{end} {}{arrow}{}{end} ", solved[0].0, solved[0].1, solved[1].0, solved[1].1);
    Example::new(format!("{shown}{}{arrow}\n", solved[2].0), solved[2].1.clone())
}

/// The case's two sides.
fn apply(rule: usize, a: &str, b: &str, sign: &str) -> (String, String) {
    match rule {
        0 => (a.to_owned(), a.to_owned()),
        1 => (a.to_owned(), a.chars().rev().collect()),
        2 => (a.to_owned(), a.to_uppercase()),
        3 => (a.to_owned(), capitalise(a)),
        4 => (format!("{a} {b}"), format!("{b} {a}")),
        5 => (format!("{a} {b}"), format!("{a}{sign}{b}")),
        6 => (format!("{a} {b}"), format!("{b}{sign}{a}")),
        _ => (a.to_owned(), format!("{sign}{a}{sign}")),
    }
}
