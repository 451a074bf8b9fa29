//! Attack programs: for each finding of the review one that real daemons of any `potluck` program are attacked by, on
//! loopback. It prints the figure that the review has, and holds it against what is promised.
//!
//! One file an attacker. Each has a part that attacks nodes, which the soak `hostile` uses too, and one that sets up the
//! scene and measures.

pub mod bomb;
pub mod crowd;
pub mod equivocation;
pub mod keys;
pub mod many_signatures;
pub mod peer;
pub mod phantom_base;
pub mod phantom_proposals;
pub mod junk_proofs;
pub mod questions;
mod restored;
mod said_again;
pub mod scene;
pub mod shelf;
pub mod signed;
mod silence;
pub mod unknown_kinds;
pub mod wiped_catalogue;

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};

use crate::kit::Program;

/// Any error of an attack: it ends the run with its text.
pub use crate::stranger::Outcome;

/// The attack did not come about as it was meant, so that nothing can be said of what is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAttacked(String);

impl fmt::Display for NotAttacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the attack did not come about: {}", self.0)
    }
}

impl Error for NotAttacked {}

/// That the attack is what it is meant to be; otherwise what it is.
pub fn attacked(is: bool, what: impl FnOnce() -> String) -> Outcome<()> {
    if is { Ok(()) } else { Err(NotAttacked(what()).into()) }
}

/// What is attacked, and how much of it there is.
#[derive(Clone, Debug)]
pub struct Setting {
    pub program: Program,
    /// The same seed gives the same keys.
    pub seed: u64,
    pub sizes: Sizes,
}

/// Sizes of an attack; without them those of the review.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Sizes {
    /// How many there are of what the attack is made of: peers, proposals, proofs, keys, messages or questions
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// MiB that a bomb states
    #[arg(long)]
    pub mib: Option<u64>,
    /// `--timeout` of the command that is attacked
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Seconds after which the command that is attacked is given up
    #[arg(long, value_name = "SECONDS")]
    pub limit: Option<u64>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Found {
    pub figures: Value,
    /// Whether what is promised was seen.
    pub holds: bool,
}

/// One attack.
pub struct Attack {
    /// The finding's number.
    pub name: &'static str,
    /// What is attacked and what is promised, in one line.
    pub about: &'static str,
    run: fn(&Setting) -> Outcome<Found>,
}

impl Attack {
    /// Runs it; one JSON object, and whether it holds.
    pub fn run(&self, setting: &Setting) -> Outcome<Found> {
        let found = (self.run)(setting)?;
        let figures = json!({
            "attack": self.name, "seed": setting.seed, "holds": found.holds, "figures": found.figures,
        });
        Ok(Found { figures, ..found })
    }
}

/// All attacks, in the order of the findings.
pub const ALL: &[Attack] = &[
    Attack {
        name: "F1",
        about: "an adapter that states 3,000 MiB and holds one: a daemon stays under 300 MiB, pulling and stewarding",
        run: bomb::run,
    },
    Attack {
        name: "F2",
        about: "200 idle peers with low ids: a pull from the publisher takes under 10 s",
        run: crowd::run,
    },
    Attack {
        name: "F3",
        about: "four announcements of bases that do not exist: `base add ID` takes under 15 s",
        run: phantom_base::run,
    },
    Attack {
        name: "F4",
        about: "4,096 records by the lowest of 100,000 keys: 9 of 10 honest records stay, new ones are found",
        run: wiped_catalogue::run,
    },
    Attack {
        name: "F5",
        about: "500 proposals of adapters that do not exist: a release takes under 60 s and judges the honest one",
        run: phantom_proposals::run,
    },
    Attack {
        name: "F6",
        about: "96 proofs that name nothing: a true one is obeyed within three updates and 60 s",
        run: junk_proofs::run,
    },
    Attack {
        name: "F7",
        about: "16 peers that never answer: a channel's version is followed within 15 s",
        run: silence::run,
    },
    Attack {
        name: "F8",
        about: "2,000 messages of 16 signatures: at most two and a half times the processor time of one signature",
        run: many_signatures::run,
    },
    Attack {
        name: "F14",
        about: "a peer of a later version: what it says and asks is nobody's fault",
        run: unknown_kinds::run,
    },
    Attack {
        name: "F17",
        about: "one peer that asks as fast as it can: at most a quarter of a core answers it",
        run: questions::run,
    },
    Attack {
        name: "F19",
        about: "a steward restored from a backup: no version is signed twice, followers are not halted",
        run: restored::run,
    },
    Attack {
        name: "F20",
        about: "2,000 records said again under higher numbers: at most a byte is written for each that was said",
        run: said_again::run,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_sorted_and_each_name_is_there_once() {
        let number = |attack: &Attack| attack.name[1..].parse::<u32>().expect("F and a number");
        assert!(ALL.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])));
    }
}
