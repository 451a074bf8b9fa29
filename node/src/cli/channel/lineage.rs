//! A channel's lineage for a terminal: genesis at the bottom, the newest version on top, as `git log --graph` draws.

use potluck_protocol::channel::Change;

use super::super::output::{date, plain};
use crate::api::lineage::{Input, Shown, Version};

/// Lines, the newest version first.
pub fn render(shown: &Shown) -> Vec<String> {
    let mut lines = vec![format!("channel {} {}", shown.name, shown.channel)];
    lines.push(format!("steward {}{}", shown.steward.0, last_heard(shown)));
    lines.extend(shown.rules.iter().cloned());
    if let Some(halted) = &shown.halted {
        lines.push(format!("HALTED: {}", halted.reason));
    }
    if let Some(broken) = &shown.broken {
        lines.push(format!("not taken: {broken}"));
    }
    lines.push(String::new());
    for version in shown.versions.iter().rev() {
        let mark = if version.in_force { '*' } else { 'o' };
        lines.push(format!("{mark}  {}{}", title(version), state(shown, version.in_force)));
        lines.extend(details(version).into_iter().map(|line| format!("|    {line}")));
    }
    let mark = if shown.height == 0 { '*' } else { 'o' };
    let name = shown.genesis_name.as_deref().unwrap_or("not here");
    lines.push(format!(
        "{mark}  genesis {} ({}){}",
        shown.genesis.short(),
        plain(name),
        state(shown, shown.height == 0)
    ));
    if let Some(version) = &shown.forked_from {
        lines.push(format!("/    version {} of another channel", version.short()));
    }
    lines
}

/// Nothing else dates the newest version that is known: newer ones may be withheld by those who are connected.
fn last_heard(shown: &Shown) -> String {
    match shown.steward_heard {
        _ if shown.own => " (this node)".to_owned(),
        Some(seconds) => format!(", last heard from {}", date(seconds)),
        None => ", never heard from".to_owned(),
    }
}

fn state(shown: &Shown, in_force: bool) -> &'static str {
    match (in_force, shown.held) {
        (true, true) => "  <- in force here, held",
        (true, false) => "  <- in force here",
        (false, _) => "",
    }
}

/// Height, date, change, what it did to the loss.
pub fn title(version: &Version) -> String {
    let change = match version.change {
        Change::Release => "release".to_owned(),
        Change::Revoke => "revoke".to_owned(),
        Change::Rollback(height) => format!("rollback to version {height}"),
    };
    let moved = version.loss_change.map(|nats| format!(", loss {nats:+.4}")).unwrap_or_default();
    format!("version {}  {}  {change}{moved}  {}", version.height, date(version.created), version.version.short())
}

/// What went in and out, and what became of each proposal.
pub fn details(version: &Version) -> Vec<String> {
    let line = |sign: char, input: &Input| {
        let stale = if input.stale { "  stale: trained on what is revoked now" } else { "" };
        format!("{sign} {} @ {}{stale}", plain(&input.label()), input.weight)
    };
    let mut lines: Vec<String> = version.added.iter().map(|input| line('+', input)).collect();
    lines.extend(version.removed.iter().map(|input| line('-', input)));
    let kept = version.inputs.iter().filter(|input| !version.added.contains(input));
    lines.extend(kept.filter(|input| input.stale).map(|input| line('=', input)));
    lines.extend(version.verdicts.iter().filter(|verdict| !verdict.taken).map(|verdict| {
        let name = verdict.name.clone().unwrap_or_else(|| verdict.adapter.short());
        format!("x {}: {}", plain(&name), plain(&verdict.reason))
    }));
    lines
}

#[cfg(test)]
mod tests;
