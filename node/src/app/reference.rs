//! What a person's word for something means: an id, the start of one, or a name. The one way for every verb.
//!
//! What reads as an id is one, whatever is called so. What is here comes before what was only heard of, so that nobody
//! changes what a word means by announcing something. What could be meant twice is an error that lists both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::catalogue::Record;
use potluck_protocol::id::{BaseId, ManifestId, RecipeId};
use potluck_protocol::lineage::Lineage;
use potluck_protocol::text::Name;
use potluck_trainer::files;

use crate::app::disk::Disk;
use crate::app::known_bases::{KnownBase, KnownBases, tiny_base, tiny_id};
use crate::app::lineages::Lineages;
use crate::app::network::Network;
use crate::failure::{Failure, Kind, Outcome};
use crate::naming;
use crate::naming::TINY;
use crate::store::ChannelRecord;
use crate::worker::proto::BaseSource;

/// Something with a manifest, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: ManifestId,
    pub kind: KindTag,
    pub name: String,
    /// It was meant by its id, not by a name that somebody chose.
    pub by_id: bool,
}

/// What people look for by name, the likeliest first.
pub const NAMED: [KindTag; 3] = [KindTag::Adapter, KindTag::Channel, KindTag::Base];

/// Looks up what somebody typed, in the store and among what was heard of.
#[derive(Clone)]
pub struct Names {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) lineages: Lineages,
}

impl Names {
    /// What an id, the start of one, or a name means. Ids are those of things of every kind; a name is looked for among
    /// one kind after the other, here before anywhere else.
    pub async fn find_known(&self, reference: &str, kinds: &[KindTag]) -> Outcome<Option<Known>> {
        let here = self.things_here().await?;
        let heard = async || Ok::<_, Failure>(things(self.heard_now().await?));
        if naming::digits(reference).is_some() {
            let found = match by_id(reference, &here)? {
                Some(found) => Some(found),
                None => by_id(reference, &heard().await?.concat())?,
            };
            if let Some(found) = found {
                return Ok(Some(Known { by_id: true, ..found }));
            }
        }
        if let Some(named) = self.find_named_here(reference, &here, kinds) {
            return Ok(Some(named));
        }
        match called_first(reference, &[here], kinds)? {
            Some(found) => Ok(Some(found)),
            None => called_first(reference, &heard().await?, kinds),
        }
    }

    /// The id of something that need not be known here: a whole id is always one.
    pub async fn find_id(&self, reference: &str, kinds: &[KindTag]) -> Outcome<Option<ManifestId>> {
        match naming::whole(reference) {
            Some(id) => Ok(Some(id)),
            None => Ok(self.find_known(reference, kinds).await?.map(|known| known.id)),
        }
    }

    /// The id of an adapter, or of a base if it is named by its id; what means something else is told so. A whole id that
    /// nothing is known of may be one.
    pub async fn find_pullable(&self, reference: &str) -> Outcome<Option<ManifestId>> {
        match self.find_known(reference, &NAMED).await? {
            Some(known) if known.kind == KindTag::Adapter || (known.kind == KindTag::Base && known.by_id) => {
                Ok(Some(known.id))
            }
            Some(known) => Err(no_adapter(reference, known.kind)),
            None => Ok(naming::whole(reference)),
        }
    }

    /// The id of a channel by its name or id, whether it is followed or was only heard of.
    pub async fn find_channel_id(&self, reference: &str) -> Outcome<Option<ManifestId>> {
        if let Some(followed) = self.known_channel(reference)? {
            return Ok(Some(followed.id));
        }
        match self.find_known(reference, &[KindTag::Channel]).await? {
            Some(known) if known.kind == KindTag::Channel => Ok(Some(known.id)),
            Some(known) => Err(Failure::new(
                Kind::Usage,
                format!("`{reference}` is {}, no channel", a(known.kind)),
            )
            .hint("`potluck search` lists the channels that were heard of, `potluck channel list` those that are followed")),
            None => Ok(naming::whole(reference)),
        }
    }

