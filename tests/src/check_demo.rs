//! Whether a demo showed what it promises: three volunteers came to one base that is better at everything.
//!
//! Seconds are printed, never judged: a slow machine is no defect.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Deserialize;

/// What a demo must show.
#[derive(Clone, Debug, clap::Args)]
pub struct Demands {
    /// Volunteers
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Least gain of the own adapter over the base on its skill, in points of exact match
    #[arg(long, default_value_t = 60.0)]
    pub own: f64,
    /// Least gain of the merged base on every skill, in points; it is above the base in any case
    #[arg(long, default_value_t = 0.0)]
    pub merged: f64,
    /// Least mean gain of the merged base as a share of the mean own gain
    #[arg(long, default_value_t = 0.5)]
    pub merged_share: f64,
    /// Least number of held-out prompts of each skill
    #[arg(long, default_value_t = 200)]
    pub heldout: u64,
}

/// The object that `potluck demo --json` prints, schema `potluck.demo/2`.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub schema: Schema,
    pub seconds: f64,
    pub base: Base,
    pub nodes: Vec<Node>,
    pub skills: Vec<Skill>,
    pub channel: Channel,
    /// What rebuilding the released version gave on each node, in the order of `nodes`.
    pub merged_digests: Vec<String>,
}

/// The one schema that is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Schema {
    #[serde(rename = "potluck.demo/2")]
    Demo1,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Base {
    pub name: String,
    pub id: String,
}

/// The channel that all follow, with what was released on it.
#[derive(Clone, Debug, Deserialize)]
pub struct Channel {
    /// Manifest ids.
    pub id: String,
    pub version: String,
    pub height: u64,
    /// What the steward signed that the recipe gives.
    pub digest: String,
    pub verdicts: Vec<Verdict>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    pub adapter: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    pub pid: u32,
    pub home: String,
    pub peer: String,
    pub skill: String,
    /// Manifest id.
    pub adapter: String,
    pub train_seconds: f64,
    pub tokens_per_second: f64,
    pub fetched_bytes: u64,
    /// Peers.
    pub fetched_from: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Skill {
    pub name: String,
    /// Prompts.
    pub heldout: u64,
    pub base: Figure,
    pub adapter: Figure,
    pub merged: Figure,
}

/// Exact match from 0 to 1, and mean loss in nats per token of the completions.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Figure {
    pub exact_match: f64,
    pub loss: f64,
}

impl Skill {
    /// Points that the adapter gains over the base.
    fn own_gain(&self) -> f64 {
        100.0 * (self.adapter.exact_match - self.base.exact_match)
    }

    /// Points that the merged base gains over the base.
    fn merged_gain(&self) -> f64 {
        100.0 * (self.merged.exact_match - self.base.exact_match)
    }
}

impl Report {
    /// Reads the last line that is not blank: `--json` prints its object there.
    pub fn parse(output: &str) -> serde_json::Result<Self> {
        serde_json::from_str(output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default())
    }

    /// What does not hold, in words; empty if all does.
    pub fn findings(&self, demands: &Demands) -> Vec<String> {
        let parts = [
            self.of_nodes(demands),
            self.of_exchange(),
            self.of_skills(demands),
            self.of_channel(),
            self.of_merge(demands),
        ];
        parts.concat()
    }

    fn of_nodes(&self, demands: &Demands) -> Vec<String> {
        let mut found = Findings::default();
        let count = self.nodes.len();
        found.unless(count == demands.nodes, || format!("{} nodes, there are {count}", demands.nodes));
        let distinct = |text: &dyn Fn(&Node) -> String| self.nodes.iter().map(text).collect::<BTreeSet<_>>().len();
        found.unless(distinct(&|node| node.pid.to_string()) == count, || "each node is a process of its own".into());
        found.unless(distinct(&|node| node.home.clone()) == count, || "each node has a home of its own".into());
        found.unless(distinct(&|node| node.peer.clone()) == count, || "each node has a peer id of its own".into());
        found.unless(distinct(&|node| node.skill.clone()) == count, || "each node has a skill of its own".into());
        for node in &self.nodes {
            let known = self.skills.iter().any(|skill| skill.name == node.skill);
            found.unless(known, || format!("`{}` is among the skills", node.skill));
            found.unless(is_id(&node.adapter), || format!("{:?} is the id of an adapter", node.adapter));
        }
        found.unless(is_id(&self.base.id), || format!("{:?} is the id of a base", self.base.id));
        found.0
    }

