//! `potluck search`

use clap::{Args, ValueEnum};
use potluck_protocol::announce::KindTag;

use super::global::Global;
use super::output::{self, Column, HEAD, Terminal};
use super::{ask::ask, references};
use crate::api::ask::Ask;
use crate::api::search::{self, AtLeast, Found, Measured, Offer, Ranks};
use crate::failure::Outcome;
use crate::licence;

/// Find adapters and bases that others offer.
///
/// Searches the announcements that the daemon has received and, without `--base`, what its peers offer for bases that
/// are not followed here: that takes up to 3 s, and what anybody says there comes after what was received. Asks peers for
/// the manifests of possible matches, which state rank, licence, description and figures. Figures and dates are claims of
/// the publishers. If no peer hands out a manifest, only name, base, publisher and size are known: the result is shown
/// with `?`, and left out if a condition needs the rest. `by` is the start of the publisher's key: names can be imitated, keys cannot.
#[derive(Debug, Args)]
pub struct Search {
    /// Words that the name or description must contain
    text: Vec<String>,
    /// Only for this base: a name, a base id, or the start of a known id
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Rank, or a range of ranks, e.g. 8..32
    #[arg(long, value_name = "N|A..B")]
    rank: Option<Ranks>,
    /// SPDX licence, e.g. Apache-2.0; case does not count
    #[arg(long, alias = "license", value_name = "SPDX")]
    licence: Option<String>,
    /// Publisher: the start of the key that `potluck show` names, or a peer id
    #[arg(long, value_name = "KEY")]
    publisher: Option<String>,
    /// A figure that the publisher states, e.g. 'dates>=0.8'
    #[arg(long, value_name = "NAME>=SHARE")]
    eval: Option<AtLeast>,
    /// Only adapters, or only bases
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Maximum number of results
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Adapter,
    Base,
}

pub async fn run(global: &Global, verb: &Search) -> Outcome<()> {
    let doubt = verb.licence.as_deref().and_then(licence::doubt);
    let answer = ask(global, verb.request()?).await?;
    output::answer(global, search::Search::SCHEMA, &answer, |found, terminal| {
        // What strangers state may be spelt as they like, so it was looked for all the same.
        let doubt = doubt.filter(|_| found.results.is_empty());
        render(found, terminal).into_iter().chain(doubt).collect()
    })
}

impl Search {
    fn request(&self) -> Outcome<search::Search> {
        Ok(search::Search {
            text: self.text.join(" "),
            // A base is named to search for what fits it: it is not fetched for that.
            base: self.base.as_deref().map(references::absolute).transpose()?,
            rank: self.rank,
            licence: self.licence.clone(),
            publisher: self.publisher.clone(),
            eval: self.eval.clone(),
            kind: self.kind.map(|kind| match kind {
                Kind::Adapter => KindTag::Adapter,
                Kind::Base => KindTag::Base,
            }),
            limit: self.limit,
        })
    }
}

fn render(found: &Found, terminal: Terminal) -> Vec<String> {
    let mut lines = Vec::new();
    if found.results.is_empty() {
        lines.push(format!("no match among {} known announcements", found.heard));
    } else {
        let columns =
            [Column::Text("name"), Column::Text("kind"), Column::Text("for base"), Column::Id("by"), Column::Id("id")];
        let rows: Vec<_> = found.results.iter().map(row).collect();
        let mut table = output::table(&columns, &rows, terminal).into_iter();
        lines.extend(table.by_ref().take(HEAD));
        for (line, offer) in table.zip(&found.results) {
            lines.extend([line, output::cut(&format!("  {}", about(offer)), terminal.columns())]);
        }
    }
    if found.more > 0 {
        lines.push(format!("and {} more: narrow it down, or raise --limit", found.more));
    }
    if found.unanswered > 0 {
        let count = found.unanswered;
        lines.push(format!("{count} more may match: no peer handed out their manifests"));
        lines.push("within a few seconds; search again".to_owned());
    }
    lines.extend(found.results.iter().filter_map(|offer| next(offer, terminal)));
    lines
}

fn row(offer: &Offer) -> Vec<String> {
    let kind = output::kind(offer.kind);
    vec![
        output::plain(&offer.name),
        if offer.here { format!("{kind}, here") } else { kind.to_owned() },
        offer.base_name.clone().unwrap_or_else(|| offer.base.short()),
        offer.publisher.short(),
        offer.manifest.short(),
    ]
}

