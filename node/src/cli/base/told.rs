//! What `potluck base open|propose|release|revoke` answers, in lines.

use potluck_protocol::channel::Role;
use serde::Deserialize;

use super::super::output::{self, Column};
use super::short;

#[derive(Deserialize)]
pub struct Opened {
    channel: String,
    name: String,
    genesis: String,
    forked_from: Option<String>,
    shards: usize,
    suites: Vec<Sealed>,
    announced: bool,
}

#[derive(Deserialize)]
struct Sealed {
    name: String,
    role: Role,
    rows: usize,
    repeats: usize,
    #[serde(default)]
    rows_a_release: usize,
    #[serde(default)]
    few: bool,
}

pub fn opened(opened: Opened) -> Vec<String> {
    let fork = opened.forked_from.map_or_else(String::new, |version| format!(", a fork of version {version}"));
    let mut lines = vec![format!("opened channel {} on base {}{fork}", opened.name, opened.genesis)];
    lines.extend(opened.suites.iter().map(|suite| {
        let role = match suite.role {
            Role::Improve => "to improve",
            Role::Keep => "to keep",
        };
        let repeats =
            if suite.repeats > 0 { format!(" ({} repeated ones left out)", suite.repeats) } else { String::new() };
        format!("  {}: {} rows {role}{repeats}, {} a release", suite.name, suite.rows, suite.rows_a_release)
    }));
    lines.extend(opened.suites.iter().filter(|suite| suite.few).map(|suite| {
        format!(
            "warning: {} rows of {} judge a release: so few make it a matter of chance, and nothing adds rows later; open \
             another channel with more rows, or fewer --shards",
            suite.rows_a_release, suite.name
        )
    }));
    lines.push(format!("sealed in {} shards, which stay in this home until a release opens them", opened.shards));
    lines.push(announced(opened.announced));
    lines.push(format!("others propose to it with `potluck base propose ADAPTER --to {}`", opened.channel));
    lines.push(opened.channel);
    lines
}

#[derive(Deserialize)]
pub struct Proposed {
    proposal: String,
    name: String,
    weight: f64,
    announced: bool,
}

pub fn proposed(proposed: Proposed) -> Vec<String> {
    vec![
        format!("proposed to channel {} at weight {}", proposed.name, proposed.weight),
        announced(proposed.announced),
        format!("what becomes of it: `potluck show {}`", short(&proposed.proposal)),
        proposed.proposal,
    ]
}

#[derive(Deserialize)]
pub struct Released {
    released: bool,
    name: String,
    version: Option<String>,
    height: u32,
    #[serde(default)]
    base: String,
    #[serde(default)]
    inputs: usize,
    #[serde(default)]
    announced: bool,
    verdicts: Vec<Verdict>,
    opened: Option<Shard>,
    #[serde(default)]
    shards_left: usize,
    later: usize,
    finished: Option<String>,
}

#[derive(Deserialize)]
struct Verdict {
    adapter: String,
    name: Option<String>,
    weight: Option<f64>,
    alone: Option<f64>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Shard {
    index: u32,
    suites: Vec<Suite>,
}

#[derive(Deserialize)]
struct Suite {
    suite: String,
    role: Role,
    genesis: f64,
    before: f64,
    after: f64,
}

pub fn released(released: Released) -> Vec<String> {
    let mut lines = finished(released.finished.as_deref());
    if released.verdicts.is_empty() {
        lines.push(format!("nothing is proposed to {} that was not judged before", released.name));
    }
    lines.extend(released.verdicts.iter().map(Verdict::line));
    if released.later > 0 {
        lines.push(format!(
            "{} proposals wait: their adapters are not here, and this node is on no network",
            released.later
        ));
    }
    if !released.released {
        lines.push("nothing is released, and no sealed shard was opened".to_owned());
        lines.extend(released.version);
        return lines;
    }
    if let Some(shard) = &released.opened {
        lines.extend(table(shard));
        lines.push(format!(
            "the rows of shard {} ARE PUBLIC NOW, as files of the version; {} sealed ones are left",
            shard.index, released.shards_left
        ));
    }
    lines.push(format!(
        "version {} of {}: {} adapters, base {}",
        released.height, released.name, released.inputs, released.base
    ));
    lines.push(announced(released.announced));
    lines.extend(released.version);
    lines
}

impl Verdict {
    fn line(&self) -> String {
        let short = short(&self.adapter);
        let name = self.name.as_deref().map_or_else(String::new, |name| format!("{} ", output::plain(name)));
        match (self.weight, self.alone, &self.reason) {
            (Some(weight), Some(alone), _) => {
                format!("taken    {name}{short} at weight {weight:.3}: alone {alone:+.4} nats")
            }
            (.., reason) => format!("refused  {name}{short}: {}", output::plain(reason.as_deref().unwrap_or_default())),
        }
    }
}

fn table(shard: &Shard) -> Vec<String> {
    let row = |suite: &Suite| {
        let name = match suite.role {
            Role::Improve => suite.suite.clone(),
            Role::Keep => format!("{} (to keep)", suite.suite),
        };
        let loss = |loss: f64| format!("{loss:.4}");
        vec![name, loss(suite.genesis), loss(suite.before), loss(suite.after)]
    };
    let rows: Vec<_> = shard.suites.iter().map(row).collect();
    output::table(
        &[Column::Text("loss"), Column::Number("genesis"), Column::Number("before"), Column::Number("now")],
        &rows,
    )
}

#[derive(Deserialize)]
pub struct Revoked {
    name: String,
    version: String,
    height: u32,
    inputs: usize,
    announced: bool,
    revoked: Vec<String>,
    finished: Option<String>,
}

pub fn revoked(revoked: Revoked) -> Vec<String> {
    let mut lines = finished(revoked.finished.as_deref());
    lines.extend(revoked.revoked.iter().map(|adapter| format!("revoked {adapter}")));
    lines.push(format!("version {} of {}: {} adapters", revoked.height, revoked.name, revoked.inputs));
    lines.push(
        "what was trained on a version that held it stays, and is marked stale in `potluck base show`".to_owned(),
    );
    lines.push(announced(revoked.announced));
    lines.push(revoked.version);
    lines
}

fn announced(announced: bool) -> String {
    if announced { "announced".to_owned() } else { "announced when `potluck up` runs".to_owned() }
}

fn finished(version: Option<&str>) -> Vec<String> {
    let line = |version| format!("version {version} was promised by a command that ended early: it is finished now");
    version.map(line).into_iter().collect()
}
