//! Searching what the network offers: the announcements that were heard, and what the manifests behind them say.
//!
//! An announcement holds name, kind, base, publisher and size. Rank, licence, description and figures are the manifest's:
//! those of promising announcements are asked for, a bounded number within a bounded time, and remembered.

pub mod conditions;
pub mod offers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::announce::Announcement;
use potluck_protocol::ask::{spread, take_turns};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::splitmix::SplitMix64;
use tokio::time::{Instant, timeout_at};

use crate::api::search::{Found, Offer, Search};
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::known_bases::KnownBases;
use crate::app::network::{Network, next_heard};
use crate::app::reference::{Names, no_base_called};
use crate::app::search::conditions::{asks_announcement_alone, fits_announcement, fits_name, fits_words, standing};
use crate::app::search::offers::{Offers, Words};
use crate::config;
use crate::exchange::{Backed, Backer};
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{Store, StoreError};

/// Manifests that one search asks for: at most 16 MiB come. The next search goes on from there.
const LOOKED_AT: usize = 64;

/// Of these, places that offers for bases which are not followed here leave to the catalogue: what is in that was limited
/// when it came, and what peers say of other bases is as much as they like.
const LOOKED_AT_HEARD: usize = 48;

/// How long all of them may take: a person waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long peers may take to say what they offer for bases that are not followed here.
const AROUND: Duration = Duration::from_secs(3);

/// How long the first announcement of a base may take that was not followed before.
const FIRST: Duration = Duration::from_secs(5);

/// An announcement and what its manifest says, if that is known.
struct Candidate {
    announced: Announcement,
    /// Its name has the words that are searched for.
    fits: bool,
    words: Option<Arc<Words>>,
    /// Who stands behind it, of one that is not in the catalogue.
    by: Vec<Backer>,
}

/// Answers `potluck search`.
#[derive(Clone)]
pub struct Searcher {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) offers: Arc<Offers>,
}

impl Searcher {
    /// Answers `potluck search`.
    pub async fn search(&self, call: &Call<'_>, search: Search) -> Outcome<Found> {
        let network = self.network.as_ref().ok_or_else(|| {
            Failure::new(Kind::Unreachable, "searching needs a running daemon, and none runs on this home")
                .hint("run `potluck up --bootstrap ADDRESS` in another terminal, then search again")
        })?;
        let base = match &search.base {
            Some(reference) => Some(self.base_to_search(call, reference).await?),
            None => None,
        };
        if let Some(base) = base {
            listen(call, network, base).await?;
        }
        // A base that was named is followed by now. Otherwise whatever is offered counts, for this node's bases or not.
        let around = if base.is_none() { self.look_around(call, network).await? } else { Vec::new() };
        let heard = network.handle.every_announcement();
        let known = heard.iter().map(|record| (record.body(), &[][..]));
        let all = known.chain(around.iter().map(|backed| (backed.record.body(), &backed.by[..])));
        let mut candidates: Vec<_> = all
            .filter(|(announced, _)| fits_announcement(&search, base, announced))
            .map(|(announced, by)| Candidate {
                words: self.offers.get(&announced.manifest),
                fits: fits_name(&search, announced),
                announced: announced.clone(),
                by: by.to_vec(),
            })
            .collect();
        self.look_closer(call, network, &mut candidates).await?;
        self.answer(&search, candidates, heard.len() + around.len()).await
    }