/// What its manifest says, the most telling first.
fn about(offer: &Offer) -> String {
    let bytes = output::bytes(offer.bytes);
    let Some(details) = &offer.details else {
        return format!("{bytes}; licence, rank and figures: ? (no peer handed out its manifest)");
    };
    let licence = if details.licence.is_empty() { "no licence".to_owned() } else { output::plain(&details.licence) };
    let rank = details.rank.map(|rank| format!("rank {rank}"));
    let facts: Vec<_> = rank.into_iter().chain([licence, bytes, output::date(details.created)]).collect();
    let figures = figures(&details.evaluations);
    let description = Some(output::plain(&details.description)).filter(|text| !text.is_empty());
    [Some(facts.join(", ")), figures, description].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The first figures; `potluck show` has all. Free text is never matched exactly: its loss says something.
fn figures(evaluations: &[Measured]) -> Option<String> {
    let figure = |one: &Measured| {
        let suite = output::plain(&one.suite);
        if one.exact_match > 0.0 {
            format!("{suite} {} exact", output::percent(one.exact_match))
        } else {
            format!("{suite} loss {:.4}", one.loss)
        }
    };
    let shown: Vec<_> = evaluations.iter().take(2).map(figure).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// What to type to have what `potluck pull` does not take.
fn next(offer: &Offer, terminal: Terminal) -> Option<String> {
    let name = output::cut(&output::plain(&offer.name), terminal.columns() / 2);
    match offer.kind {
        KindTag::Base if !offer.here => Some(format!("{name}: potluck base add {}", offer.base.short())),
        KindTag::Channel if !offer.here => Some(format!("{name}: potluck channel follow {}", offer.manifest.short())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::signed::PublicKey;

    use super::*;
    use crate::api::search::Details;
    use crate::cli::snapshots::{check, check_table};

    fn offer(kind: KindTag, details: Option<Details>) -> Offer {
        Offer {
            manifest: ManifestId(Digest::of(b"m")),
            name: "one".to_owned(),
            kind,
            base: BaseId(Digest::of(b"b")),
            base_name: None,
            publisher: PublicKey(Digest::of(b"p")),
            bytes: 1024,
            here: false,
            details,
        }
    }

    const NARROW: Terminal = Terminal { width: 80, is_terminal: true };

    fn found(results: Vec<Offer>) -> Found {
        Found { results, more: 2, heard: 9, unanswered: 3 }
    }

    fn details(licence: &str, exact_match: f64) -> Details {
        let suite = "held".to_owned();
        Details {
            rank: Some(16),
            target_modules: Vec::new(),
            licence: licence.to_owned(),
            description: "d".repeat(300),
            created: 0,
            evaluations: vec![Measured { suite, samples: 30, exact_match, loss: 1.25 }],
        }
    }

    #[test]
    fn what_is_not_known_is_a_question_mark_and_strangers_cannot_steer() {
        let adapter = offer(KindTag::Adapter, Some(details("M\u{1b}[2JIT", 0.5)));
        let text = render(&found(vec![adapter, offer(KindTag::Base, None)]), NARROW).join("\n");
        assert!(!text.contains('\u{1b}') && text.contains("M [2JIT"), "{text}");
        assert!(
            text.contains('?') && text.contains(&format!("potluck base add {}", BaseId(Digest::of(b"b")).short())),
            "{text}"
        );
        assert!(text.contains("and 2 more") && text.contains("3 more may match"), "{text}");
        assert!(render(&found(Vec::new()), NARROW)[0].contains("9 known announcements"));
    }

    #[test]
    fn a_line_says_whose_it_is_for_what_and_how_good_and_fits_the_terminal() {
        let mut one = Offer { here: true, ..offer(KindTag::Adapter, Some(details("Apache-2.0", 0.0))) };
        (one.name, one.base_name) = ("n".repeat(64), Some("b".repeat(64)));
        let two = Offer { base_name: Some("tiny".to_owned()), ..offer(KindTag::Channel, Some(details("MIT", 0.875))) };
        let lines = render(&found(vec![one, two]), NARROW);
        assert!(lines.iter().all(|line| line.chars().count() <= NARROW.width), "{lines:#?}");
        let (key, id) = (PublicKey(Digest::of(b"p")).short(), ManifestId(Digest::of(b"m")).short());
        assert!(lines[2].contains("adapter, here") && lines[2].ends_with(&format!("{key}  {id}")), "{lines:#?}");
        assert!(lines[3].contains("rank 16, Apache-2.0, 1.00 KiB, 1970-01-01; held loss 1.2500"), "{lines:#?}");
        assert!(lines[4].contains("  tiny  ") && lines[5].contains("held 87.5 % exact"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.ends_with(&format!("potluck channel follow {id}"))), "{lines:#?}");
    }

    #[test]
    fn what_is_seen() {
        let here = Offer { here: true, ..offer(KindTag::Adapter, Some(details("Apache-2.0", 0.875))) };
        let wide = Offer { name: "\u{6771}\u{4eac}".repeat(20), ..offer(KindTag::Base, Some(details("MIT", 0.0))) };
        let offers = vec![here, wide, offer(KindTag::Channel, None)];
        check_table("search", |terminal| render(&found(offers.clone()), terminal));
        let nothing = Found { more: 0, unanswered: 0, ..found(Vec::new()) };
        check("search-nothing", |terminal| render(&nothing, terminal));
    }
}
