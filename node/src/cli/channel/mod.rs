//! `potluck channel`: channels of base versions, for followers, proposers and stewards.

mod follower;
mod lineage;
mod show;
mod steward;
mod svg;

use clap::Subcommand;

use super::ask::ask;
use super::global::Global;
use super::output::{self, Column, Terminal, date};
use crate::api::answers::{Channels, Followed};
use crate::api::ask::{Ask, AskChannels};
use crate::failure::Outcome;

/// Channels of base versions: follow one, propose an adapter to one, or run your own.
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// List the channels that are followed, your own included
    #[command(visible_alias = "ls")]
    List,
    /// Show a channel's versions, and what became of each proposal
    Show(show::Show),
    #[command(flatten)]
    Follower(follower::Verb),
    #[command(flatten)]
    Steward(steward::Verb),
}

pub async fn run(global: &Global, verb: &Channel) -> Outcome<()> {
    match verb {
        Channel::List => output::answer(global, AskChannels::SCHEMA, &ask(global, AskChannels).await?, render),
        Channel::Show(show) => show.run(global).await,
        Channel::Follower(verb) => follower::run(global, verb).await,
        Channel::Steward(verb) => steward::run(global, verb).await,
    }
}

fn render(listed: &Channels, terminal: Terminal) -> Vec<String> {
    let row = |channel: &Followed| {
        let state =
            [(channel.own, "steward"), (channel.audit, "audit"), (channel.held, "held"), (channel.halted, "halted")];
        let state: Vec<_> = state.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        let height = channel.height.map_or_else(|| "?".to_owned(), |height| height.to_string());
        let heard = match channel.steward_heard {
            _ if channel.own => String::new(),
            Some(seconds) => date(seconds),
            None => "never".to_owned(),
        };
        vec![channel.name.to_string(), channel.channel.short(), height, heard, state.join(", ")]
    };
    let rows: Vec<_> = listed.channels.iter().map(row).collect();
    let columns = [
        Column::Text("name"),
        Column::Id("channel"),
        Column::Number("version"),
        Column::Text("steward heard"),
        Column::Text("state"),
    ];
    output::table(&columns, &rows, terminal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::{check_table, key, manifest, name};

    #[test]
    fn what_is_seen() {
        let own = Followed {
            name: name("helpers"),
            channel: manifest("helpers"),
            height: Some(3),
            version: Some(manifest("v3")),
            steward: Some(key("me")),
            held: true,
            audit: true,
            halted: false,
            own: true,
            steward_heard: Some(1_795_305_600),
        };
        let damaged = Followed {
            name: name(&"n".repeat(64)),
            channel: manifest("damaged"),
            height: None,
            steward: None,
            halted: true,
            own: false,
            steward_heard: None,
            ..own.clone()
        };
        let others =
            Followed { name: name("others"), channel: manifest("others"), own: false, held: false, ..own.clone() };
        let channels = vec![own, damaged, others];
        check_table("channel-list", |terminal| render(&Channels { channels: channels.clone() }, terminal));
        check_table("channel-list-empty", |terminal| render(&Channels { channels: Vec::new() }, terminal));
    }
}
