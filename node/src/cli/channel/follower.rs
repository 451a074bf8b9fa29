//! `potluck channel follow|unfollow|update|rollback|export`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::ask::{ask, ask_online};
use super::super::global::Global;
use super::super::network_flags::Network;
use super::super::output;
use crate::api::answers::{Exported, InForce, NewVersion, RolledBack, Unfollowed};
use crate::api::ask::Ask;
use crate::api::channel;
use crate::config;
use crate::failure::Outcome;
use crate::seconds::Seconds;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Follow a channel: take its newest version now, and new ones while `potluck up` runs
    Follow(Box<Follow>),
    /// Stop following a channel; its files stay
    Unfollow {
        #[arg(value_name = "CHANNEL")]
        channel: String,
        /// Even if this node is the channel's steward
        #[arg(long)]
        force: bool,
    },
    /// Take the newest version of a channel now; also ends a rollback
    Update(Box<Update>),
    /// Go back to an earlier version, on this node only, until the next `channel update`
    Rollback(Rollback),
    /// Write a version as a folder of merged safetensors
    Export {
        /// Channel, version id, or base id of a version
        #[arg(value_name = "REF")]
        channel: String,
        /// Folder to write; it appears completely or not at all
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Follow a channel of base versions.
///
/// Only a version's recipe and its missing adapters are fetched, never a model: genesis must be here (`potluck base
/// add`), or a quantised file of it (`potluck base add FILE.gguf --view-of REF`). A version that the steward did not
/// sign, or that does not follow from the one before, is never taken.
#[derive(Debug, Args)]
pub struct Follow {
    /// Channel: name or id of a known one (`potluck search`), or the full id as printed by `potluck channel open`
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Local name [default: the channel's name]
    #[arg(long)]
    name: Option<String>,
    /// Fold every version from genesis and compare before taking it; a mismatch is published as a proof
    #[arg(long)]
    audit: bool,
    /// Time limit for fetching each version and adapter
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Network options, used if no daemon runs on this home
    #[command(flatten)]
    network: Network,
}

/// Take the newest version of a channel now.
#[derive(Debug, Args)]
pub struct Update {
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Time limit for fetching each version and adapter
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
    /// Network options, used if no daemon runs on this home
    #[command(flatten)]
    network: Network,
}

/// Go back to an earlier version.
#[derive(Debug, Args)]
pub struct Rollback {
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Height to go back to; 0 is genesis [default: the version before]
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u32>,
    /// As the steward: publish a version with that recipe, for all followers
    #[arg(long)]
    publish: bool,
    /// Threads for folding, with --publish; the result does not depend on it
    #[arg(long, value_name = "N", requires = "publish")]
    threads: Option<usize>,
    /// With --publish: sign without asking peers for newer versions by this key; wrong in a home that was restored or
    /// copied
    #[arg(long, requires = "publish")]
    offline: bool,
}

pub async fn run(global: &Global, verb: &Verb) -> Outcome<()> {
    match verb {
        Verb::Follow(follow) => {
            let answer = ask_online(global, follow.request(), &follow.network).await?;
            output::answer(global, channel::Follow::SCHEMA, &answer, |now, _| render(now))
        }
        Verb::Update(update) => {
            let answer = ask_online(global, update.request(), &update.network).await?;
            output::answer(global, channel::Update::SCHEMA, &answer, |now, _| render(now))
        }
        Verb::Rollback(rollback) => {
            let answer = ask(global, rollback.request()).await?;
            output::answer(global, channel::Rollback::SCHEMA, &answer, |back, _| render_rollback(back))
        }
        Verb::Unfollow { channel, force } => {
            let answer = ask(global, channel::Unfollow { channel: channel.clone(), force: *force }).await?;
            output::answer(global, channel::Unfollow::SCHEMA, &answer, |gone, _| render_unfollowed(gone))
        }
        Verb::Export { channel, out } => {
            let request = channel::Export { channel: channel.clone(), out: config::absolute(out)? };
            let answer = ask(global, request).await?;
            output::answer(global, channel::Export::SCHEMA, &answer, |done, _| render_export(done))
        }
    }
}

fn render(now: &InForce) -> Vec<String> {
    let fetched = output::bytes(now.fetched_bytes);
    let (name, height) = (&now.name, version(now.height));
    let moved = if now.from == now.height {
        format!("{name}: {height} is the newest, {fetched} fetched")
    } else {
        format!("{name}: {height} is in force, before it was {}, {fetched} fetched", version(now.from))
    };
    // Names can be imitated: whose channel it is, is told.
    let whose = format!("channel {}, steward {}", now.channel.short(), now.steward.0);
    vec![moved, whose, now.base.to_string()]
}

fn render_rollback(back: &RolledBack) -> Vec<String> {
    match back {
        RolledBack::ForAll(back) => {
            let NewVersion { name, height, base, .. } = &back.version;
            vec![format!("{name}: {} is published and in force", version(*height)), base.to_string()]
        }
        RolledBack::Here(back) => {
            let (now, before) = (version(back.height), version(back.from));
            vec![format!("{}: {now} is in force, before it was {before}", back.name), back.base.to_string()]
        }
    }
}

fn version(height: u32) -> String {
    if height == 0 { "genesis".to_owned() } else { format!("version {height}") }
}

fn render_unfollowed(gone: &Unfollowed) -> Vec<String> {
    vec![format!("{} is not followed any more", gone.name)]
}

fn render_export(done: &Exported) -> Vec<String> {
    let Exported { name, height, base, folder, .. } = done;
    vec![format!("version {height} of {name}, base {base}"), folder.display().to_string()]
}

impl Follow {
    fn request(&self) -> channel::Follow {
        channel::Follow {
            channel: self.channel.clone(),
            name: self.name.clone(),
            audit: self.audit,
            timeout_seconds: self.timeout,
        }
    }
}

impl Update {
    fn request(&self) -> channel::Update {
        channel::Update { channel: self.channel.clone(), timeout_seconds: self.timeout }
    }
}

impl Rollback {
    fn request(&self) -> channel::Rollback {
        channel::Rollback {
            channel: self.channel.clone(),
            to: self.to,
            publish: self.publish,
            threads: self.threads.unwrap_or_else(config::processors),
            offline: self.offline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answers::{RolledBackForAll, RolledBackHere};
    use crate::cli::snapshots::{base, check, fold, key, manifest, name, recipe};

    #[test]
    fn what_is_seen() {
        let now = InForce {
            channel: manifest("helpers"),
            name: name("helpers"),
            steward: key("steward"),
            genesis: base("tiny"),
            from: 1,
            height: 3,
            version: Some(manifest("v3")),
            base: base("v3"),
            adapters: 4,
            audit: false,
            fetched_bytes: 206_336,
        };
        check("channel-follow", |_| render(&now));
        check("channel-update-nothing-new", |_| render(&InForce { from: 3, fetched_bytes: 0, ..now.clone() }));
        check("channel-follow-genesis", |_| render(&InForce { from: 0, height: 0, version: None, ..now.clone() }));
        let gone = Unfollowed { channel: manifest("helpers"), name: name("helpers") };
        check("channel-unfollow", |_| render_unfollowed(&gone));
    }

    #[test]
    fn what_is_seen_of_earlier_versions() {
        let here = RolledBackHere {
            channel: manifest("helpers"),
            name: name("helpers"),
            from: 3,
            height: 0,
            version: None,
            base: base("tiny"),
            held: true,
            published: false,
        };
        check("channel-rollback", |_| render_rollback(&RolledBack::Here(here.clone())));
        let version = NewVersion {
            channel: manifest("helpers"),
            name: name("helpers"),
            version: manifest("v4"),
            height: 4,
            change: potluck_protocol::channel::Change::Rollback(2),
            recipe: recipe("r"),
            digest: fold("d"),
            base: base("v2"),
            adapters: 2,
            announced: true,
        };
        let all = RolledBack::ForAll(Box::new(RolledBackForAll { version, back_to: 2, finished: None }));
        check("channel-rollback-publish", |_| render_rollback(&all));
        let exported = Exported {
            folder: "/home/me/merged".into(),
            channel: manifest("helpers"),
            name: name("helpers"),
            height: 3,
            version: manifest("v3"),
            parent: base("tiny"),
            inputs: Vec::new(),
            dtype: potluck_protocol::tensor::DType::BF16,
            digest: fold("d"),
            base: base("v3"),
        };
        check("channel-export", |_| render_export(&exported));
    }
}
