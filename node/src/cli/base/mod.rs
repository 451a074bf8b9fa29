//! `potluck base add|list|show`

mod add;

use clap::Subcommand;

use self::add::Add;
use super::ask::ask;
use super::global::Global;
use super::output::{self, Column, Terminal};
use super::references;
use crate::api::answers::{Base as Described, Bases, Distance, ListedBase, ViewOf};
use crate::api::ask::{Ask, AskBases};
use crate::api::proto::BaseShow;
use crate::failure::Outcome;

/// Bases that this node knows.
#[derive(Debug, Subcommand)]
pub enum Base {
    /// Check a base whole and remember it: files of this machine, the hub's, or by its id from the swarm
    Add(Box<Add>),
    /// List them
    #[command(visible_alias = "ls")]
    List,
    /// Show one
    Show {
        #[arg(value_name = "REF")]
        base: String,
    },
}

pub async fn run(global: &Global, verb: &Base) -> Outcome<()> {
    match verb {
        Base::Add(add) => add.run(global).await,
        Base::List => output::answer(global, AskBases::SCHEMA, &ask(global, AskBases).await?, render_list),
        Base::Show { base } => {
            let answer = ask(global, BaseShow { base: references::base(global, base)? }).await?;
            output::answer(global, BaseShow::SCHEMA, &answer, |base, _| render(base))
        }
    }
}

fn render(base: &Described) -> Vec<String> {
    let mut lines = vec![
        format!("{}  {}, {} parameters", base.name, base.architecture, base.parameters),
        format!("at {}", base.place),
    ];
    lines.extend(base.view_of.as_ref().map(render_view));
    lines.push(base.base.to_string());
    lines
}

fn render_view(view: &ViewOf) -> String {
    let of = view.base.short();
    match &view.farthest {
        Some(Distance { tensor, error, bound }) => format!(
            "a view of {of}: `{tensor}` is farthest from it, by {:.2} % of the {:.0} % that its format allows",
            100.0 * error,
            100.0 * bound
        ),
        None => format!("a view of {of}, not checked: that base is not here"),
    }
}

fn render_list(listed: &Bases, terminal: Terminal) -> Vec<String> {
    let row = |base: &ListedBase| vec![base.name.clone(), base.base.short(), base.place.clone()];
    let rows: Vec<_> = listed.bases.iter().map(row).collect();
    output::table(&[Column::Text("name"), Column::Id("base id"), Column::Path("place")], &rows, terminal)
}
