//! What `potluck channel open|propose|release|revoke` answers, in lines.

use potluck_protocol::channel::{Refusal, Role, VerdictOutcome};
use potluck_protocol::id::ManifestId;

use crate::api::answers::{
    NewRelease, NewVersion, NothingReleased, OpenedChannel, OpenedShard, ProposalVerdict, Proposed, Released, Revoked,
    SealedSuite, SuiteScore,
};
use crate::cli::output::{self, Column, Terminal};

pub fn render_opened(opened: &OpenedChannel) -> Vec<String> {
    let OpenedChannel { channel, name, genesis, .. } = opened;
    let fork = opened.forked_from.map_or_else(String::new, |version| format!(", a fork of version {version}"));
    let mut lines = vec![format!("opened channel {name} on base {genesis}{fork}")];
    lines.extend(opened.suites.iter().map(render_suite));
    lines.extend(opened.suites.iter().filter(|suite| suite.few).map(|suite| {
        format!(
            "warning: {} rows of {} judge a release: so few make it a matter of chance, and nothing adds rows later; open \
             another channel with more rows, or fewer --shards",
            suite.rows_a_release, suite.name
        )
    }));
    lines.push(format!("sealed in {} shards, which stay in this home until a release opens them", opened.shards));
    lines.push(render_announced(opened.announced));
    lines.push(format!("others propose to it with `potluck channel propose ADAPTER --to {channel}`"));
    lines.push(channel.to_string());
    lines
}

fn render_suite(suite: &SealedSuite) -> String {
    let role = match suite.role {
        Role::Improve => "to improve",
        Role::Keep => "to keep",
    };
    let repeats =
        if suite.repeats > 0 { format!(" ({} repeated ones left out)", suite.repeats) } else { String::new() };
    format!("  {}: {} rows {role}{repeats}, {} a release", suite.name, suite.rows, suite.rows_a_release)
}

pub fn render_proposed(proposed: &Proposed) -> Vec<String> {
    vec![
        format!("proposed to channel {} at weight {}", proposed.name, proposed.weight),
        render_announced(proposed.announced),
        format!("see the verdict later with `potluck show {}`", proposed.proposal.short()),
        proposed.proposal.to_string(),
    ]
}

pub fn render_released(released: &Released, terminal: Terminal) -> Vec<String> {
    match released {
        Released::Version(release) => render_release(release, terminal),
        Released::Nothing(nothing) => render_nothing(nothing),
    }
}

fn render_release(release: &NewRelease, terminal: Terminal) -> Vec<String> {
    let NewVersion { name, height, adapters, base, version, .. } = &release.version;
    let mut lines = render_verdicts(&release.verdicts, release.finished.as_ref());
    lines.extend(render_left(name.as_str(), &release.verdicts, release.later, release.missing));
    lines.extend(render_scores(&release.opened, terminal));
    lines.push(format!(
        "the rows of shard {} ARE PUBLIC NOW, as files of the version; {} sealed ones are left",
        release.opened.index, release.shards_left
    ));
    lines.push(format!("version {height} of {name}: {adapters} adapters, base {base}"));
    lines.push(render_announced(release.version.announced));
    lines.push(version.to_string());
    lines
}

fn render_nothing(nothing: &NothingReleased) -> Vec<String> {
    let mut lines = render_verdicts(&nothing.verdicts, nothing.finished.as_ref());
    lines.extend(render_left(nothing.name.as_str(), &nothing.verdicts, nothing.later, nothing.missing));
    lines.push("nothing was released, and no sealed shard was opened".to_owned());
    lines.extend(nothing.version.map(|version| version.to_string()));
    lines
}

fn render_verdicts(verdicts: &[ProposalVerdict], done: Option<&ManifestId>) -> Vec<String> {
    let mut lines = render_finished(done);
    lines.extend(verdicts.iter().map(render_verdict));
    lines
}

/// What was proposed and not judged, and why.
fn render_left(name: &str, verdicts: &[ProposalVerdict], later: usize, missing: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if verdicts.is_empty() && later + missing == 0 {
        lines.push(format!("nothing is proposed to {name} that was not judged before"));
    }
    if missing > 0 {
        let what = if missing == 1 { "proposal, or its adapter," } else { "proposals, or their adapters," };
        lines.push(format!("{missing} {what} could not be had from any peer that was asked"));
        let signed = |one: &&ProposalVerdict| one.outcome == VerdictOutcome::Refused(Refusal::Missing);
        let unsigned = missing.saturating_sub(verdicts.iter().filter(signed).count());
        if unsigned > 0 {
            lines.push(format!(
                "{unsigned} of these were not handed out or not looked for in full, and wait for another release"
            ));
        }
    }
    if later > 0 {
        let wait = if later == 1 { "proposal waits" } else { "proposals wait" };
        lines.push(format!(
            "{later} {wait} for another release: too many for one, not to be had lately or in time, too large for this disk \
             or for what is fetched unasked in a day, made by a later potluck, or this node is on no network"
        ));
    }
    lines
}

fn render_verdict(verdict: &ProposalVerdict) -> String {
    let short = verdict.adapter.short();
    let name = verdict.name.as_deref().map_or_else(String::new, |name| format!("{} ", output::plain(name)));
    match (verdict.weight, verdict.loss_change, &verdict.reason) {
        (Some(weight), Some(alone), _) => {
            format!("taken    {name}{short} at weight {weight:.3}: alone {alone:+.4} nats")
        }
        (.., reason) => format!("refused  {name}{short}: {}", output::plain(reason.as_deref().unwrap_or_default())),
    }
}

