//! The conditions of a search: which announcements and manifests fit, and which come first.

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::BaseId;

use crate::api::search::Search;
use crate::app::search::offers::Words;
use crate::licence;
use crate::naming::ID_MIN;

/// What can be said of an announcement by itself.
pub fn fits_announcement(search: &Search, base: Option<BaseId>, announced: &Announcement) -> bool {
    let kind = match search.kind {
        Some(kind) => announced.kind == kind,
        // What channels say among themselves is not looked for.
        None => matches!(announced.kind, KindTag::Adapter | KindTag::Base | KindTag::Channel),
    };
    // A condition on an adapter's figures is one on adapters.
    let kind = kind && (announced.kind == KindTag::Adapter || (search.rank.is_none() && search.eval.is_none()));
    let publisher = search.publisher.as_deref().is_none_or(|wanted| is_publisher(wanted, announced));
    kind && publisher && base.is_none_or(|base| announced.base == base)
}

fn is_publisher(wanted: &str, announced: &Announcement) -> bool {
    let key = announced.publisher.0.to_string();
    let peer = || announced.publisher.peer_id().is_some_and(|peer| peer.to_string() == wanted);
    (wanted.len() >= ID_MIN && key.starts_with(&wanted.to_ascii_lowercase())) || peer()
}

/// The announcement says all that the search asks about.
pub fn asks_announcement_alone(search: &Search, announced: &Announcement) -> bool {
    let silent = search.rank.is_none() && search.licence.is_none() && search.eval.is_none();
    silent && has_words(&search.text, announced.name.as_str())
}

/// Every condition, now that its manifest is known.
pub fn fits_words(search: &Search, words: &Words) -> bool {
    let details = &words.details;
    let rank = search.rank.is_none_or(|ranks| details.rank.is_some_and(|r| (ranks.min..=ranks.max).contains(&r)));
    let licence = search.licence.as_deref().is_none_or(|wanted| licence::is(wanted, &details.licence));
    let eval = search.eval.is_none() || figure(search, words).is_some();
    rank && licence && eval && has_words(&search.text, &format!("{} {}", words.name, details.description))
}

/// The figure that is asked for, in parts per million, if it is high enough.
fn figure(search: &Search, words: &Words) -> Option<u32> {
    let floor = search.eval.as_ref()?;
    let of_suite = words.details.evaluations.iter().filter(|one| one.suite.eq_ignore_ascii_case(&floor.suite));
    of_suite.map(|one| (one.exact_match * 1e6).round() as u32).filter(|ppm| *ppm >= floor.exact_match_ppm).max()
}

