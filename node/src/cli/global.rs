//! Options of every verb.

use std::path::PathBuf;

use clap::Args;

/// Options of every verb.
#[derive(Debug, Args)]
pub struct Global {
    /// Home folder: key, store and runs [default: POTLUCK_HOME, or the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print the answer as one JSON object, on the last line of standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not print progress to standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}
