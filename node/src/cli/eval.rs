//! `potluck eval`

use std::path::PathBuf;

use clap::Args;

use super::args::Global;
use super::{base, output, run::ask};
use crate::api::proto::{self, Request};
use crate::config;
use crate::failure::Outcome;
use crate::worker::proto::Measured;

/// Measure loss and exact match on rows. Of a chat the last answer is compared, a plain text has no answer.
#[derive(Debug, Args)]
pub struct Eval {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Adapter to apply; may be given several times
    #[arg(long = "adapter", value_name = "REF[@WEIGHT]")]
    adapters: Vec<String>,
    /// Rows to measure on
    #[arg(long, value_name = "FILE.jsonl")]
    data: PathBuf,
    /// Threads [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
}

pub async fn run(global: &Global, verb: &Eval) -> Outcome<()> {
    let request = Request::Eval(proto::Eval {
        base: base::reference(global, &verb.base)?,
        adapters: base::weighted_references(&verb.adapters)?,
        data: config::absolute(&verb.data)?,
        threads: verb.threads.unwrap_or_else(config::processors),
    });
    output::answer(global, ask(global, &request).await?, |measured: Measured| {
        vec![format!("{}, loss {:.4}, perplexity {:.3}", output::exact(&measured), measured.loss, measured.loss.exp())]
    })
}
