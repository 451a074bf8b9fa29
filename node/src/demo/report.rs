//! What the demo ends with: one object for programs, one table for people.

use std::path::PathBuf;

use potluck_protocol::id::{BaseId, FoldDigest, ManifestId};
use serde::Serialize;

use crate::api::answers::{NewRelease, NewVersion, ProposalVerdict};
use crate::failure::{Failure, Kind, Outcome};
use crate::text::{self, Column, Terminal};
use crate::worker::proto::Measured;

/// What the demo found, and how long it took.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From the start to the report.
    pub seconds: f64,
    /// What the volunteers trained on.
    pub base: BaseLine,
    /// The volunteers.
    pub nodes: Vec<NodeLine>,
    /// What each skill scores.
    pub skills: Vec<SkillLine>,
    /// What was released.
    pub channel: ChannelLine,
    /// What rebuilding the released version gave on each node, in the order of `nodes`.
    pub merged_digests: Vec<FoldDigest>,
}

/// The base of the demo.
#[derive(Clone, Debug, Serialize)]
pub struct BaseLine {
    /// As it was asked for.
    pub name: String,
    /// Base id.
    pub id: BaseId,
}

/// The channel with the version that was released.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelLine {
    /// Manifest id of the channel.
    pub id: ManifestId,
    /// Manifest id of the version.
    pub version: ManifestId,
    /// Of the version in the channel: 1 for its first.
    pub height: u32,
    /// Of the version's weights, as the steward folded them.
    pub digest: FoldDigest,
    /// The version's weights as a base.
    pub base: BaseId,
    /// What became of each proposal.
    pub verdicts: Vec<ProposalVerdict>,
}

impl From<NewRelease> for ChannelLine {
    fn from(release: NewRelease) -> Self {
        let NewVersion { channel, version, height, digest, base, .. } = release.version;
        Self { id: channel, version, height, digest, base, verdicts: release.verdicts }
    }
}

/// A volunteer, and what its training gave.
#[derive(Clone, Debug, Serialize)]
pub struct NodeLine {
    /// Of the daemon.
    pub pid: u32,
    /// Of the daemon.
    pub home: PathBuf,
    /// Peer id of the daemon.
    pub peer: String,
    /// The skill that it trained.
    pub skill: String,
    /// Manifest id of its adapter.
    pub adapter: ManifestId,
    /// How long its training ran.
    pub train_seconds: f64,
    /// Tokens that training took in per second.
    pub tokens_per_second: f64,
    /// Bytes of shards that it fetched from the others.
    pub fetched_bytes: u64,
    /// Peer ids of those that it fetched from.
    pub fetched_from: Vec<String>,
}

/// What a skill scores on its held-out prompts.
#[derive(Clone, Debug, Serialize)]
pub struct SkillLine {
    /// Of the skill.
    pub name: String,
    /// Held-out prompts.
    pub heldout: u64,
    /// Of the base alone.
    pub base: Figure,
    /// Of the base with the skill's own adapter.
    pub adapter: Figure,
    /// Of the released version.
    pub merged: Figure,
}

/// Exact match, 0 to 1, and loss per completion token in nats.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// Share of prompts whose completion is exactly right, 0 to 1.
    pub exact_match: f64,
    /// Per completion token, in nats.
    pub loss: f64,
}

impl From<Measured> for Figure {
    fn from(measured: Measured) -> Self {
        Self { exact_match: measured.exact_match.unwrap_or_default(), loss: measured.loss }
    }
}

impl SkillLine {
    /// From measurements of the base, of its own adapter and of the released version, in this order.
    pub fn new(name: &str, [base, adapter, merged]: [Measured; 3]) -> Self {
        Self {
            name: name.to_owned(),
            heldout: base.samples,
            base: base.into(),
            adapter: adapter.into(),
            merged: merged.into(),
        }
    }
}

impl Report {
    /// Name and version of its form.
    pub const SCHEMA: &'static str = "potluck.demo/2";

    /// Whether every node came to the version that was signed.
    pub fn outcome(&self) -> Outcome<()> {
        let same = self.merged_digests.iter().all(|digest| *digest == self.channel.digest);
        if same && !self.merged_digests.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Verification,
            "the nodes came to other bytes than the version states, which must not happen",
        )
        .hint("please report it with the output of `potluck demo --json`"))
    }

    /// A table that says at a glance what the exchange was good for.
    pub fn table(&self, terminal: Terminal) -> Vec<String> {
        let rows: Vec<_> = self
            .skills
            .iter()
            .zip(&self.nodes)
            .map(|(skill, node)| {
                vec![
                    skill.name.clone(),
                    text::percent(skill.base.exact_match),
                    text::percent(skill.adapter.exact_match),
                    text::percent(skill.merged.exact_match),
                    format!("{:.0} s", node.train_seconds),
                    text::bytes(node.fetched_bytes),
                ]
            })
            .collect();
        let mut lines = vec![String::new()];
        lines.push(format!(
            "Right answers of {} held-out prompts a skill; {} volunteers, base {}",
            self.skills.first().map_or(0, |skill| skill.heldout),
            self.nodes.len(),
            self.base.name
        ));
        lines.push(String::new());
        let figures = ["base alone", "own adapter", "version 1", "trained in", "fetched"].map(Column::Number);
        lines.extend(text::table(&[&[Column::Text("skill")], &figures[..]].concat(), &rows, terminal));
        lines.push(String::new());
        let digest = self.merged_digests.first().map_or_else(String::new, FoldDigest::short);
        lines.push(match self.outcome() {
            Ok(()) => format!(
                "Version {} of channel {} is out; all {} nodes rebuilt it: digest {digest}...",
                self.channel.height,
                self.channel.id.short(),
                self.nodes.len()
            ),
            Err(failure) => failure.message,
        });
        lines.push(format!("One base now has every skill. It took {:.0} s.", self.seconds));
        lines
    }
}
