//! `potluck bench merge`

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::global::Global;
use super::method::MethodFlags;
use super::{ask::ask, output, references};
use crate::api::answers::MergeMeasured;
use crate::api::ask::Ask;
use crate::api::proto::BenchMerge;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::BenchMergeSettings;

/// Adapters at once, and the rank of each: more are no benchmark but a full disk.
const ADAPTERS_MAX: usize = 256;
const RANK_MAX: usize = 1024;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true).args(["base", "shape"]))]
pub struct Merge {
    /// Base that defines the adapters' modules: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Take the module shapes from this config.json instead of a base
    #[arg(long, value_name = "CONFIG.json")]
    shape: Option<PathBuf>,
    /// Number of adapters to generate
    #[arg(long, default_value_t = 8, value_name = "N")]
    adapters: usize,
    /// Rank of each
    #[arg(long, default_value_t = 16, value_name = "R")]
    rank: usize,
    /// Merge these PEFT folders instead
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["adapters", "rank"])]
    from: Vec<PathBuf>,
    #[command(flatten)]
    method: MethodFlags,
    /// Rank of the result of refit, ties and dare [default: that of the adapters]
    #[arg(long, value_name = "K")]
    rank_out: Option<usize>,
    /// Seed of the adapters and of dare's dropping
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for adapters and result, which decides the disk that is used [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Threads [default: all processors]; the result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
}

pub async fn run(global: &Global, verb: &Merge) -> Outcome<()> {
    if !(1..=ADAPTERS_MAX).contains(&verb.adapters) || !(1..=RANK_MAX).contains(&verb.rank) {
        let bounds = format!("1 to {ADAPTERS_MAX} adapters of rank 1 to {RANK_MAX} are needed");
        return Err(Failure::new(Kind::Usage, bounds).hint("e.g. `potluck bench merge --base tiny --adapters 8`"));
    }
    let settings = BenchMergeSettings {
        adapters: verb.adapters,
        rank: verb.rank,
        seed: verb.seed,
        from: verb.from.iter().map(|folder| config::absolute(folder)).collect::<Outcome<_>>()?,
        method: verb.method.method(verb.rank_out, verb.seed, "--rank-out")?,
        folder: verb.folder.as_deref().map(config::absolute).transpose()?,
        threads: verb.threads.unwrap_or_else(config::processors),
    };
    let request = BenchMerge {
        base: verb.base.as_deref().map(|base| references::base(global, base)).transpose()?,
        shape: verb.shape.as_deref().map(config::absolute).transpose()?,
        settings,
    };
    let measured = ask(global, request).await?;
    output::answer(global, BenchMerge::SCHEMA, &measured, |measured, _| render(measured))
}

fn render(measured: &MergeMeasured) -> Vec<String> {
    let MergeMeasured { seconds, error, kept_energy, adapters, rank_out, threads, .. } = measured;
    let method = measured.method.name();
    let memory = measured.peak_rss_mb.map_or_else(String::new, |mb| format!(", {mb:.0} MB at most"));
    vec![
        format!("{method} of {adapters} adapters to rank {rank_out}, {threads} threads: {seconds:.2} s{memory}"),
        format!("error {error:.2e} of the exact sum, {} of the energy kept", output::percent(*kept_energy)),
        format!("digest {}", measured.digest),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answers::MethodName;
    use crate::cli::snapshots::check;

    #[test]
    fn what_is_seen() {
        let measured = MergeMeasured {
            seconds: 1.5,
            peak_rss_mb: Some(120.0),
            error: 1.25e-7,
            kept_energy: 0.973,
            least_kept: None,
            digest: "cd".repeat(32),
            method: MethodName::Ties,
            rank: Some(16),
            density: Some(0.2),
            lambda: Some(1.0),
            seed: Some(0),
            adapters: 8,
            rank_out: 16,
            threads: 2,
        };
        check("bench-merge", |_| render(&measured));
    }
}
