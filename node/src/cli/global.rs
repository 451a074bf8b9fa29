//! Options of every verb.

use std::path::PathBuf;

use clap::Args;

/// Options of every verb.
#[derive(Debug, Args)]
pub struct Global {
    /// One folder that holds everything: key, store, runs [default: the platform's data folder, or POTLUCK_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print one JSON object as the last line of standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}
