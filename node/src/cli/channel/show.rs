//! `potluck channel show`

use std::path::{Path, PathBuf};

use clap::Args;
use potluck_trainer::files;

use super::super::ask::ask;
use super::super::global::Global;
use super::super::output;
use super::{lineage, svg};
use crate::api::ask::Ask;
use crate::api::channel;
use crate::failure::{Failure, Kind, Outcome};

/// Show a channel's versions, and what became of each proposal.
#[derive(Debug, Args)]
pub struct Show {
    /// A channel that is followed: its name here, its id or the start of it
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Draw the versions to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Show {
    pub async fn run(&self, global: &Global) -> Outcome<()> {
        let shown = ask(global, channel::Show { channel: self.channel.clone() }).await?;
        if let Some(file) = &self.svg {
            write_drawing(file, &svg::document(&shown))?;
        }
        output::answer(global, channel::Show::SCHEMA, &shown, |shown, _| lineage::render(shown))
    }
}

/// In the place of an earlier drawing or of nothing.
fn write_drawing(file: &Path, drawing: &str) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::io(format!("write {}", file.display()), &error);
    if file.is_file() && !svg::is_one(file).map_err(failed)? {
        return Err(Failure::new(
            Kind::Conflict,
            format!("{} exists and is not a drawing made by potluck", file.display()),
        )
        .hint("give another name, or move that file away"));
    }
    files::write(file, drawing.as_bytes()).map_err(failed)
}
