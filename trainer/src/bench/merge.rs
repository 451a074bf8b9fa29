//! Merging made-up adapters, or given ones: how long it takes, what memory, how far from the exact sum.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use potluck_protocol::base::Architecture;
use rayon::prelude::*;

use crate::base::json::JsonError;
use crate::base::{config, json};
use crate::lora::config::{LoraConfig, Module, Targets};
use crate::lora::init::uniform;
use crate::memory::peak_rss;
use crate::merge::folders::{self, FoldersError, Source};
use crate::merge::{Method, Report, distance};
use crate::peft::{FactorsWriter, MODEL_FILE, Stored};
use crate::random::splitmix64;

/// B's values lie between this and its negative: updates of the size that training makes.
const B_MAX: f32 = 0.02;

/// What was measured.
#[derive(Clone, Debug)]
pub struct MergeReport {
    /// From opening the folders until the result is durable.
    pub seconds: f64,
    /// Of the process, with making the adapters, before the error is computed.
    pub peak_rss_bytes: Option<u64>,
    /// Of the merged adapter.
    pub rank: usize,
    /// What the merge kept of the sum.
    pub report: Report,
    /// BLAKE3 of the written factors' file, hexadecimal.
    pub digest: String,
    /// Relative to the exact sum, Frobenius, in f64.
    pub error: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum BenchMergeError {
    #[error(transparent)]
    Folders(#[from] FoldersError),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {reason}", path.display())]
    Shape { path: PathBuf, reason: String },
}

/// The architecture that a `config.json` states; no weights are looked for.
pub fn shape(path: &Path) -> Result<Architecture, BenchMergeError> {
    let bytes = crate::files::read(path, potluck_protocol::limits::JSON_MAX as u64)
        .map_err(|error| BenchMergeError::Io { path: path.to_owned(), error })?;
    let wrong = |reason: String| BenchMergeError::Shape { path: path.to_owned(), reason };
    let parsed = json::parse(&bytes, potluck_protocol::limits::JSON_MAX);
    let parsed = parsed.map_err(|error: JsonError| wrong(error.to_string()))?;
    config::architecture(&parsed).map_err(|error| wrong(error.to_string()))
}

/// Writes an adapter for every linear layer, made up by a seed, module by module.
pub fn make(folder: &Path, architecture: &Architecture, rank: usize, seed: u64) -> Result<(), BenchMergeError> {
    let failed = |error| BenchMergeError::Io { path: folder.to_owned(), error };
    let modules = LoraConfig::new(rank, rank as f32, Targets::AllLinear).modules(architecture);
    let modules: Vec<Module> = modules.map_err(|error| failed(io::Error::other(error)))?;
    let writer = FactorsWriter::create(folder, architecture, &modules, rank).map_err(failed)?;
    let write = |(index, (module, (out, inner))): (usize, &Module)| {
        let key = splitmix64(splitmix64(seed).wrapping_add(index as u64));
        let draw = |first: u64, i: usize, width| uniform(splitmix64(key ^ (first + i as u64)), width);
        let a: Vec<f32> = (0..rank * inner).map(|i| draw(0, i, *inner)).collect();
        let b: Vec<f32> = (0..out * rank).map(|i| B_MAX * draw(1 << 40, i, 1)).collect();
        writer.module(module, &a, &b)
    };
    modules.par_iter().enumerate().try_for_each(write).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Merges folders into `out`, then looks at what came of it.
pub fn bench_merge(
    sources: &[Source],
    architecture: &Architecture,
    method: Method,
    out: &Path,
    stop: &AtomicBool,
) -> Result<MergeReport, BenchMergeError> {
    let began = Instant::now();
    let (rank, report) = folders::merge(sources, architecture, method, out, &[], stop, &|_, _| ())?;
    let seconds = began.elapsed().as_secs_f64();
    let peak_rss_bytes = peak_rss();
    let path = out.join(MODEL_FILE);
    let digest = digest(&path).map_err(|error| BenchMergeError::Io { path, error })?;
    let opened = folders::open(sources, architecture)?;
    let merged = Stored::open(out, architecture);
    let merged = merged.map_err(|error| FoldersError::Peft { folder: out.to_owned(), error })?;
    let error = distance::relative_error(&folders::inputs(&opened), &merged, architecture);
    let error = error.map_err(FoldersError::Merge)?;
    Ok(MergeReport { seconds, peak_rss_bytes, rank, report, digest, error })
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use potluck_protocol::recipe::Weight;

    use super::*;
    use crate::base::small;

    #[test]
    fn made_up_adapters_merge_to_the_same_bytes_again() {
        let (root, architecture) = (tempfile::tempdir().unwrap(), small::architecture());
        let source = |seed: u64| {
            let folder = root.path().join(seed.to_string());
            make(&folder, &architecture, 3, seed).unwrap();
            Source { folder, weight: Weight(1 << 15) }
        };
        let sources: Vec<Source> = (0..3).map(source).collect();
        let measure = |method, name: &str| {
            let stop = AtomicBool::new(false);
            bench_merge(&sources, &architecture, method, &root.path().join(name), &stop).unwrap()
        };
        let (sum, again) = (measure(Method::Sum, "sum"), measure(Method::Sum, "again"));
        assert_eq!((sum.rank, sum.digest == again.digest, sum.report.kept_energy), (9, true, 1.0));
        assert!(sum.error < 1e-7 && sum.seconds > 0.0, "{sum:?}");
        let refit = measure(Method::Refit { rank: Some(4) }, "refit");
        assert!((refit.error.powi(2) - (1.0 - refit.report.kept_energy)).abs() < 1e-6, "{refit:?}");
        assert_ne!(refit.digest, sum.digest);
    }
}
