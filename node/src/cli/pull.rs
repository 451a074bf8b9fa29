//! `potluck pull`

use std::path::PathBuf;

use clap::Args;

use super::args::Global;
use super::{output, run, up};
use crate::api::proto::{self, Pulled, Request};
use crate::config;
use crate::failure::Outcome;
use crate::seconds::Seconds;

/// Fetch an adapter from peers, check it, and write it as a PEFT folder.
///
/// By the id of its manifest a base is fetched too: its files are held against the base id that the manifest states, and
/// the base is known here from then on.
#[derive(Debug, Args)]
pub struct Pull {
    /// Adapter, or manifest id of a base: id, or a name or start of an id that this node has heard of
    #[arg(value_name = "REF")]
    reference: String,
    /// Where to write it [default: inside the home folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long to look for providers and to wait for bytes
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Used if no daemon runs on this home
    #[command(flatten)]
    network: up::Network,
}

pub async fn run(global: &Global, verb: &Pull) -> Outcome<()> {
    let request = Request::Pull(proto::Pull {
        reference: verb.reference.clone(),
        out: verb.out.as_deref().map(config::absolute).transpose()?,
        timeout_seconds: verb.timeout,
    });
    let answer = run::ask_online(global, &request, &verb.network).await?;
    output::answer(global, answer, |pulled: Pulled| {
        let peers = pulled.fetched_from.len();
        vec![
            format!(
                "{} {}: {} from {peers} peer{}",
                pulled.name,
                pulled.manifest,
                output::bytes(pulled.fetched_bytes),
                if peers == 1 { "" } else { "s" }
            ),
            pulled.folder.display().to_string(),
        ]
    })
}