    /// What peers offer for bases that are not followed here.
    async fn look_around(&self, call: &Call<'_>, network: &Network) -> Outcome<Vec<Backed>> {
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Failure::interrupted()),
            around = network.exchange.look_around(AROUND) => Ok(around),
        }
    }

    /// A base need not be here to be searched for.
    async fn base_to_search(&self, call: &Call<'_>, reference: &str) -> Outcome<BaseId> {
        match self.names.known_base(reference)? {
            Some(known) => self.bases.id(call, &known).await,
            None => self.names.heard_base(reference).await?.ok_or_else(|| no_base_called(reference)),
        }
    }

    /// Asks for the manifests of the most promising candidates of which only the announcement is known.
    async fn look_closer(&self, call: &Call<'_>, network: &Network, candidates: &mut [Candidate]) -> Outcome<()> {
        let wanted = worth_asking_for(candidates, &mut SplitMix64::new(network.exchange.draw()));
        for candidate in candidates.iter().filter(|one| wanted.contains(&one.announced.manifest)) {
            for backer in &candidate.by {
                network.exchange.note_named(candidate.announced.manifest, backer.peer);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let fit = candidates.iter().filter(|one| one.fits).map(|one| one.announced.manifest);
        let fitting = fit.filter(|id| wanted.contains(id)).collect();
        call.phase(format!("asking for {} manifests", wanted.len())).await;
        let looked = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(Failure::interrupted()),
            looked = network.exchange.look_at_first(wanted, fitting, PATIENCE) => looked,
        };
        for manifest in looked.found {
            self.offers.put(manifest.id(), Words::of(manifest.body()));
        }
        for candidate in candidates {
            candidate.words = self.offers.get(&candidate.announced.manifest);
        }
        Ok(())
    }

    async fn answer(&self, search: &Search, candidates: Vec<Candidate>, heard: usize) -> Outcome<Found> {
        let (mut fitting, mut unanswered) = (Vec::new(), 0);
        for Candidate { announced, words, .. } in candidates {
            match words {
                // What its manifest does not bear out is a lie, and no offer.
                Some(words) if !words.bears_out(&announced) => {}
                Some(words) if fits_words(search, &words) => fitting.push((announced, Some(words))),
                Some(_) => {}
                None if asks_announcement_alone(search, &announced) => fitting.push((announced, None)),
                None => unanswered += 1,
            }
        }
        let now = config::seconds_since_1970();
        fitting.sort_by_key(|(announced, words)| standing(search, now, announced, words.as_deref()));
        fitting.dedup_by(|a, b| a.0.manifest == b.0.manifest);
        let more = fitting.len().saturating_sub(search.limit);
        fitting.truncate(search.limit);
        let ids: Vec<_> = fitting.iter().map(|(announced, _)| announced.manifest).collect();
        let whole = self.disk.on_store(move |store| {
            ids.into_iter().filter_map(|id| whole(store, id).transpose()).collect::<Result<BTreeSet<_>, _>>()
        });
        let whole = whole.await?;
        let offer = |(announced, words): &(Announcement, Option<Arc<Words>>)| {
            self.offer_of(announced, words.as_deref(), whole.contains(&announced.manifest))
        };
        let results = fitting.iter().map(offer).collect();
        Ok(Found { results, more, heard, unanswered })
    }

    fn offer_of(&self, announced: &Announcement, words: Option<&Words>, here: bool) -> Offer {
        Offer {
            manifest: announced.manifest,
            name: announced.name.to_string(),
            kind: announced.kind,
            base: announced.base,
            base_name: self.known.by_id(&announced.base).map(|base| base.name),
            publisher: announced.publisher,
            bytes: words.map_or(announced.total_bytes, |words| words.bytes),
            here,
            details: words.map(|words| words.details.clone()),
        }
    }
}

/// Manifests to ask for: those of fitting names first. Of these, in the catalogue, one of each publisher before a second
/// of any, by chance: whoever announces a thousand takes no place from the others. Of those for bases that are not followed
/// here, one of each neighbourhood that stands behind some, there one of each peer, and of it one of each publisher: keys
/// cost nothing, and nobody has limited how many of them a peer stands behind.
fn worth_asking_for(candidates: &[Candidate], rng: &mut SplitMix64) -> Vec<ManifestId> {
    let unread = candidates.iter().filter(|one| one.words.is_none());
    let (heard, told): (Vec<_>, Vec<_>) = unread.partition(|one| one.by.is_empty());
    let mut wanted = fitting_first(heard, |some| spread(some, |one| one.announced.publisher, rng));
    let told = fitting_first(told, |some| by_backers(some, rng));
    let rest = wanted.split_off(wanted.len().min(LOOKED_AT_HEARD));
    wanted.extend(told.into_iter().chain(rest));
    let mut seen = BTreeSet::new();
    wanted.retain(|id| seen.insert(*id));
    wanted.truncate(LOOKED_AT);
    wanted
}

/// The manifests of candidates with fitting names, then those of others, each once.
fn fitting_first<'a>(
    all: Vec<&'a Candidate>,
    mut put_in_order: impl FnMut(Vec<&'a Candidate>) -> Vec<&'a Candidate>,
) -> Vec<ManifestId> {
    let (fitting, others) = all.into_iter().partition(|one| one.fits);
    let in_order = [fitting, others].into_iter().flat_map(&mut put_in_order);
    let mut seen = BTreeSet::new();
    in_order.map(|one| one.announced.manifest).filter(|id| seen.insert(*id)).collect()
}

