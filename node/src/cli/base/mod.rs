//! `potluck base`: bases, and channels of base versions.

mod add;
mod draw;
mod follower;
mod refs;
mod steward;
mod svg;
mod told;

pub use refs::{absolute_reference, reference, weighted_references};

use std::path::{Path, PathBuf};

use clap::Subcommand;
use potluck_trainer::files;
use serde::Deserialize;
use serde_json::Value;

use self::add::Add;
use super::args::Global;
use super::output::{self, Column};
use super::run::ask;
use crate::api::lineage::{SCHEMA, Shown};
use crate::api::proto::Request;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::answers::Compared;

/// Bases that this node knows.
#[derive(Debug, Subcommand)]
pub enum Base {
    /// Check a base whole and remember it: files of this machine, the hub's, or by its id from the swarm
    Add(Box<Add>),
    /// List them
    Ls,
    /// Show one; of a channel its lineage
    Show {
        #[arg(value_name = "REF")]
        base: String,
        /// Draw a channel's lineage to this file
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Channels, as their steward and as a proposer
    #[command(flatten)]
    Steward(steward::Verb),
    /// Channels, as their follower
    #[command(flatten)]
    Follower(follower::Verb),
}

#[derive(Deserialize)]
struct Described {
    name: String,
    base: String,
    place: String,
    architecture: String,
    parameters: u64,
    #[serde(default)]
    view_of: Option<ViewOf>,
}

#[derive(Deserialize)]
struct ViewOf {
    base: String,
    farthest: Option<Compared>,
}

impl ViewOf {
    fn told(&self) -> String {
        match &self.farthest {
            Some(Compared { tensor, error, bound }) => format!(
                "a view of {}: `{tensor}` is farthest from it, by {:.2} % of the {:.0} % that its format allows",
                short(&self.base),
                100.0 * error,
                100.0 * bound
            ),
            None => format!("a view of {}, not checked: that base is not here", short(&self.base)),
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    bases: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    base: String,
    place: String,
}

pub async fn run(global: &Global, verb: &Base) -> Outcome<()> {
    let answer = match verb {
        Base::Add(add) => add.run(global).await?,
        Base::Ls => {
            return output::answer(global, ask(global, &Request::BaseList).await?, |listed: Listed| {
                let rows: Vec<_> =
                    listed.bases.into_iter().map(|base| vec![base.name, short(&base.base), base.place]).collect();
                output::table(&[Column::Text("name"), Column::Id("base id"), Column::Path("place")], &rows)
            });
        }
        Base::Steward(verb) => return steward::run(global, verb).await,
        Base::Follower(verb) => return follower::run(global, verb).await,
        Base::Show { base, svg } => {
            let answer = ask(global, &Request::BaseShow { base: reference(global, base)? }).await?;
            if answer["schema"] == SCHEMA {
                return show_channel(global, answer, svg.as_deref());
            }
            if svg.is_some() {
                return Err(Failure::new(Kind::Usage, format!("`{base}` is no channel: there is no lineage to draw"))
                    .hint("list the channels with `potluck base channels`"));
            }
            answer
        }
    };
    output::answer(global, answer, |base: Described| {
        let mut lines = vec![
            format!("{}  {}, {} parameters", base.name, base.architecture, base.parameters),
            format!("at {}", base.place),
        ];
        lines.extend(base.view_of.as_ref().map(ViewOf::told));
        lines.push(base.base);
        lines
    })
}

/// In the place of an earlier drawing or of nothing.
fn write_drawing(file: &Path, drawing: &str) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::io(format!("write {}", file.display()), &error);
    if file.is_file() && !svg::is_one(file).map_err(failed)? {
        return Err(Failure::new(Kind::Conflict, format!("{} is there already, and is no drawing", file.display()))
            .hint("give another name, or move that file away"));
    }
    files::write(file, drawing.as_bytes()).map_err(failed)
}

fn show_channel(global: &Global, answer: Value, svg: Option<&Path>) -> Outcome<()> {
    if let Some(file) = svg {
        let shown: Shown = serde_json::from_value(answer.clone()).map_err(|error| Failure::new(Kind::Failed, error))?;
        write_drawing(file, &svg::document(&shown))?;
    }
    output::answer(global, answer, |shown: Shown| draw::lineage(&shown))
}

/// The start of an id: as much as other verbs take.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
