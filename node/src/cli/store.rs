//! `potluck store stat|verify|rebuild`

use clap::Subcommand;
use serde::Deserialize;

use super::args::Global;
use super::output;
use super::progress::Shown;
use super::run::{ask, ask_here};
use crate::api::proto::Request;
use crate::app::Node;
use crate::config;
use crate::failure::Outcome;
use crate::store::{Held, Options};

/// Look after the store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// What is in it
    Stat,
    /// Hash everything again and say what is damaged or missing
    Verify,
    /// Make the index anew from the files
    Rebuild {
        /// Open the home even if its state.log is damaged in the middle, keeping the records that can be read; what the
        /// others said (pins, names, added bases) is lost
        #[arg(long)]
        salvage_state: bool,
    },
}

#[derive(Deserialize)]
struct Stat {
    shards: u64,
    shard_bytes: u64,
    held: Held,
    recipes: u64,
}

#[derive(Deserialize)]
struct Checked {
    shards: u64,
    manifests: u64,
}

pub async fn run(global: &Global, verb: &Store) -> Outcome<()> {
    match verb {
        Store::Stat => output::answer(global, ask(global, &Request::StoreStat).await?, |stat: Stat| {
            vec![format!(
                "{} shards ({}); {}; {} recipes",
                stat.shards,
                output::bytes(stat.shard_bytes),
                held(&stat.held),
                stat.recipes
            )]
        }),
        Store::Verify => output::answer(global, ask(global, &Request::StoreVerify).await?, |checked: Checked| {
            vec![format!(
                "clean: {} shards and {} manifests are what their names say",
                checked.shards, checked.manifests
            )]
        }),
        Store::Rebuild { salvage_state } => {
            output::answer(global, rebuild(global, *salvage_state).await?, |stat: Stat| {
                vec![format!("rebuilt the index: {} shards; {}", stat.shards, held(&stat.held))]
            })
        }
    }
}

/// `4 manifests: 2 adapters, 1 channel, 1 version`
pub fn held(held: &Held) -> String {
    let kinds = [
        (held.adapters, "adapter"),
        (held.bases, "base"),
        (held.datasets, "dataset"),
        (held.channels, "channel"),
        (held.versions, "version"),
        (held.proposals, "proposal"),
        (held.proofs, "proof"),
    ];
    let counted = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let kinds: Vec<_> = kinds.iter().filter(|(n, _)| *n > 0).map(|(n, one)| counted(*n, one)).collect();
    let all = counted(held.manifests, "manifest");
    if kinds.is_empty() { all } else { format!("{all}: {}", kinds.join(", ")) }
}

/// A damaged state.log keeps every daemon from starting, so salvaging always opens the home here.
async fn rebuild(global: &Global, salvage_state: bool) -> Outcome<serde_json::Value> {
    if !salvage_state {
        return ask(global, &Request::StoreRebuild).await;
    }
    let home = config::home(global.home.as_deref())?;
    let options = Options { salvage_state, ..Options::default() };
    let node = Node::offline_with(&home, options).await?;
    ask_here(&node, &Request::StoreRebuild, &mut Shown::new(global)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_by_what_it_is() {
        assert_eq!(held(&Held::default()), "0 manifests");
        let some = Held { manifests: 4, adapters: 2, channels: 1, versions: 1, ..Held::default() };
        assert_eq!(held(&some), "4 manifests: 2 adapters, 1 channel, 1 version");
    }
}
