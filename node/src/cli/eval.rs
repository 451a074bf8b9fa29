//! `potluck eval`

use std::path::PathBuf;

use clap::Args;

use super::global::Global;
use super::{ask::ask, output, references};
use crate::api::ask::Ask;
use crate::api::proto;
use crate::config;
use crate::failure::Outcome;
use crate::worker::proto::Measured;

/// Measure loss and exact match on rows. In a chat the last answer is compared; plain text has no answer.
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
    let request = proto::Eval {
        base: references::base(global, &verb.base)?,
        adapters: references::weighted(&verb.adapters)?,
        data: config::absolute(&verb.data)?,
        threads: verb.threads.unwrap_or_else(config::processors),
    };
    output::answer(global, proto::Eval::SCHEMA, &ask(global, request).await?, |measured, _| render(measured))
}

fn render(measured: &Measured) -> Vec<String> {
    vec![format!("{}, loss {:.4}, perplexity {:.3}", output::exact(measured), measured.loss, measured.loss.exp())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::check;

    #[test]
    fn what_is_seen() {
        let measured = Measured { samples: 200, exact_match: Some(0.875), loss: 0.4321 };
        check("eval", |_| render(&measured));
        check("eval-texts", |_| render(&Measured { exact_match: None, ..measured }));
    }
}
