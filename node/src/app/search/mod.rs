//! Searching what the network offers: the announcements that were heard, and what the manifests behind them say.
//!
//! An announcement holds name, kind, base, publisher and size. Rank, licence, description and figures are the manifest's:
//! those of promising announcements are asked for, a bounded number within a bounded time, and remembered.

pub mod conditions;
pub mod offers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::announce::Announcement;
use potluck_protocol::ask::spread;
use potluck_protocol::catalogue::Record;
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
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{Store, StoreError};

/// Manifests that one search asks for: at most 16 MiB come. The next search goes on from there.
const LOOKED_AT: usize = 64;

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
    /// Who stands behind it, of one that was not in the catalogue.
    from: Option<PeerId>,
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
        let known = heard.iter().map(|record| (None, record.body()));
        let all = known.chain(around.iter().map(|(peer, record)| (Some(*peer), record.body())));
        let mut candidates: Vec<_> = all
            .filter(|(_, announced)| fits_announcement(&search, base, announced))
            .map(|(from, announced)| Candidate {
                words: self.offers.get(&announced.manifest),
                fits: fits_name(&search, announced),
                announced: announced.clone(),
                from,
            })
            .collect();
        self.look_closer(call, network, &mut candidates).await?;
        self.answer(&search, candidates, heard.len() + around.len()).await
    }

    /// What peers offer for bases that are not followed here.
    async fn look_around(&self, call: &Call<'_>, network: &Network) -> Outcome<Vec<(PeerId, Record)>> {
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
            if let Some(peer) = candidate.from {
                network.exchange.note_named(candidate.announced.manifest, peer);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        call.phase(format!("asking for {} manifests", wanted.len())).await;
        let looked = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(Failure::interrupted()),
            looked = network.exchange.look_at(wanted, PATIENCE) => looked,
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

/// Manifests to ask for: those of fitting names first, and of these one of each publisher before a second of any, by
/// chance. Whoever announces a thousand takes no place from the others.
fn worth_asking_for(candidates: &[Candidate], rng: &mut SplitMix64) -> Vec<ManifestId> {
    let silent = candidates.iter().filter(|one| one.words.is_none());
    let (fitting, others): (Vec<_>, Vec<_>) = silent.partition(|one| one.fits);
    let mut wanted = Vec::new();
    for some in [fitting, others] {
        let some = spread(some, |one| one.announced.publisher, rng);
        wanted.extend(some.into_iter().map(|one| one.announced.manifest));
    }
    let mut seen = BTreeSet::new();
    wanted.retain(|id| seen.insert(*id));
    wanted.truncate(LOOKED_AT);
    wanted
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