fn has_words(wanted: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    wanted.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

/// Its name alone has the words: its manifest is asked for before those of others.
pub fn fits_name(search: &Search, announced: &Announcement) -> bool {
    has_words(&search.text, announced.name.as_str())
}

/// Best first: the very name, a name that holds the words, a description that does; then the best figure if one is asked
/// for; then the newest. A date in the future is a lie and gains nothing.
pub fn standing(search: &Search, now: u64, announced: &Announcement, words: Option<&Words>) -> impl Ord + use<> {
    use std::cmp::Reverse;
    let name = announced.name.as_str();
    let by_name = if name.eq_ignore_ascii_case(search.text.trim()) {
        0
    } else if has_words(&search.text, name) {
        1
    } else {
        2
    };
    let figure = words.and_then(|words| figure(search, words));
    let created = words.map(|words| words.details.created.min(now));
    (by_name, Reverse(figure), Reverse(created), name.to_owned(), announced.manifest)
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::{Digest, ManifestId};
    use potluck_protocol::manifest::{AdapterInfo, Evaluation, Kind as ManifestKind, Manifest};
    use potluck_protocol::signed::PublicKey;
    use potluck_protocol::text::Name;

    use super::*;

    fn base() -> BaseId {
        BaseId(Digest::of(b"base"))
    }

    fn manifest(name: &str, r: u32, licence: &str, description: &str, dates_ppm: u32) -> Manifest {
        let evaluation = Evaluation {
            suite: Name::new("dates").expect("a name"),
            samples: 10,
            exact_match_ppm: dates_ppm,
            loss_micro: 1,
        };
        let info = AdapterInfo {
            base: base(),
            trained_on: base(),
            r,
            target_modules: vec!["q_proj".to_owned()],
            parents: Vec::new(),
            training: None,
            evaluations: vec![evaluation],
        };
        Manifest {
            kind: ManifestKind::Adapter(info),
            name: Name::new(name).expect("a name"),
            licence: licence.to_owned(),
            description: description.to_owned(),
            created: 5,
            publisher: PublicKey::of(&Keypair::generate()),
            files: Vec::new(),
        }
    }

    fn announced(manifest: &Manifest) -> Announcement {
        Announcement {
            manifest: ManifestId(Digest::of(manifest.name.as_str().as_bytes())),
            manifest_len: 1,
            kind: KindTag::from(&manifest.kind),
            name: manifest.name.clone(),
            base: base(),
            total_bytes: 1,
            publisher: manifest.publisher,
            sequence: 1,
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let words = Words::of(&manifest("sql-helper", 16, "Apache-2.0", "Writes SQL for Postgres", 800_000));
        let yes = |search: Search| assert!(fits_words(&search, &words), "{search:?}");
        let no = |search: Search| assert!(!fits_words(&search, &words), "{search:?}");
        let text = |text: &str| Search { text: text.to_owned(), ..Search::default() };
        let rank = |text: &str| Search { rank: text.parse().ok(), ..Search::default() };
        let licence = |text: &str| Search { licence: Some(text.to_owned()), ..Search::default() };
        let eval = |text: &str| Search { eval: text.parse().ok(), ..Search::default() };
        yes(Search::default());
        yes(text("postgres HELPER"));
        no(text("postgres mysql"));
        yes(rank("8..16"));
        no(rank("17..32"));
        yes(licence("apache-2.0"));
        no(licence("MIT"));
        yes(eval("dates>=0.8"));
        no(eval("dates>=0.81"));
        no(eval("times>=0"));
        no(Search { licence: Some("MIT".to_owned()), ..text("sql") });
    }

    #[test]
    fn announcements_are_sorted_out_by_what_they_say() {
        let one = announced(&manifest("a", 1, "", "", 0));
        let fits = |search: &Search, base| fits_announcement(search, base, &one);
        let other = BaseId(Digest::of(b"other"));
        assert!(fits(&Search::default(), None) && fits(&Search::default(), Some(base())));
        assert!(!fits(&Search::default(), Some(other)));
        assert!(!fits(&Search { kind: Some(KindTag::Base), ..Search::default() }, None));
        let publisher = |text: String| Search { publisher: Some(text), ..Search::default() };
        let key = one.publisher.0.to_string();
        assert!(fits(&publisher(key[..8].to_uppercase()), None));
        assert!(fits(&publisher(one.publisher.peer_id().expect("a key").to_string()), None));
        assert!(!fits(&publisher(key[..3].to_owned()), None), "too short to mean one");
        assert!(!fits(&publisher("f".repeat(64)), None));
        let a_base = Announcement { kind: KindTag::Base, ..one.clone() };
        assert!(fits_announcement(&Search::default(), None, &a_base));
        assert!(!fits_announcement(&Search { rank: "1".parse().ok(), ..Search::default() }, None, &a_base));
    }

    #[test]
    fn an_announcement_that_its_manifest_does_not_bear_out_is_none() {
        let manifest = manifest("a", 1, "", "", 0);
        let (words, good) = (Words::of(&manifest), announced(&manifest));
        assert!(words.bears_out(&good));
        let lies = [
            Announcement { name: Name::new("better").expect("a name"), ..good.clone() },
            Announcement { kind: KindTag::Base, ..good.clone() },
            Announcement { base: BaseId(Digest::of(b"other")), ..good.clone() },
            Announcement { publisher: PublicKey::of(&Keypair::generate()), ..good.clone() },
        ];
        assert!(lies.iter().all(|lie| !words.bears_out(lie)));
    }

    #[test]
    fn the_best_come_first() {
        let search = Search { text: "sql".to_owned(), eval: "dates>=0".parse().ok(), ..Search::default() };
        let manifests = [
            manifest("other", 1, "", "speaks sql", 900_000),
            manifest("sql-b", 1, "", "", 100_000),
            manifest("sql-a", 1, "", "", 500_000),
            manifest("sql", 1, "", "", 0),
        ];
        let mut all: Vec<_> = manifests.iter().map(|one| (announced(one), Words::of(one))).collect();
        all.sort_by_key(|(announced, words)| standing(&search, 9, announced, Some(words)));
        assert_eq!(
            all.iter().map(|(one, _)| one.name.as_str()).collect::<Vec<_>>(),
            ["sql", "sql-a", "sql-b", "other"]
        );
        let dated = |created| {
            let words = Words::of(&Manifest { created, ..manifest("x", 1, "", "", 0) });
            let announced = announced(&manifest("x", 1, "", "", 0));
            move || standing(&Search::default(), 100, &announced, Some(&words))
        };
        assert!(dated(50)() < dated(40)(), "newest first");
        assert!(dated(u64::MAX)() == dated(100)(), "the future is worth no more than now");
    }
}
