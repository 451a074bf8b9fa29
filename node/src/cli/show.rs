//! `potluck show`

use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::Request;
use crate::api::search::Measured;
use crate::failure::Outcome;

#[derive(Deserialize)]
struct Shown {
    manifest: String,
    name: String,
    kind: String,
    publisher: String,
    base: Option<String>,
    /// What that is called here.
    #[serde(default)]
    base_name: Option<String>,
    bytes: u64,
    /// `None` of what is not known, as long as only an announcement was heard.
    licence: Option<String>,
    description: Option<String>,
    created: Option<u64>,
    #[serde(default)]
    rank: Option<u32>,
    evaluations: Option<Vec<Measured>>,
    state: String,
    details: Vec<String>,
}

pub async fn run(global: &Global, reference: &str) -> Outcome<()> {
    let answer = ask(global, &Request::Show { reference: reference.to_owned() }).await?;
    output::answer(global, answer, |shown: Shown| lines(&shown))
}

fn lines(shown: &Shown) -> Vec<String> {
    let licence = match shown.licence.as_deref() {
        Some("") => "no licence stated".to_owned(),
        Some(licence) => output::plain(licence),
        None => "licence not known until it is fetched".to_owned(),
    };
    let bytes = output::bytes(shown.bytes);
    let mut lines = vec![format!("{} ({}, {bytes}, {licence}, {})", shown.name, shown.kind, shown.state)];
    let when = shown.created.map(|created| format!(" on {}", output::date(created))).unwrap_or_default();
    lines.push(format!("published by {}{when}", shown.publisher));
    lines.extend(shown.base.as_ref().map(|base| match &shown.base_name {
        Some(name) => format!("for base {base} ({name} here)"),
        None => format!("for base {base}"),
    }));
    lines.extend(shown.description.as_deref().map(output::plain).filter(|text| !text.is_empty()));
    // Where its manifest was read, the details say it.
    lines.extend(
        shown
            .rank
            .filter(|_| !shown.details.iter().any(|line| line.starts_with("rank ")))
            .map(|rank| format!("rank {rank}")),
    );
    match &shown.evaluations {
        Some(evaluations) => lines.extend(evaluations.iter().map(evaluation)),
        None if shown.kind == "adapter" => lines.push("rank and figures not known until it is fetched".to_owned()),
        None => {}
    }
    lines.extend(shown.details.iter().map(|line| output::plain(line)));
    lines.push(shown.manifest.clone());
    lines
}

/// A figure in its publisher's words.
fn evaluation(one: &Measured) -> String {
    format!(
        "{}: loss {:.4}, {} exact, of {} held-out rows",
        output::plain(&one.suite),
        one.loss,
        output::percent(one.exact_match),
        one.samples
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(more: serde_json::Value) -> Vec<String> {
        let mut all = json!({
            "manifest": "50ba", "name": "a", "kind": "adapter", "publisher": "9f31", "base": "3c6f", "base_name": "tiny",
            "bytes": 1024, "licence": "", "description": "", "created": 1_795_305_600_u64, "rank": 4,
            "evaluations": [{ "suite": "held", "samples": 30, "exact_match": 0.875, "loss": 1.25 }],
            "state": "here, checked", "details": ["rank 4, modules q_proj"],
        });
        let (all_fields, more) = (all.as_object_mut().expect("an object"), more.as_object().expect("an object"));
        all_fields.extend(more.clone());
        lines(&serde_json::from_value(all).expect("it is one"))
    }

    #[test]
    fn all_that_is_known_is_told() {
        let expected = [
            "a (adapter, 1.00 KiB, no licence stated, here, checked)",
            "published by 9f31 on 2026-11-22",
            "for base 3c6f (tiny here)",
            "held: loss 1.2500, 87.5 % exact, of 30 held-out rows",
            "rank 4, modules q_proj",
            "50ba",
        ];
        assert_eq!(shown(json!({})), expected);
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let text = shown(json!({
            "licence": null, "description": null, "created": null, "rank": null, "evaluations": null, "base_name": null,
            "state": "heard of, not here", "details": [],
        }))
        .join("\n");
        assert!(text.contains("licence not known until it is fetched, heard of, not here"), "{text}");
        assert!(text.contains("rank and figures not known") && !text.contains("no licence stated"), "{text}");
        let known = shown(json!({ "licence": "M\u{1b}[2JIT", "details": [] })).join("\n");
        assert!(known.contains("M [2JIT") && known.contains("\nrank 4\n") && !known.contains('\u{1b}'), "{known}");
    }
}