fn render_scores(shard: &OpenedShard, terminal: Terminal) -> Vec<String> {
    let row = |score: &SuiteScore| {
        let name = match score.role {
            Role::Improve => score.suite.to_string(),
            Role::Keep => format!("{} (to keep)", score.suite),
        };
        let loss = |loss: f64| format!("{loss:.4}");
        vec![name, loss(score.genesis), loss(score.before), loss(score.after)]
    };
    let rows: Vec<_> = shard.suites.iter().map(row).collect();
    let columns = [Column::Text("loss"), Column::Number("genesis"), Column::Number("before"), Column::Number("now")];
    output::table(&columns, &rows, terminal)
}

pub fn render_revoked(revoked: &Revoked) -> Vec<String> {
    let NewVersion { name, height, adapters, version, .. } = &revoked.version;
    let mut lines = render_finished(revoked.finished.as_ref());
    lines.extend(revoked.revoked.iter().map(|adapter| format!("revoked {adapter}")));
    lines.push(format!("version {height} of {name}: {adapters} adapters"));
    lines.push(
        "adapters trained on a version that contained it stay, and are marked stale in `potluck channel show`"
            .to_owned(),
    );
    lines.push(render_announced(revoked.version.announced));
    lines.push(version.to_string());
    lines
}

fn render_announced(announced: bool) -> String {
    if announced { "announced".to_owned() } else { "announced when `potluck up` runs".to_owned() }
}

fn render_finished(version: Option<&ManifestId>) -> Vec<String> {
    let line = |version| format!("version {version} was promised by an interrupted command, and is now finished");
    version.map(line).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::{base, check, check_table, fold, key, manifest, name, recipe};
    use potluck_protocol::channel::{Change, Refusal, VerdictOutcome};
    use potluck_protocol::recipe::Weight;

    fn version() -> NewVersion {
        NewVersion {
            channel: manifest("helpers"),
            name: name("helpers"),
            version: manifest("v1"),
            height: 1,
            change: Change::Release,
            recipe: recipe("r"),
            digest: fold("d"),
            base: base("v1"),
            adapters: 2,
            announced: true,
        }
    }

    fn verdicts() -> Vec<ProposalVerdict> {
        let taken = ProposalVerdict {
            proposal: manifest("p1"),
            adapter: manifest("sql"),
            name: Some("sql-helper".to_owned()),
            taken: true,
            weight: Some(0.5),
            loss_change: Some(-0.0682),
            reason: None,
            outcome: VerdictOutcome::Taken { weight: Weight(1 << 15), alone_micro: -68_200 },
        };
        let refusal = Refusal::NoGain { alone_micro: 1_200 };
        let refused = ProposalVerdict {
            proposal: manifest("p2"),
            adapter: manifest("evil"),
            name: Some("a\u{1b}[2Jb".to_owned()),
            taken: false,
            weight: None,
            loss_change: None,
            reason: Some(refusal.to_string()),
            outcome: VerdictOutcome::Refused(refusal),
        };
        vec![taken, refused]
    }

    #[test]
    fn what_is_seen_of_an_opened_channel() {
        let suite = |text: &str, role, rows, few| SealedSuite {
            name: name(text),
            role,
            rows,
            repeats: usize::from(few),
            rows_a_release: rows / 4,
            few,
        };
        let opened = OpenedChannel {
            channel: manifest("helpers"),
            name: name("helpers"),
            genesis: base("tiny"),
            forked_from: None,
            steward: key("me"),
            shards: 4,
            suites: vec![suite("own", Role::Keep, 400, false), suite("sql", Role::Improve, 30, true)],
            announced: false,
        };
        check("channel-open", |_| render_opened(&opened));
        let fork = OpenedChannel { forked_from: Some(manifest("v7")), suites: Vec::new(), ..opened.clone() };
        check("channel-open-fork", |_| render_opened(&fork));
        let proposed = Proposed {
            proposal: manifest("p1"),
            channel: manifest("helpers"),
            name: name("helpers"),
            adapter: manifest("sql"),
            weight: 0.5,
            announced: true,
        };
        check("channel-propose", |_| render_proposed(&proposed));
    }

    #[test]
    fn what_is_seen_of_a_release() {
        let score = |suite: &str, role| SuiteScore { suite: name(suite), role, genesis: 6.9, before: 6.8, after: 6.75 };
        let release = NewRelease {
            version: version(),
            released: true,
            verdicts: verdicts(),
            opened: OpenedShard { index: 0, suites: vec![score("own", Role::Keep), score("sql", Role::Improve)] },
            shards_left: 3,
            weighed: Vec::new(),
            later: 1,
            missing: 2,
            finished: None,
            asked: true,
        };
        check_table("channel-release-scores", |terminal| render_scores(&release.opened, terminal));
        let release = Released::Version(Box::new(release));
        check("channel-release", |terminal| render_released(&release, terminal));
        let nothing = NothingReleased {
            released: false,
            channel: manifest("helpers"),
            name: name("helpers"),
            version: None,
            height: 0,
            verdicts: Vec::new(),
            later: 0,
            missing: 0,
            finished: Some(manifest("v1")),
            asked: false,
        };
        let nothing = Released::Nothing(nothing);
        check("channel-release-nothing", |terminal| render_released(&nothing, terminal));
        let revoked = Revoked { version: version(), revoked: vec![manifest("sql")], finished: None };
        check("channel-revoke", |_| render_revoked(&revoked));
    }
}