    /// The id of a base that need not be here, whole or its start: never by a name that its publisher chose.
    pub async fn heard_base(&self, reference: &str) -> Outcome<Option<BaseId>> {
        if let Some(id) = naming::whole(reference) {
            return Ok(Some(id));
        }
        if naming::digits(reference).is_none() {
            return Ok(None);
        }
        let here = self.disk.on_store(|store| store.manifests()).await?.into_iter().filter_map(|summary| summary.base);
        let heard = self.heard_now().await?.into_iter().flatten().map(|heard| heard.base);
        here_first(reference, here, heard)
    }

    async fn things_here(&self) -> Outcome<Vec<Known>> {
        let held = self.disk.on_store(|store| store.manifests()).await?;
        let known = |kind, id, name: &Name| Known { id, kind, name: name.to_string(), by_id: false };
        let mut all: Vec<_> = held.iter().map(|summary| known(summary.kind, summary.id, &summary.name)).collect();
        // What a person calls a channel here, its publisher may call otherwise.
        let followed = self.disk.store.channels();
        all.extend(followed.iter().map(|ChannelRecord { id, name, .. }| known(KindTag::Channel, *id, name)));
        Ok(all)
    }

    /// The network's own catalogue while there is one, for the store notes later what it heard; and apart from that what
    /// the last search saw of other bases, for which anybody may have said anything.
    pub async fn heard_now(&self) -> Outcome<[Vec<Announcement>; 2]> {
        let bodies = |records: Vec<Record>| records.iter().map(|record| record.body().clone()).collect();
        match &self.network {
            Some(network) => Ok([network.handle.every_announcement(), network.exchange.seen_around()].map(bodies)),
            None => Ok([self.disk.heard().await?, Vec::new()]),
        }
    }

    /// What somebody published here last under that name.
    fn find_named_here(&self, reference: &str, here: &[Known], kinds: &[KindTag]) -> Option<Known> {
        let id = self.disk.store.named(&reference.parse::<Name>().ok()?)?;
        here.iter().find(|thing| thing.id == id && kinds.contains(&thing.kind)).cloned()
    }

    /// A base that is here, by path, name, id, or `tiny`.
    pub fn known_base(&self, reference: &str) -> Outcome<Option<KnownBase>> {
        let tiny = tiny_id()?;
        if reference == TINY {
            return Ok(Some(tiny_base(tiny)));
        }
        let path = Path::new(reference);
        if path.is_absolute() {
            if let Err(error) = files::look(path) {
                return Err(no_base(&format!("{}: {error}", path.display())));
            }
            return Ok(Some(self.known.at(path)));
        }
        let bases = self.disk.store.bases();
        let added = bases.iter().map(|base| (base.name.as_str(), base.id.to_string(), Some(base)));
        let found = one(reference, added.chain([(TINY, tiny.to_string(), None)]))?;
        Ok(found.map(|base| match base {
            Some(base) => KnownBase {
                name: base.name.to_string(),
                id: Some(base.id),
                source: BaseSource::Path(PathBuf::from(&base.path)),
            },
            None => tiny_base(tiny),
        }))
    }

    /// A channel that is known here.
    pub fn known_channel(&self, reference: &str) -> Outcome<Option<ChannelRecord>> {
        let all = self.disk.store.channels();
        one(reference, all.into_iter().map(|one| (one.name.to_string(), one.id.to_string(), one)))
    }

