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
    /// Number of volunteers, each with its own skill
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::{base, check, check_failures, fold, manifest};
    use crate::demo::{BaseLine, ChannelLine, Figure, NodeLine, SkillLine};

    fn report() -> Report {
        let figure = |exact_match, loss| Figure { exact_match, loss };
        let node = |skill: &str| NodeLine {
            pid: 7,
            home: "/tmp/demo".into(),
            peer: "12D3KooW".to_owned(),
            skill: skill.to_owned(),
            adapter: manifest(skill),
            train_seconds: 31.0,
            tokens_per_second: 1234.5,
            fetched_bytes: 412_672,
            fetched_from: Vec::new(),
        };
        let skill = |name: &str| SkillLine {
            name: name.to_owned(),
            heldout: 200,
            base: figure(0.0, 4.5),
            adapter: figure(1.0, 0.01),
            merged: figure(0.975, 0.05),
        };
        let channel = ChannelLine {
            id: manifest("demo"),
            version: manifest("v1"),
            height: 1,
            digest: fold("d"),
            base: base("v1"),
            verdicts: Vec::new(),
        };
        Report {
            seconds: 121.0,
            base: BaseLine { name: "tiny".to_owned(), id: base("tiny") },
            nodes: vec![node("dates"), node("sql")],
            skills: vec![skill("dates"), skill("sql")],
            channel,
            merged_digests: vec![fold("d"), fold("d")],
        }
    }

    #[test]
    fn what_is_seen() {
        // Its sentences may be wider than a terminal, which breaks them.
        check("demo", |terminal| report().table(terminal));
        let apart = Report { merged_digests: vec![fold("d"), fold("e")], ..report() };
        let failure = apart.outcome().expect_err("they came to other bytes");
        check_failures("demo-error", &[("demo", failure)]);
    }
}
