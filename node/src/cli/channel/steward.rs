//! `potluck channel open|propose|release|revoke`

mod answers;

use std::path::Path;

use clap::{Args, Subcommand};
use potluck_protocol::channel::Role;

use self::answers::{render_opened, render_proposed, render_released, render_revoked};
use super::super::ask::ask;
use super::super::global::Global;
use super::super::{output, references};
use crate::api::ask::Ask;
use crate::api::channel::{self, SuiteRows};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::seconds::Seconds;

/// Parts of a million in one percent.
const PPM_PER_PERCENT: f64 = 10_000.0;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Open a channel, with this node's key as its steward
    Open(Box<Open>),
    /// Offer a published adapter to a channel
    Propose(Propose),
    /// As the steward: score the proposals on the next sealed shard and publish the next version
    Release(Release),
    /// As the steward: remove adapters permanently and publish a version without them
    Revoke(Revoke),
}

/// Open a channel, with this node's key as its steward.
///
/// The rows of each suite are distributed at random over sealed shards, one for each release that will be scored. They
/// stay in the home folder, and the channel publishes commitments to them. A release opens one shard and makes its rows
/// public. The rules cannot be changed later; other rules need another channel.
#[derive(Debug, Args)]
pub struct Open {
    /// Name of the channel
    name: String,
    /// Base that every version is folded from; or a version of another channel, to fork it
    #[arg(long, value_name = "REF")]
    genesis: String,
    /// Rows on which adapters must lower the loss; repeatable
    #[arg(long, value_name = "NAME=ROWS.jsonl")]
    improve: Vec<String>,
    /// Rows on which the loss must not rise: what the base can do already; repeatable
    #[arg(long, value_name = "NAME=ROWS.jsonl")]
    keep: Vec<String>,
    /// Number of sealed shards, one for each scored release
    #[arg(long, default_value_t = 8)]
    shards: u32,
    /// Publisher that may propose, as a key or a peer id; repeatable. Without it, everybody may
    #[arg(long, value_name = "KEY")]
    admit: Vec<String>,
    /// Licence that a proposed adapter may have; repeatable. Without it, any
    #[arg(long, alias = "allow-license", value_name = "SPDX")]
    allow_licence: Vec<String>,
    /// How much an adapter must reduce the mean held-out loss, e.g. 0.1%, or in parts per million
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = share)]
    gain: u64,
    /// How far the perplexity of the --keep rows may rise above that of genesis
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share)]
    guard: u64,
    /// Norm of an update, relative to that of the weights it changes, above which its weight is lowered
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = share)]
    clip: u64,
    /// Relative norm above which an adapter is refused
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = share)]
    refuse: u64,
    /// Float type of the versions [default: that of genesis]
    #[arg(long, value_name = "f32|f16|bf16")]
    dtype: Option<String>,
    /// SPDX licence of the versions
    #[arg(long, alias = "license", default_value = "", value_name = "SPDX")]
    licence: String,
    /// Description in one sentence
    #[arg(long, default_value = "")]
    description: String,
}

/// Offer a published adapter to a channel.
#[derive(Debug, Args)]
pub struct Propose {
    /// Adapter with an optional weight, e.g. `dates@0.5` [default weight: 1]
    #[arg(value_name = "REF[@WEIGHT]")]
    adapter: String,
    /// Channel: name or id of a followed or known one, or the full id of another
    #[arg(long, value_name = "CHANNEL")]
    to: String,
    /// Time limit for finding the channel if it is not known here
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    timeout: Seconds,
}

/// Score the proposals on the next sealed shard and publish the next version.
///
/// The rows of that shard become public with the version, so that anyone can repeat the scoring. A shard never scores
/// twice.
#[derive(Debug, Args)]
pub struct Release {
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Time limit for finding and fetching all that was proposed and is not here; one adapter may take a quarter of it
    #[arg(long, default_value = "600", value_name = "SECONDS")]
    timeout: Seconds,
    /// Threads for scoring and folding; the result does not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Sign without asking peers for newer versions by this key; wrong in a home that was restored or copied
    #[arg(long)]
    offline: bool,
}

/// Remove adapters from a channel permanently, and publish a version without them.
#[derive(Debug, Args)]
pub struct Revoke {
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Adapters in force: name, id, or the start of one
    #[arg(value_name = "ADAPTER", required = true)]
    adapters: Vec<String>,
    /// Threads for folding; the result does not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Sign without asking peers for newer versions by this key; wrong in a home that was restored or copied
    #[arg(long)]
    offline: bool,
}

