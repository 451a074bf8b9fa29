//! What the demo ends with: one object for programs, one table for people.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Kind, Outcome};
use crate::text::{self, Column};
use crate::worker::proto::Measured;

/// Schema `potluck.demo/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub seconds: f64,
    pub base: BaseLine,
    pub nodes: Vec<NodeLine>,
    pub skills: Vec<SkillLine>,
    pub channel: ChannelLine,
    /// What rebuilding the released version gave on each node, in the order of `nodes`.
    pub merged_digests: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BaseLine {
    pub name: String,
    pub id: String,
}

/// The channel with the version that was released.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelLine {
    /// Manifest ids.
    pub id: String,
    pub version: String,
    pub height: u64,
    pub digest: String,
    /// The version's weights as a base.
    pub base: String,
    /// What became of each proposal.
    pub verdicts: Value,
}

impl ChannelLine {
    /// From the steward's answer.
    pub fn new(id: String, release: &Value) -> Outcome<Self> {
        let missing = |name: &str| Failure::new(Kind::Failed, format!("the steward's answer has no `{name}`"));
        let text = |name: &str| release[name].as_str().map(str::to_owned).ok_or_else(|| missing(name));
        Ok(Self {
            id,
            version: text("version")?,
            height: release["height"].as_u64().ok_or_else(|| missing("height"))?,
            digest: text("digest")?,
            base: text("base")?,
            verdicts: release["verdicts"].clone(),
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct NodeLine {
    /// Of the daemon.
    pub pid: u32,
    pub home: PathBuf,
    pub peer: String,
    pub skill: String,
    /// Manifest id of its adapter.
    pub adapter: String,
    pub train_seconds: f64,
    pub tokens_per_second: f64,
    pub fetched_bytes: u64,
    pub fetched_from: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SkillLine {
    pub name: String,
    /// Held-out prompts.
    pub heldout: u64,
    pub base: Figure,
    pub adapter: Figure,
    pub merged: Figure,
}

/// Exact match, 0 to 1, and loss per completion token in nats.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    pub accuracy: f64,
    pub loss: f64,
}

impl From<Measured> for Figure {
    fn from(measured: Measured) -> Self {
        Self { accuracy: measured.accuracy.unwrap_or_default(), loss: measured.loss }
    }
}

impl SkillLine {
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
    pub fn to_json(&self) -> Outcome<Value> {
        let mut object = serde_json::json!({ "schema": "potluck.demo/1" });
        let fields = serde_json::to_value(self).map_err(|error| Failure::new(Kind::Failed, error))?;
        if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
            object.extend(fields);
        }
        Ok(object)
    }

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
    pub fn table(&self) -> Vec<String> {
        let rows: Vec<_> = self
            .skills
            .iter()
            .zip(&self.nodes)
            .map(|(skill, node)| {
                vec![
                    skill.name.clone(),
                    text::percent(skill.base.accuracy),
                    text::percent(skill.adapter.accuracy),
                    text::percent(skill.merged.accuracy),
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
        lines.extend(text::table(&[&[Column::Text("skill")], &figures[..]].concat(), &rows));
        lines.push(String::new());
        let digest: String =
            self.merged_digests.first().map_or_else(String::new, |digest| digest.chars().take(12).collect());
        lines.push(match self.outcome() {
            Ok(()) => format!(
                "Version {} of channel {} is out; all {} nodes rebuilt it: digest {digest}...",
                self.channel.height,
                self.channel.id.chars().take(12).collect::<String>(),
                self.nodes.len()
            ),
            Err(failure) => failure.message,
        });
        lines.push(format!("One base now has every skill. It took {:.0} s.", self.seconds));
        lines
    }
}
