//! `potluck demo`

use clap::Args;

use super::global::Global;
use super::{output, references};
use crate::demo::{self, Options, Report};
use crate::failure::Outcome;

/// Three volunteers on this machine: each trains an adapter for a skill of its own, publishes it, fetches and checks
/// the others', and folds all of them into one better base.
///
/// Each volunteer is a daemon of its own, on loopback, with a home of its own. Nothing leaves this machine.
#[derive(Debug, Args)]
pub struct Demo {
    /// Base model: `tiny`, or a folder or .gguf file
    #[arg(long, value_name = "REF", default_value = "tiny")]
    base: String,
    /// How many volunteers, each with a skill of its own
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=4))]
    nodes: u8,
    /// Held-out prompts of a skill [default: 200, or 100 for another base than `tiny`]
    #[arg(long, value_name = "N")]
    heldout: Option<usize>,
}

pub async fn run(global: &Global, verb: &Demo) -> Outcome<()> {
    let options = Options {
        base: references::base(global, &verb.base)?,
        nodes: verb.nodes.into(),
        heldout: verb.heldout,
        home: global.home.clone(),
        quiet: global.quiet,
    };
    let report = demo::run(&options).await?;
    output::answer(global, Report::SCHEMA, &report, Report::table)?;
    report.outcome()
}
