//! `potluck show`

use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::Request;
use crate::failure::Outcome;

#[derive(Deserialize)]
struct Shown {
    manifest: String,
    name: String,
    kind: String,
    publisher: String,
    base: Option<String>,
    bytes: u64,
    licence: String,
    description: String,
    state: String,
    details: Vec<String>,
}

pub async fn run(global: &Global, reference: &str) -> Outcome<()> {
    let answer = ask(global, &Request::Show { reference: reference.to_owned() }).await?;
    output::answer(global, answer, |shown: Shown| {
        let licence = if shown.licence.is_empty() { "no licence stated" } else { &shown.licence };
        let mut lines = vec![format!(
            "{} ({}, {}, {licence}, {})",
            shown.name,
            shown.kind,
            output::bytes(shown.bytes),
            shown.state
        )];
        lines.push(format!("published by {}", shown.publisher));
        lines.extend(shown.base.map(|base| format!("for base {base}")));
        if !shown.description.is_empty() {
            lines.push(output::plain(&shown.description));
        }
        lines.extend(shown.details);
        lines.push(shown.manifest);
        lines
    })
}
