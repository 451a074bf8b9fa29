//! `potluck store stat|verify|rebuild`

use clap::Subcommand;

use super::ask::{ask, ask_here};
use super::global::Global;
use super::output;
use super::progress::Reporter;
use crate::api::answers::{StoreStat, StoreVerified};
use crate::api::ask::{Ask, AskStoreRebuild, AskStoreStat, AskStoreVerify};
use crate::app::Node;
use crate::config;
use crate::failure::Outcome;
use crate::store::{Held, Options};

/// Inspect, verify or repair the store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Show what the store contains
    Stat,
    /// Hash everything again and list what is damaged or missing
    Verify,
    /// Rebuild the index from the files
    Rebuild {
        /// Open the home even if its state.log is missing or damaged in the middle, and keep the readable records; the
        /// others (pins, names, added bases, followed channels) are lost
        #[arg(long)]
        salvage_state: bool,
    },
}

pub async fn run(global: &Global, verb: &Store) -> Outcome<()> {
    match verb {
        Store::Stat => {
            let stat = ask(global, AskStoreStat).await?;
            output::answer(global, AskStoreStat::SCHEMA, &stat, |stat, _| render_stat(stat))
        }
        Store::Verify => {
            let verified = ask(global, AskStoreVerify).await?;
            output::answer(global, AskStoreVerify::SCHEMA, &verified, |verified, _| render_verified(*verified))
        }
        Store::Rebuild { salvage_state } => {
            let stat = rebuild(global, *salvage_state).await?;
            output::answer(global, AskStoreRebuild::SCHEMA, &stat, |stat, _| render_rebuilt(stat))
        }
    }
}

fn render_stat(stat: &StoreStat) -> Vec<String> {
    let bytes = output::bytes(stat.shard_bytes);
    vec![format!("{} shards ({bytes}); {}; {} recipes", stat.shards, held(&stat.held), stat.recipes)]
}

fn render_verified(verified: StoreVerified) -> Vec<String> {
    let StoreVerified { shards, manifests } = verified;
    vec![format!("clean: {shards} shards and {manifests} manifests are what their names say")]
}

fn render_rebuilt(stat: &StoreStat) -> Vec<String> {
    vec![format!("rebuilt the index: {} shards; {}", stat.shards, held(&stat.held))]
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
async fn rebuild(global: &Global, salvage_state: bool) -> Outcome<StoreStat> {
    if !salvage_state {
        return ask(global, AskStoreRebuild).await;
    }
    let home = config::home(global.home.as_deref())?;
    let options = Options { salvage_state, ..Options::default() };
    let node = Node::offline_with(&home, options).await?;
    ask_here(&node, AskStoreRebuild, &mut Reporter::new(global)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::check;
    use crate::store::Stat;

    #[test]
    fn what_is_held_is_told_by_what_it_is() {
        assert_eq!(held(&Held::default()), "0 manifests");
        let some = Held { manifests: 4, adapters: 2, channels: 1, versions: 1, ..Held::default() };
        assert_eq!(held(&some), "4 manifests: 2 adapters, 1 channel, 1 version");
    }

    #[test]
    fn what_is_seen() {
        let held_here = Held { manifests: 4, adapters: 2, channels: 1, versions: 1, ..Held::default() };
        let stat = StoreStat {
            shards: 12,
            shard_bytes: 5 << 20,
            manifests: 4,
            held: held_here,
            recipes: 1,
            detail: Stat::default(),
        };
        let empty =
            StoreStat { shards: 0, shard_bytes: 0, manifests: 0, held: Held::default(), recipes: 0, ..stat.clone() };
        check("store-stat", |_| render_stat(&stat));
        check("store-stat-empty", |_| render_stat(&empty));
        check("store-verify", |_| render_verified(StoreVerified { shards: 12, manifests: 4 }));
        check("store-verify-empty", |_| render_verified(StoreVerified { shards: 0, manifests: 0 }));
        check("store-rebuild", |_| render_rebuilt(&stat));
    }
}