    /// A channel that must be known here.
    pub fn find_channel(&self, reference: &str) -> Outcome<ChannelRecord> {
        self.known_channel(reference)?.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("no channel `{reference}` is followed here"))
                .hint("follow one with `potluck channel follow CHANNEL`; list those that are with `potluck channel list`, those that were heard of with `potluck search`")
        })
    }

    /// What a channel's name or id, a version's id, or the id of its weights as a base means: the channel up to there. Of
    /// a channel that is what is in force here.
    pub async fn find_version(&self, reference: &str) -> Outcome<Option<Lineage>> {
        if let Some(channel) = self.known_channel(reference)? {
            return self.lineages.in_force(&channel).await.map(Some);
        }
        let versions = self.lineages.versions().await?;
        let by_id = versions.iter().map(|(id, version)| ("", id.to_string(), (*id, version.channel)));
        let found = match one(reference, by_id)? {
            Some(found) => Some(found),
            // The same weights may be several versions'; any of them will do.
            None => {
                let by_base =
                    versions.iter().map(|(id, version)| ("", version.base.to_string(), (*id, version.channel)));
                one(reference, by_base)?
            }
        };
        match found {
            Some((id, channel)) => self.lineages.read(channel, Some(id)).await.map(Some),
            None => Ok(None),
        }
    }

    /// A recipe that is here, by its id or the start of it.
    pub async fn find_recipe(&self, reference: &str) -> Outcome<Option<RecipeId>> {
        let recipes = self.disk.on_store(|store| store.recipes()).await?;
        one(reference, recipes.iter().map(|id| ("", id.to_string(), *id)))
    }
}

/// What was heard of, as something to look for.
fn things(heard: [Vec<Announcement>; 2]) -> [Vec<Known>; 2] {
    let known = |heard: Announcement| Known {
        id: heard.manifest,
        kind: heard.kind,
        name: heard.name.to_string(),
        by_id: false,
    };
    heard.map(|some| some.into_iter().map(known).collect())
}

/// The one whose id is or starts so.
fn by_id(reference: &str, all: &[Known]) -> Outcome<Option<Known>> {
    one(reference, all.iter().map(|thing| ("", thing.id.to_string(), thing.clone())))
}

