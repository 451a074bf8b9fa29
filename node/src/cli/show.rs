//! `potluck show`

use potluck_protocol::announce::KindTag;

use super::global::Global;
use super::{ask::ask, output};
use crate::api::answers::Shown;
use crate::api::ask::Ask;
use crate::api::proto::Show;
use crate::api::search::Measured;
use crate::failure::Outcome;

pub async fn run(global: &Global, reference: &str) -> Outcome<()> {
    let answer = ask(global, Show { reference: reference.to_owned() }).await?;
    output::answer(global, Show::SCHEMA, &answer, |shown, _| render(shown))
}

fn render(shown: &Shown) -> Vec<String> {
    let licence = match shown.licence.as_deref() {
        Some("") => "no licence stated".to_owned(),
        Some(licence) => output::plain(licence),
        None => "licence not known until it is fetched".to_owned(),
    };
    let bytes = output::bytes(shown.bytes);
    let (kind, state) = (output::kind(shown.kind), shown.state.name());
    let mut lines = vec![format!("{} ({kind}, {bytes}, {licence}, {state})", shown.name)];
    let when = shown.created.map(|created| format!(" on {}", output::date(created))).unwrap_or_default();
    lines.push(format!("published by {}{when}", shown.publisher.0));
    lines.extend(shown.base.as_ref().map(|base| match &shown.base_name {
        Some(name) => format!("for base {base} ({name} here)"),
        None => format!("for base {base}"),
    }));
    lines.extend(shown.description.as_deref().map(output::plain).filter(|text| !text.is_empty()));
    // Where its manifest was read, the notes say it.
    lines.extend(
        shown
            .rank
            .filter(|_| !shown.notes.iter().any(|line| line.starts_with("rank ")))
            .map(|rank| format!("rank {rank}")),
    );
    match &shown.evaluations {
        Some(evaluations) => lines.extend(evaluations.iter().map(evaluation)),
        None if shown.kind == KindTag::Adapter => {
            lines.push("rank and figures not known until it is fetched".to_owned())
        }
        None => {}
    }
    lines.extend(shown.notes.iter().map(|line| output::plain(line)));
    lines.push(shown.manifest.to_string());
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
    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::signed::PublicKey;

    use super::*;
    use crate::api::answers::Presence;
    use crate::cli::snapshots::check;

    fn shown() -> Shown {
        Shown {
            manifest: ManifestId(Digest::of(b"m")),
            name: "a".to_owned(),
            kind: KindTag::Adapter,
            publisher: PublicKey(Digest::of(b"p")),
            base: Some(BaseId(Digest::of(b"b"))),
            base_name: Some("tiny".to_owned()),
            bytes: 1024,
            licence: Some(String::new()),
            description: Some(String::new()),
            created: Some(1_795_305_600),
            rank: Some(4),
            evaluations: Some(vec![Measured { suite: "held".to_owned(), samples: 30, exact_match: 0.875, loss: 1.25 }]),
            notes: vec!["rank 4, modules q_proj".to_owned()],
            body: None,
            missing_shards: Some(0),
            state: Presence::Checked,
        }
    }

    #[test]
    fn all_that_is_known_is_told() {
        let one = shown();
        let expected = [
            "a (adapter, 1.00 KiB, no licence stated, here, checked)".to_owned(),
            format!("published by {} on 2026-11-22", one.publisher.0),
            format!("for base {} (tiny here)", BaseId(Digest::of(b"b"))),
            "held: loss 1.2500, 87.5 % exact, of 30 held-out rows".to_owned(),
            "rank 4, modules q_proj".to_owned(),
            one.manifest.to_string(),
        ];
        assert_eq!(render(&one), expected);
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let (licence, description, created, rank, evaluations) = (None, None, None, None, None);
        let (base_name, notes, state) = (None, Vec::new(), Presence::HeardOf);
        let heard = Shown { licence, description, created, rank, evaluations, base_name, notes, state, ..shown() };
        let text = render(&heard).join("\n");
        assert!(text.contains("licence not known until it is fetched, heard of, not here"), "{text}");
        assert!(text.contains("rank and figures not known") && !text.contains("no licence stated"), "{text}");
        let known = Shown { licence: Some("M\u{1b}[2JIT".to_owned()), notes: Vec::new(), ..shown() };
        let known = render(&known).join("\n");
        assert!(known.contains("M [2JIT") && known.contains("\nrank 4\n") && !known.contains('\u{1b}'), "{known}");
    }

    #[test]
    fn what_is_seen() {
        check("show", |_| render(&shown()));
        let (licence, description, created, rank, evaluations) = (None, None, None, None, None);
        let (base_name, notes, state) = (None, Vec::new(), Presence::HeardOf);
        let heard = Shown { licence, description, created, rank, evaluations, base_name, notes, state, ..shown() };
        check("show-heard-of", |_| render(&heard));
    }
}