/// By turns among neighbourhoods, in each among peers, and for each among publishers. What several stand behind is there
/// once for each.
fn by_backers<'a>(candidates: Vec<&'a Candidate>, rng: &mut SplitMix64) -> Vec<&'a Candidate> {
    let backed = candidates.into_iter().flat_map(|one| one.by.iter().map(move |by| (*by, one))).collect();
    let backed = spread(backed, |(by, one)| (*by, one.announced.publisher), rng);
    let backed = take_turns(backed, |(by, _)| *by, rng);
    take_turns(backed, |(by, _)| by.near, rng).into_iter().map(|(_, one)| one).collect()
}

/// The id, if all of it is here.
fn whole(store: &Store, id: ManifestId) -> Result<Option<ManifestId>, StoreError> {
    Ok(store.is_here_whole(&id)?.then_some(id))
}

/// Follows a base; if nothing is known of it yet, waits a moment for the first that is heard.
async fn listen(call: &Call<'_>, network: &Network, base: BaseId) -> Outcome<()> {
    let mut events = network.handle.events();
    network.handle.subscribe(base).await?;
    let until = Instant::now() + FIRST;
    while network.handle.announcements(base).is_empty() {
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(Failure::interrupted()),
            heard = timeout_at(until, next_heard(&mut events)) => match heard {
                Ok(heard) => heard?,
                Err(_) => return Ok(()),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;
    use potluck_protocol::announce::KindTag;
    use potluck_protocol::catalogue::Neighbourhood;
    use potluck_protocol::id::Digest;
    use potluck_protocol::signed::PublicKey;
    use potluck_protocol::text::Name;

    use super::*;

    /// By a key of its own.
    fn candidate(number: u64, by: &[Backer]) -> Candidate {
        let digest = Digest::of(&number.to_le_bytes());
        let announced = Announcement {
            manifest: ManifestId(digest),
            manifest_len: 100,
            kind: KindTag::Adapter,
            name: Name::new("sql").expect("a good name"),
            base: BaseId(digest),
            total_bytes: 1_000,
            publisher: PublicKey(digest),
            sequence: 1,
        };
        Candidate { announced, fits: true, words: None, by: by.to_vec() }
    }

    fn backer(near: u64) -> Backer {
        Backer { near: Neighbourhood(near), peer: PeerId::random() }
    }

    fn wanted(candidates: &[Candidate], seed: u64) -> Vec<ManifestId> {
        worth_asking_for(candidates, &mut SplitMix64::new(seed))
    }

    #[test]
    fn what_is_said_of_bases_that_are_not_followed_takes_a_quarter_of_the_places_at_most() {
        let stranger = backer(1);
        let heard = 0..40;
        let told = 1_000..3_000;
        let all: Vec<_> =
            heard.clone().map(|n| candidate(n, &[])).chain(told.map(|n| candidate(n, &[stranger]))).collect();
        for seed in 0..20 {
            let wanted = wanted(&all, seed);
            assert!(heard.clone().all(|n| wanted.contains(&candidate(n, &[]).announced.manifest)), "{seed}");
            assert_eq!(BTreeSet::from_iter(&wanted).len(), LOOKED_AT);
        }
        let heard: Vec<_> = (0..100).map(|n| candidate(n, &[])).collect();
        assert_eq!(wanted(&heard, 1).len(), LOOKED_AT, "and none if there are none of these");
        let few: Vec<_> = heard.into_iter().chain([candidate(1_000, &[stranger])]).collect();
        assert!(wanted(&few, 1).contains(&few[100].announced.manifest), "one has its place");
    }

    #[test]
    fn of_what_is_said_of_other_bases_each_neighbourhood_and_each_peer_has_its_turn_whatever_keys_others_made() {
        let strangers = [backer(1), backer(1), backer(2)];
        let (near_them, elsewhere) = (backer(2), backer(3));
        let made_up = (0..3_000).map(|n| candidate(n, &[strangers[n as usize % 3]]));
        let honest = [candidate(10_000, &[near_them]), candidate(10_001, &[elsewhere])];
        // A stranger says the same as somebody honest: that takes nothing from it.
        let both = candidate(10_002, &[strangers[0], backer(4)]);
        let all: Vec<_> = made_up.chain(honest).chain([both]).collect();
        for seed in 0..20 {
            let wanted = wanted(&all, seed);
            assert!(all[3_000..].iter().all(|one| wanted[..20].contains(&one.announced.manifest)), "{seed}");
        }
    }
}
