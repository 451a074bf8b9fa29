//! `potluck base follow|unfollow|update|channels|rollback|export`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::super::args::Global;
use super::super::output::{self, Column};
use super::super::run::{ask, ask_online};
use super::super::up;
use super::short;
use crate::api::channel;
use crate::api::proto::Request;
use crate::config;
use crate::failure::Outcome;
use crate::seconds::Seconds;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Follow a channel of base versions: take its newest version now, and new ones while `potluck up` runs
    Follow(Box<Follow>),
    /// Follow it no longer; what is here of it stays
    Unfollow {
        #[arg(value_name = "CHANNEL")]
        channel: String,
        /// Also a channel of which you are the steward
        #[arg(long)]
        force: bool,
    },
    /// Take the newest version of a channel now; also ends what a rollback holds
    Update(Box<Update>),
    /// List the channels that are followed
    Channels,
    /// Go back to an earlier version, here alone, until the next `base update`
    Rollback(Rollback),
    /// Write a version as a folder of merged safetensors
    Export {
        /// Channel, version id, or base id of a version
        #[arg(value_name = "REF")]
        channel: String,
        /// Folder to write: whole or not at all
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Follow a channel of base versions.
///
/// A version comes as its recipe and the adapters that are not here yet, never as a model: genesis must be here
/// (`potluck base add`), or a quantised file of it (`potluck base add FILE.gguf --view-of REF`). What is signed by
/// another key than the steward's, or does not follow from the version before, is never taken.
#[derive(Debug, Args)]
pub struct Follow {
    /// Channel: name or id of one that was heard of (`potluck search`), or the whole id, as its steward got it from
    /// `potluck base open`
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// What to call it here [default: its own name]
    #[arg(long)]
    name: Option<String>,
    /// Fold every version from genesis and compare before it is taken; what is wrong is published as a proof
    #[arg(long)]
    audit: bool,
    /// How long to look for each thing
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Used if no daemon runs on this home
    #[command(flatten)]
    network: up::Network,
}

/// Take the newest version of a channel now.
#[derive(Debug, Args)]
pub struct Update {
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// How long to look for each thing
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Used if no daemon runs on this home
    #[command(flatten)]
    network: up::Network,
}

/// Go back to an earlier version.
#[derive(Debug, Args)]
pub struct Rollback {
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Height to go back to; 0 is genesis [default: the one before]
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u32>,
    /// As the steward: publish a version with that recipe, for all followers
    #[arg(long)]
    publish: bool,
    /// Threads for folding, with --publish; the result does not depend on it
    #[arg(long, value_name = "N", requires = "publish")]
    threads: Option<usize>,
}

#[derive(Deserialize)]
struct InForce {
    name: String,
    /// Not of what a steward publishes.
    #[serde(default)]
    from: Option<u32>,
    height: u32,
    base: String,
    #[serde(default)]
    channel: Option<String>,
    /// Whose key signs the channel's versions.
    #[serde(default)]
    steward: Option<String>,
    #[serde(default)]
    fetched_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Unfollowed {
    name: String,
}

#[derive(Deserialize)]
struct Listed {
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    name: String,
    channel: String,
    height: Option<u32>,
    held: bool,
    audit: bool,
    halted: bool,
    own: bool,
}

#[derive(Deserialize)]
struct Exported {
    folder: PathBuf,
    name: String,
    height: u32,
    base: String,
}

pub async fn run(global: &Global, verb: &Verb) -> Outcome<()> {
    match verb {
        Verb::Follow(follow) => {
            let answer = ask_online(global, &request(follow.request()), &follow.network).await?;
            output::answer(global, answer, in_force)
        }
        Verb::Update(update) => {
            let (channel, timeout_seconds) = (update.channel.clone(), update.timeout);
            let asked = request(channel::Request::Update { channel, timeout_seconds });
            output::answer(global, ask_online(global, &asked, &update.network).await?, in_force)
        }
        Verb::Rollback(rollback) => output::answer(global, ask(global, &request(rollback.request())).await?, in_force),
        Verb::Unfollow { channel, force } => {
            let asked = request(channel::Request::Unfollow { channel: channel.clone(), force: *force });
            output::answer(global, ask(global, &asked).await?, |gone: Unfollowed| {
                vec![format!("{} is not followed any more", gone.name)]
            })
        }
        Verb::Channels => output::answer(global, ask(global, &request(channel::Request::List)).await?, listed),
        Verb::Export { channel, out } => {
            let (channel, out) = (channel.clone(), config::absolute(out)?);
            let answer = ask(global, &request(channel::Request::Export { channel, out })).await?;
            output::answer(global, answer, |done: Exported| {
                vec![
                    format!("version {} of {}, base {}", done.height, done.name, done.base),
                    done.folder.display().to_string(),
                ]
            })
        }
    }
}

fn request(request: channel::Request) -> Request {
    Request::Channel(Box::new(request))
}

fn in_force(now: InForce) -> Vec<String> {
    let fetched = now.fetched_bytes.map(|bytes| format!(", {} fetched", output::bytes(bytes))).unwrap_or_default();
    let version = |height| if height == 0 { "genesis".to_owned() } else { format!("version {height}") };
    let moved = match now.from {
        Some(from) if from == now.height => format!("{}: {} is the newest{fetched}", now.name, version(now.height)),
        Some(from) => {
            format!("{}: {} is in force, before it was {}{fetched}", now.name, version(now.height), version(from))
        }
        None => format!("{}: {} is published and in force", now.name, version(now.height)),
    };
    // Names can be imitated: whose channel it is, is told.
    let whose = now
        .channel
        .zip(now.steward)
        .map(|(channel, steward)| format!("channel {}, steward {steward}", short(&channel)));
    [Some(moved), whose, Some(now.base)].into_iter().flatten().collect()
}

fn listed(listed: Listed) -> Vec<String> {
    let rows = listed.channels.into_iter().map(|channel| {
        let state =
            [(channel.own, "steward"), (channel.audit, "audit"), (channel.held, "held"), (channel.halted, "halted")];
        let state: Vec<_> = state.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        let height = channel.height.map_or_else(|| "?".to_owned(), |height| height.to_string());
        vec![channel.name, short(&channel.channel), height, state.join(", ")]
    });
    let columns = [Column::Text("name"), Column::Id("channel"), Column::Number("version"), Column::Text("state")];
    output::table(&columns, &rows.collect::<Vec<_>>())
}

impl Follow {
    fn request(&self) -> channel::Request {
        channel::Request::Follow(channel::Follow {
            channel: self.channel.clone(),
            name: self.name.clone(),
            audit: self.audit,
            timeout_seconds: self.timeout,
        })
    }
}

impl Rollback {
    fn request(&self) -> channel::Request {
        channel::Request::Rollback(channel::Rollback {
            channel: self.channel.clone(),
            to: self.to,
            publish: self.publish,
            threads: self.threads.unwrap_or_else(config::processors),
        })
    }
}
