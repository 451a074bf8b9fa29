//! `potluck merge`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::args::Global;
use super::{base, output, run::ask};
use crate::api::proto::{self, Request};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

/// Combine adapters by their exact sum, into one adapter of stacked ranks or, with --fold, into the base.
#[derive(Debug, Args)]
pub struct Merge {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Adapters to combine
    #[arg(value_name = "REF[@WEIGHT]", required = true)]
    adapters: Vec<String>,
    /// How
    #[arg(long, value_enum, default_value = "sum")]
    method: Method,
    /// Fold the sum into the base: a recipe that anyone can rebuild and check (adapters must be published)
    #[arg(long)]
    fold: bool,
    /// Float type of a folded base: f32, f16 or bf16 [default: the base's, or bf16 over a quantised base]
    #[arg(long, requires = "fold")]
    dtype: Option<String>,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Threads [default: all processors]; the result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// The weighted sum of the adapters' products BA, without error
    Sum,
}

#[derive(Deserialize)]
struct Merged {
    folder: PathBuf,
    rank: Option<u32>,
    recipe: Option<String>,
    digest: Option<String>,
}

pub async fn run(global: &Global, verb: &Merge) -> Outcome<()> {
    let Method::Sum = verb.method;
    if let Some(dtype) = verb.dtype.as_deref().filter(|dtype| !["f32", "f16", "bf16"].contains(dtype)) {
        return Err(
            Failure::new(Kind::Usage, format!("`{dtype}` is no float type")).hint("give --dtype f32, f16 or bf16")
        );
    }
    let request = Request::Merge(proto::Merge {
        base: base::reference(global, &verb.base)?,
        adapters: base::weighted_references(&verb.adapters)?,
        fold: verb.fold,
        dtype: verb.dtype.clone(),
        out: config::absolute(&verb.out)?,
        threads: verb.threads.unwrap_or_else(config::processors),
    });
    output::answer(global, ask(global, &request).await?, |merged: Merged| {
        let mut lines = Vec::new();
        lines.extend(merged.rank.map(|rank| format!("exact sum of {} adapters, rank {rank}", verb.adapters.len())));
        lines.extend(merged.recipe.map(|recipe| format!("recipe {recipe}")));
        lines.extend(merged.digest.map(|digest| format!("digest {digest}")));
        lines.push(merged.folder.display().to_string());
        lines
    })
}