    /// Every node got the others' adapters from other nodes.
    fn of_exchange(&self) -> Vec<String> {
        let mut found = Findings::default();
        for node in &self.nodes {
            let peer = &node.peer;
            let others = |from: &String| from != peer && self.nodes.iter().any(|other| other.peer == *from);
            found.unless(node.fetched_bytes > 0, || format!("{peer} fetched something"));
            let good = !node.fetched_from.is_empty() && node.fetched_from.iter().all(others);
            found.unless(good, || format!("{peer} fetched from other nodes of the demo, not {:?}", node.fetched_from));
        }
        found.0
    }

    fn of_skills(&self, demands: &Demands) -> Vec<String> {
        let mut found = Findings::default();
        found.unless(!self.skills.is_empty(), || "there are skills".into());
        for skill in &self.skills {
            let name = &skill.name;
            let figures = [skill.base, skill.adapter, skill.merged];
            let valid = figures.iter().all(|f| (0.0..=1.0).contains(&f.exact_match) && f.loss.is_finite());
            found.unless(valid, || format!("the figures of `{name}` are numbers, accuracies from 0 to 1"));
            let heldout = skill.heldout;
            found.unless(heldout >= demands.heldout, || {
                format!("`{name}` has {} held-out prompts, it has {heldout}", demands.heldout)
            });
            let (own, merged) = (skill.own_gain(), skill.merged_gain());
            found.unless(reaches(own, demands.own), || {
                format!("the adapter gains {} points on `{name}`, it gains {own:.1}", demands.own)
            });
            found.unless(merged > 0.0 && reaches(merged, demands.merged), || {
                format!("the merged base gains {} points or more on `{name}`, it gains {merged:.1}", demands.merged)
            });
        }
        found.0
    }

    /// A version is out that judged every adapter.
    fn of_channel(&self) -> Vec<String> {
        let mut found = Findings::default();
        let channel = &self.channel;
        found.unless(is_id(&channel.id) && is_id(&channel.version), || "there are a channel and a version".into());
        found.unless(channel.height == 1, || format!("the version is the first, not number {}", channel.height));
        for node in &self.nodes {
            let judged = channel.verdicts.iter().any(|verdict| verdict.adapter == node.adapter);
            found.unless(judged, || format!("the adapter of `{}` was judged", node.skill));
        }
        found.0
    }

    fn of_merge(&self, demands: &Demands) -> Vec<String> {
        let mut found = Findings::default();
        let digests = &self.merged_digests;
        found.unless(digests.len() == self.nodes.len(), || "there is one merged digest for each node".into());
        let signed = &self.channel.digest;
        let equal = digests.iter().all(|digest| is_id(digest) && digest == signed);
        found.unless(equal, || format!("all rebuild what was signed, {signed}, they came to {digests:?}"));
        let (own, merged) = self.mean_gains();
        found.unless(reaches(merged, demands.merged_share * own), || {
            format!(
                "the merged base keeps {} of the mean own gain {own:.1}, it keeps {merged:.1}",
                demands.merged_share
            )
        });
        found.0
    }

    fn mean_gains(&self) -> (f64, f64) {
        let mean = |gain: fn(&Skill) -> f64| self.skills.iter().map(gain).sum::<f64>() / self.skills.len() as f64;
        (mean(Skill::own_gain), mean(Skill::merged_gain))
    }

    /// The figures for people.
    pub fn summary(&self) -> String {
        let mut text = format!("base {}, {} nodes, {:.0} s\n", self.base.name, self.nodes.len(), self.seconds);
        for node in &self.nodes {
            let (skill, seconds, rate) = (&node.skill, node.train_seconds, node.tokens_per_second);
            let kib = node.fetched_bytes / 1024;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {skill}: trained {seconds:.0} s at {rate:.0} tokens/s, fetched {kib} KiB");
        }
        for skill in &self.skills {
            let [base, own, merged] =
                [skill.base, skill.adapter, skill.merged].map(|figure| 100.0 * figure.exact_match);
            let _ = writeln!(
                text,
                "  {}: exact match {base:.1} % base, {own:.1} % own adapter, {merged:.1} % merged, of {}",
                skill.name, skill.heldout
            );
        }
        let (own, merged) = self.mean_gains();
        let _ = writeln!(text, "  the merged base keeps {:.0} % of the mean own gain", 100.0 * merged / own);
        text
    }
}

/// At least as much, but for the rounding of a subtraction of fractions.
fn reaches(value: f64, least: f64) -> bool {
    value >= least - 1e-9
}

/// 64 lower-case hex digits.
fn is_id(text: &str) -> bool {
    text.parse::<potluck_protocol::id::Digest>().is_ok()
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn unless(&mut self, holds: bool, claim: impl FnOnce() -> String) {
        if !holds {
            self.0.push(claim());
        }
    }
}

#[cfg(test)]
mod tests;
