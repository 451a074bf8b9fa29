//! `potluck search`

use clap::{Args, ValueEnum};
use potluck_protocol::announce::KindTag;

use super::args::Global;
use super::{base, output, run::ask};
use crate::api::proto::Request;
use crate::api::search::{AtLeast, Details, Found, Measured, Offer, Ranks};
use crate::failure::Outcome;

/// Digits of an id that a table shows: enough to type it again.
const SHORT: usize = 16;

/// Find adapters and bases that others offer.
///
/// Searches what the daemon has heard, and asks its peers for the manifests of what may fit: rank, licence, description and
/// figures are in those. Figures and dates are their publishers' own words. Of an adapter whose manifest nobody handed
/// out only name, base, publisher and size are known; it is shown with `?`, and left out where a condition is about the rest.
#[derive(Debug, Args)]
pub struct Search {
    /// Words that name or description must hold
    text: Vec<String>,
    /// For this base only: a name, or the id of any base
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Rank, or the lowest and the highest
    #[arg(long, value_name = "N|A..B")]
    rank: Option<Ranks>,
    /// SPDX licence, e.g. Apache-2.0
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// Publisher: the start of the key that `potluck show` names, or a peer id
    #[arg(long, value_name = "KEY")]
    publisher: Option<String>,
    /// A figure that the publisher states, e.g. 'dates>=0.8'
    #[arg(long, value_name = "NAME>=SHARE")]
    eval: Option<AtLeast>,
    /// Adapters or bases only
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Results to show
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Adapter,
    Base,
}

pub async fn run(global: &Global, verb: &Search) -> Outcome<()> {
    let request = Request::Search(Box::new(verb.request()?));
    output::answer(global, ask(global, &request).await?, lines)
}

impl Search {
    fn request(&self) -> Outcome<crate::api::search::Search> {
        Ok(crate::api::search::Search {
            text: self.text.join(" "),
            // A base is named to search for what fits it: it is not fetched for that.
            base: self.base.as_deref().map(base::absolute_reference).transpose()?,
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

fn lines(found: Found) -> Vec<String> {
    let mut lines = Vec::new();
    if found.results.is_empty() {
        lines.push(format!("nothing fits, of {} announcements that were heard", found.heard));
    } else {
        let rows: Vec<_> = found.results.iter().map(row).collect();
        lines = output::table(&["name", "kind", "rank", "licence", "size", "figures", "for base", "id"], &rows);
    }
    if found.more > 0 {
        lines.push(format!("and {} more: narrow it down, or raise --limit", found.more));
    }
    if found.unanswered > 0 {
        let count = found.unanswered;
        lines.push(format!(
            "{count} more may fit: nobody handed out their manifests within a few seconds; search again"
        ));
    }
    lines.extend(found.results.iter().filter_map(next));
    lines
}

fn row(offer: &Offer) -> Vec<String> {
    let told = |tell: &dyn Fn(&Details) -> String| offer.details.as_ref().map_or_else(|| "?".to_owned(), tell);
    let kind = match offer.kind {
        KindTag::Adapter => "adapter",
        KindTag::Base => "base",
        KindTag::Dataset => "dataset",
        KindTag::Channel => "channel",
        KindTag::Proposal => "proposal",
        KindTag::Version => "version",
        KindTag::Proof => "proof",
    };
    let short = |id: String| id.chars().take(SHORT).collect::<String>();
    vec![
        output::plain(&offer.name),
        if offer.here { format!("{kind}, here") } else { kind.to_owned() },
        told(&|details| details.rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string())),
        told(&|details| if details.licence.is_empty() { "none".to_owned() } else { output::plain(&details.licence) }),
        output::bytes(offer.bytes),
        told(&|details| figures(&details.evaluations)),
        short(offer.base.to_string()),
        short(offer.manifest.to_string()),
    ]
}

/// The first figures; `potluck show` has all.
fn figures(evaluations: &[Measured]) -> String {
    let figure = |one: &Measured| format!("{} {}", output::plain(&one.suite), output::percent(one.exact_match));
    let shown: Vec<_> = evaluations.iter().take(2).map(figure).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

/// What to type to have a base: its whole id is wanted. An adapter's start of an id will do.
fn next(offer: &Offer) -> Option<String> {
    let wanted = offer.kind == KindTag::Base && !offer.here;
    wanted.then(|| format!("{}: potluck base add {}", output::plain(&offer.name), offer.base))
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::signed::PublicKey;

    use super::*;

    fn offer(kind: KindTag, details: Option<Details>) -> Offer {
        Offer {
            manifest: ManifestId(Digest::of(b"m")),
            name: "one".to_owned(),
            kind,
            base: BaseId(Digest::of(b"b")),
            publisher: PublicKey(Digest::of(b"p")),
            bytes: 1024,
            here: false,
            details,
        }
    }

    fn found(results: Vec<Offer>) -> Found {
        Found { schema: String::new(), results, more: 2, heard: 9, unanswered: 3 }
    }

    #[test]
    fn what_is_not_known_is_a_question_mark_and_strangers_cannot_steer() {
        let details = Details {
            rank: Some(16),
            target_modules: Vec::new(),
            licence: "M\u{1b}[2JIT".to_owned(),
            description: String::new(),
            created: 0,
            evaluations: Vec::new(),
        };
        let text = lines(found(vec![offer(KindTag::Adapter, Some(details)), offer(KindTag::Base, None)])).join("\n");
        assert!(!text.contains('\u{1b}') && text.contains("M [2JIT"), "{text}");
        assert!(
            text.contains('?') && text.contains(&format!("potluck base add {}", BaseId(Digest::of(b"b")))),
            "{text}"
        );
        assert!(text.contains("and 2 more") && text.contains("3 more may fit"), "{text}");
        assert!(lines(found(Vec::new()))[0].contains("of 9 announcements"));
    }
}