pub async fn run(global: &Global, verb: &Verb) -> Outcome<()> {
    match verb {
        Verb::Open(open) => {
            let opened = ask(global, open.request(global)?).await?;
            output::answer(global, channel::Open::SCHEMA, &opened, |opened, _| render_opened(opened))
        }
        Verb::Propose(propose) => {
            let proposed = ask(global, propose.request()?).await?;
            output::answer(global, channel::Propose::SCHEMA, &proposed, |proposed, _| render_proposed(proposed))
        }
        Verb::Release(release) => {
            output::answer(global, channel::Release::SCHEMA, &ask(global, release.request()).await?, render_released)
        }
        Verb::Revoke(revoke) => {
            let revoked = ask(global, revoke.request()).await?;
            output::answer(global, channel::Revoke::SCHEMA, &revoked, |revoked, _| render_revoked(revoked))
        }
    }
}

impl Open {
    fn request(&self, global: &Global) -> Outcome<channel::Open> {
        let improve = self.improve.iter().map(|text| suite(text, Role::Improve));
        let suites = improve.chain(self.keep.iter().map(|text| suite(text, Role::Keep))).collect::<Outcome<_>>()?;
        Ok(channel::Open {
            name: self.name.clone(),
            genesis: references::base(global, &self.genesis)?,
            description: self.description.clone(),
            licence: self.licence.clone(),
            dtype: self.dtype.clone(),
            admit: self.admit.clone(),
            licences: self.allow_licence.clone(),
            suites,
            shards: self.shards,
            gain_ppm: self.gain.min(u64::from(u32::MAX)) as u32,
            guard_ppm: self.guard.min(u64::from(u32::MAX)) as u32,
            clip_ppm: self.clip,
            refuse_ppm: self.refuse,
        })
    }
}

impl Propose {
    fn request(&self) -> Outcome<channel::Propose> {
        let adapter = references::weighted_one(&self.adapter)?;
        Ok(channel::Propose {
            channel: self.to.clone(),
            adapter: adapter.reference,
            weight: adapter.weight,
            timeout_seconds: self.timeout,
        })
    }
}

impl Release {
    fn request(&self) -> channel::Release {
        channel::Release {
            channel: self.channel.clone(),
            timeout_seconds: self.timeout,
            threads: self.threads.unwrap_or_else(config::processors),
            offline: self.offline,
        }
    }
}

impl Revoke {
    fn request(&self) -> channel::Revoke {
        channel::Revoke {
            channel: self.channel.clone(),
            adapters: self.adapters.clone(),
            threads: self.threads.unwrap_or_else(config::processors),
            offline: self.offline,
        }
    }
}

/// `NAME=ROWS.jsonl`
fn suite(text: &str, role: Role) -> Outcome<SuiteRows> {
    let (name, rows) = text.split_once('=').ok_or_else(|| {
        Failure::new(Kind::Usage, format!("`{text}` does not name a file of rows"))
            .hint("e.g. --improve dates=held-out.jsonl")
    })?;
    Ok(SuiteRows { name: name.to_owned(), role, rows: config::absolute(Path::new(rows))? })
}

/// `0.1%`, or parts per million: `1000`.
fn share(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a share: give e.g. 0.1%, or 1000 for parts per million");
    let ppm = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? * PPM_PER_PERCENT,
        None => text.trim().parse::<u64>().map_err(|_| wrong())? as f64,
    };
    // Beyond 1e15 a u64 still holds it, and nothing real is near.
    if (0.0..=1e15).contains(&ppm) { Ok(ppm.round() as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Verb as Typed};
    use crate::cli::channel::Channel;
    use crate::cli::snapshots::{check_failures, refusal};

    #[test]
    fn shares_are_percent_or_parts_per_million() {
        for (text, ppm) in [("0.1%", 1_000), ("1 %", 10_000), ("300%", 3_000_000), ("1000", 1_000), ("0", 0)] {
            assert_eq!(share(text), Ok(ppm), "{text}");
        }
        for text in ["", "%", "-1%", "nan%", "inf%", "1e99%", "0.5", "-3"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_seen_of_a_wrong_command() {
        let verb = |cli: &Cli, verb: &Typed| match verb {
            Typed::Channel(Channel::Steward(Verb::Open(open))) => open.request(&cli.global).map(drop),
            Typed::Channel(Channel::Steward(Verb::Propose(propose))) => propose.request().map(drop),
            _ => Ok(()),
        };
        check_failures(
            "channel-error",
            &[
                refusal("channel open helpers --genesis tiny --improve rows.jsonl", verb),
                refusal("channel propose sql@heavy --to helpers", verb),
            ],
        );
    }
}
