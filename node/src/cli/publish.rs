//! `potluck publish`

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::args::Global;
use super::{base, output, run::ask};
use crate::api::proto::{self, Request};
use crate::config;
use crate::failure::Outcome;

/// Sign an adapter and make it available to peers.
///
/// What is published is the adapter in the portable profile (lora_alpha equal to r), its settings and its measured
/// figures. Your rows and paths stay here; what the weights remember of your rows does not.
#[derive(Debug, Args)]
pub struct Publish {
    /// A PEFT folder
    folder: PathBuf,
    /// What to call it
    #[arg(long)]
    name: String,
    /// The base that it was trained on [default: the one that `potluck train` noted in the folder]
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// SPDX licence, e.g. Apache-2.0
    #[arg(long, default_value = "")]
    licence: String,
    /// A sentence for people
    #[arg(long, default_value = "")]
    description: String,
}

#[derive(Deserialize)]
struct Published {
    manifest: String,
    name: String,
    bytes: u64,
    announced: bool,
}

pub async fn run(global: &Global, verb: &Publish) -> Outcome<()> {
    let request = Request::Publish(proto::Publish {
        folder: config::absolute(&verb.folder)?,
        name: verb.name.clone(),
        base: verb.base.as_deref().map(base::absolute_reference).transpose()?,
        licence: verb.licence.clone(),
        description: verb.description.clone(),
    });
    output::answer(global, ask(global, &request).await?, |published: Published| {
        let when = if published.announced { "announced" } else { "announced when `potluck up` runs" };
        vec![format!("published {} ({}), {when}", published.name, output::bytes(published.bytes)), published.manifest]
    })
}
