//! The promise of channels, from outside: four publishers teach a base four skills, a steward makes one version of them,
//! two harmful adapters are refused, a stranger follows, checks, and sees one of the four revoked.
//!
//! ```text
//! rows -> four daemons train and publish -> propose -> steward releases -> everything is measured -> judged
//! a fifth daemon proposes a sign-flipped and an enormous adapter; a fresh one follows and rebuilds
//! ```

mod bad;
mod judge;
mod rows;
mod stage;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Skills {
    /// Base model: folder, .gguf file, or `tiny`
    #[arg(long, default_value = "tiny", value_name = "REF")]
    base: String,
    /// Folder for homes, rows and adapters; a temporary one if not said
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Rows of each sealed suite; on `tiny` a hundred times as many of its own text
    #[arg(long, default_value_t = 100)]
    sealed: usize,
    /// Rows of each held-out set; on `tiny` a hundred times as many of its own text
    #[arg(long, default_value_t = 100)]
    heldout: usize,
    /// How far the perplexity of the base's own text may rise, in percent
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    guard: f64,
    /// Optimiser steps of each adapter [default: 900 on `tiny`, else the demo's]
    #[arg(long)]
    max_steps: Option<u64>,
}

/// Everything that came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub base: String,
    pub seconds: f64,
    /// By what is measured: the base, each adapter alone, the version; then by set, `own` being the base's own text.
    pub measured: Vec<Measured>,
    pub release: Value,
    pub followed: Followed,
    pub revoked: Revoked,
}

/// One model on every set.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub model: String,
    pub sets: Vec<Set>,
}

/// One set's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Set {
    pub name: String,
    /// Mean loss per completion token, in nats.
    pub loss: f64,
    /// Exact matches, 0 to 1; none for plain texts.
    pub accuracy: Option<f64>,
}

/// What the fresh node came to.
#[derive(Clone, Debug, Serialize)]
pub struct Followed {
    pub version: String,
    pub fetched_bytes: u64,
    /// Bytes of the adapters in force.
    pub adapter_bytes: u64,
    /// What rebuilding gave there.
    pub verified: Value,
}

/// The version without one of the four, and a fold that never had it.
#[derive(Clone, Debug, Serialize)]
pub struct Revoked {
    pub digest: String,
    pub never: String,
}

/// Runs it whole; what does not hold, in words.
pub fn run(skills: &Skills) -> Result<(Report, Vec<String>), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let root = skills.out.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    std::fs::create_dir_all(&root)?;
    let report = stage::play(skills, &std::path::absolute(root)?)?;
    let findings = judge::findings(&report, skills.guard);
    Ok((report, findings))
}
