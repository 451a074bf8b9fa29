//! `potluck store stat|verify|rebuild`

use clap::Subcommand;
use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::Request;
use crate::failure::Outcome;

/// Look after the store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// What is in it
    Stat,
    /// Hash everything again and say what is damaged or missing
    Verify,
    /// Make the index anew from the files
    Rebuild,
}

#[derive(Deserialize)]
struct Stat {
    shards: u64,
    shard_bytes: u64,
    manifests: u64,
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
                "{} shards ({}), {} manifests, {} recipes",
                stat.shards,
                output::bytes(stat.shard_bytes),
                stat.manifests,
                stat.recipes
            )]
        }),
        Store::Verify => output::answer(global, ask(global, &Request::StoreVerify).await?, |checked: Checked| {
            vec![format!(
                "clean: {} shards and {} manifests are what their names say",
                checked.shards, checked.manifests
            )]
        }),
        Store::Rebuild => output::answer(global, ask(global, &Request::StoreRebuild).await?, |stat: Stat| {
            vec![format!("rebuilt the index: {} shards, {} manifests", stat.shards, stat.manifests)]
        }),
    }
}