/// What is called so in the first of these places that has anything of that name: nobody makes a name ambiguous by what
/// they say in a later one.
fn called_first(reference: &str, places: &[Vec<Known>], kinds: &[KindTag]) -> Outcome<Option<Known>> {
    for place in places {
        if let Some(found) = called(reference, place, kinds)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Those of that name and of the first kind that has any, which may be one only.
fn called(reference: &str, all: &[Known], kinds: &[KindTag]) -> Outcome<Option<Known>> {
    for kind in kinds {
        let all = all.iter().filter(|thing| thing.kind == *kind);
        let found = one(reference, all.map(|thing| (thing.name.as_str(), thing.id.to_string(), thing.clone())))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The base whose id is or starts so: of those here, else of those that were heard of.
fn here_first(
    reference: &str,
    here: impl Iterator<Item = BaseId>,
    heard: impl Iterator<Item = BaseId>,
) -> Outcome<Option<BaseId>> {
    let by_id = |base: BaseId| ("", base.to_string(), base);
    match one(reference, here.map(by_id))? {
        Some(found) => Ok(Some(found)),
        None => one(reference, heard.map(by_id)),
    }
}

/// The one candidate whose id starts so, or else with that name. Several are an error that lists them.
pub fn one<T>(reference: &str, candidates: impl Iterator<Item = (impl AsRef<str>, String, T)>) -> Outcome<Option<T>> {
    let digits = naming::digits(reference);
    let starts = |id: &str| digits.as_deref().is_some_and(|digits| id.starts_with(digits));
    let (by_id, others): (Vec<_>, Vec<_>) = candidates.partition(|(_, id, _)| starts(id));
    let mut fitting = if by_id.is_empty() { others } else { by_id };
    fitting.retain(|(name, id, _)| starts(id) || name.as_ref() == reference);
    // One object that several announcements or records name is still one.
    fitting.sort_by(|a, b| a.1.cmp(&b.1));
    fitting.dedup_by(|a, b| a.1 == b.1);
    if fitting.len() > 1 {
        let ids: Vec<&str> = fitting.iter().map(|(_, id, _)| id.as_str()).collect();
        return Err(Failure::new(Kind::Conflict, format!("`{reference}` is ambiguous: {}", distinct_starts(&ids)))
            .hint("type one of these instead; `potluck show ID` says what it is"));
    }
    Ok(fitting.pop().map(|(_, _, found)| found))
}

/// The starts of sorted ids, each long enough to mean one of them.
fn distinct_starts(ids: &[&str]) -> String {
    const USUAL: usize = 12;
    const LISTED: usize = 8;
    let alike = ids.windows(2).map(|two| two[0].bytes().zip(two[1].bytes()).take_while(|(a, b)| a == b).count());
    let len = alike.max().map_or(USUAL, |alike| USUAL.max(alike + 1));
    let mut starts: Vec<_> = ids.iter().take(LISTED).map(|id| id.get(..len).unwrap_or(id).to_owned()).collect();
    if ids.len() > LISTED {
        starts.push(format!("and {} more", ids.len() - LISTED));
    }
    starts.join(", ")
}

/// The word for a kind, with its article.
pub fn a(kind: KindTag) -> &'static str {
    match kind {
        KindTag::Adapter => "an adapter",
        KindTag::Base => "a base",
        KindTag::Dataset => "a dataset",
        KindTag::Channel => "a channel",
        KindTag::Proposal => "a proposal to a channel",
        KindTag::Version => "a version of a channel",
        KindTag::Proof => "a proof against a steward",
    }
}

/// An adapter was wanted, and this is something else: which verb takes it.
pub fn no_adapter(reference: &str, kind: KindTag) -> Failure {
    let hint = match kind {
        KindTag::Channel => format!(
            "see it with `potluck show {reference}`, take its versions with `potluck channel follow {reference}`"
        ),
        KindTag::Version => format!(
            "use it with `--base {reference}`, rebuild and compare it with `potluck verify {reference}`; newer ones come with `potluck channel update CHANNEL`"
        ),
        KindTag::Proposal => format!("what became of it: `potluck show {reference}`"),
        KindTag::Base => "a base is named with --base; fetch one by its id with `potluck base add BASE-ID`".to_owned(),
        KindTag::Adapter | KindTag::Dataset | KindTag::Proof => format!("see it with `potluck show {reference}`"),
    };
    Failure::new(Kind::Usage, format!("`{reference}` is {}, no adapter", a(kind))).hint(hint)
}

/// What is said where a base was meant and none is known.
pub fn no_base_called(reference: &str) -> Failure {
    no_base(&format!("no base `{reference}` is known here"))
}

fn no_base(what: &str) -> Failure {
    Failure::new(Kind::NotFound, what).hint(
        "list the known ones with `potluck base list`; add one with `potluck base add PATH`, from the hub with `potluck base add OWNER/NAME`, or from peers with `potluck base add BASE-ID`; `tiny` is always there",
    )
}

/// What is said where a channel was meant and none is known.
pub fn no_channel_called(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("no channel `{reference}` is followed or known here")).hint(
        "`potluck search` lists those that were heard of; another one is given by its whole id (64 hex digits), as its steward got it from `potluck channel open`",
    )
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    #[test]
    fn a_name_or_the_start_of_an_id_means_one_thing_or_is_refused() {
        let (a, b, c) = ("11".repeat(32), format!("11111111{}", "2f".repeat(28)), "33".repeat(32));
        let ids = [("a", a.clone(), 1), ("b", b, 2), ("b", c.clone(), 3), ("33333333", a.clone(), 1)];
        let find = |reference: &str| one(reference, ids.iter().map(|(name, id, n)| (*name, id.clone(), *n)));
        assert_eq!(find("a"), Ok(Some(1)));
        assert_eq!(find("111111112f2f"), Ok(Some(2)));
        assert_eq!(find("111111112F2f"), Ok(Some(2)), "in either case");
        assert_eq!(find(&c.to_uppercase()), Ok(Some(3)));
        assert_eq!(find("1111111"), Ok(None), "too short to be meant");
        assert_eq!(find("none"), Ok(None));
        assert_eq!(find("33333333"), Ok(Some(3)), "what reads as an id is one, whatever is called so");
        let several = find("11111111").expect_err("two start so");
        assert_eq!(several.kind, Kind::Conflict);
        assert!(several.message.contains("111111111111, 111111112f2f"), "{several}");
        assert_eq!(find("b").map_err(|failure| failure.kind), Err(Kind::Conflict));
    }

    #[test]
    fn among_things_of_one_place_the_likelier_kind_is_meant() {
        let thing = |kind, id: &[u8]| {
            let name = "fjord".to_owned();
            Known { id: ManifestId(Digest::of(id)), kind, name, by_id: false }
        };
        let (base, channel) = (thing(KindTag::Base, b"1"), thing(KindTag::Channel, b"2"));
        let all = [base.clone(), channel.clone()];
        assert_eq!(called("fjord", &all, &NAMED), Ok(Some(channel)));
        assert_eq!(called("fjord", &all, &[KindTag::Adapter, KindTag::Base]), Ok(Some(base.clone())));
        assert_eq!(called("fjord", &all, &[KindTag::Adapter]), Ok(None));
        let two = called("fjord", &[base, thing(KindTag::Base, b"3")], &NAMED);
        assert_eq!(two.map_err(|failure| failure.kind), Err(Kind::Conflict));
    }

    #[test]
    fn what_peers_say_of_bases_that_are_not_followed_makes_no_name_ambiguous() {
        let thing = |id: &[u8]| {
            let name = "fjord".to_owned();
            Known { id: ManifestId(Digest::of(id)), kind: KindTag::Adapter, name, by_id: false }
        };
        let (heard, around) = (vec![thing(b"1")], vec![thing(b"2"), thing(b"3")]);
        let find =
            |heard: &[Known], around: &[Known]| called_first("fjord", &[heard.to_vec(), around.to_vec()], &NAMED);
        assert_eq!(find(&heard, &around), Ok(Some(heard[0].clone())));
        assert_eq!(find(&[], &around[..1]), Ok(Some(around[0].clone())), "what a search showed can be named");
        assert_eq!(find(&[], &around).map_err(|failure| failure.kind), Err(Kind::Conflict));
        let start = &around[0].id.to_string()[..12];
        assert_eq!(by_id(start, &[heard, around.clone()].concat()), Ok(Some(around[0].clone())), "an id always");
    }

    /// Whoever announces a base with an id like that of one here takes nothing from it.
    #[test]
    fn the_start_of_an_id_means_the_base_that_is_here() {
        let base = |end: u8| {
            let mut bytes = [7; 32];
            bytes[31] = end;
            BaseId(Digest(bytes))
        };
        let find = |here: &[BaseId], heard: &[BaseId]| {
            here_first("07070707", here.iter().copied(), heard.iter().copied()).map_err(|failure| failure.kind)
        };
        assert_eq!(find(&[base(1)], &[base(2), base(3)]), Ok(Some(base(1))));
        assert_eq!(find(&[], &[base(2)]), Ok(Some(base(2))));
        assert_eq!(find(&[], &[base(2), base(3)]), Err(Kind::Conflict));
        assert_eq!(find(&[], &[]), Ok(None));
    }

    #[test]
    fn several_are_listed_by_starts_that_mean_one() {
        let (a, b) = ("ab".repeat(32), format!("{}{}", "ab".repeat(20), "cd".repeat(12)));
        let listed = distinct_starts(&[&a, &b]);
        assert_eq!(listed, format!("{}, {}", &a[..41], &b[..41]));
        let many: Vec<String> = (0..20).map(|n| format!("{n:064x}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(distinct_starts(&many).ends_with("and 12 more"));
    }
}
