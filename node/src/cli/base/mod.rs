//! `potluck base add|list|show`

mod add;
mod show;

use clap::Subcommand;

use self::add::Add;
use super::ask::ask;
use super::global::Global;
use super::output::{self, Column, Terminal};
use super::references;
use crate::api::answers::{Bases, ListedBase};
use crate::api::ask::{Ask, AskBases};
use crate::api::proto::BaseShow;
use crate::failure::Outcome;

/// Manage bases.
#[derive(Debug, Subcommand)]
pub enum Base {
    /// Check a base and remember it: local files, the Hugging Face Hub's, or by its id from peers
    Add(Box<Add>),
    /// List known bases
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
            output::answer(global, BaseShow::SCHEMA, &answer, |base, _| show::render(base))
        }
    }
}

fn render_list(listed: &Bases, terminal: Terminal) -> Vec<String> {
    let row = |base: &ListedBase| vec![base.name.clone(), base.base.short(), base.place.clone()];
    let rows: Vec<_> = listed.bases.iter().map(row).collect();
    output::table(&[Column::Text("name"), Column::Id("base id"), Column::Path("place")], &rows, terminal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::{base, check_table};

    #[test]
    fn what_is_seen() {
        let one = |name: &str, place: &str| ListedBase {
            name: name.to_owned(),
            base: base(name),
            place: place.to_owned(),
            architecture: None,
            parameters: None,
        };
        let tiny = one("tiny", "inside this program");
        let long = one(&"n".repeat(64), &format!("/home/me/{}/model.gguf", "models/".repeat(20)));
        check_table("base-list", |terminal| render_list(&Bases { bases: vec![tiny.clone(), long.clone()] }, terminal));
        check_table("base-list-tiny-alone", |terminal| render_list(&Bases { bases: vec![tiny.clone()] }, terminal));
    }
}
