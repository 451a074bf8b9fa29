//! `potluck base`: bases, and channels of base versions.

mod add;
mod refs;
mod steward;

pub use refs::{absolute_reference, reference, weighted_references};

use clap::Subcommand;
use serde::Deserialize;

use self::add::Add;
use super::args::Global;
use super::output;
use super::run::ask;
use crate::api::proto::Request;
use crate::failure::Outcome;

/// Bases that this node knows.
#[derive(Debug, Subcommand)]
pub enum Base {
    /// Check a base whole and remember it: files of this machine, the hub's, or by its id from the swarm
    Add(Box<Add>),
    /// List them
    Ls,
    /// Show one
    Show {
        #[arg(value_name = "REF")]
        base: String,
    },
    /// Channels, as their steward and as a proposer
    #[command(flatten)]
    Steward(steward::Verb),
}

#[derive(Deserialize)]
struct Described {
    name: String,
    base: String,
    place: String,
    architecture: String,
    parameters: u64,
}

#[derive(Deserialize)]
struct Listed {
    bases: Vec<Described>,
}

pub async fn run(global: &Global, verb: &Base) -> Outcome<()> {
    let answer = match verb {
        Base::Add(add) => add.run(global).await?,
        Base::Ls => {
            return output::answer(global, ask(global, &Request::BaseList).await?, |listed: Listed| {
                let rows: Vec<_> =
                    listed.bases.into_iter().map(|base| vec![base.name, short(&base.base), base.place]).collect();
                output::table(&["name", "base id", "place"], &rows)
            });
        }
        Base::Steward(verb) => return steward::run(global, verb).await,
        Base::Show { base } => ask(global, &Request::BaseShow { base: reference(global, base)? }).await?,
    };
    output::answer(global, answer, |base: Described| {
        vec![
            format!("{}  {}, {} parameters", base.name, base.architecture, base.parameters),
            format!("at {}", base.place),
            base.base,
        ]
    })
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
