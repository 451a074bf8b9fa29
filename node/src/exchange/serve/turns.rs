//! When a request is answered: at once within what its asker may ask, and at a steady rate beyond that.
//!
//! Nobody is refused for asking too much, because a refusal costs nearly as much as an answer and could be had as fast as
//! it is given. The request waits for its turn instead; what follows on its stream stays on the wire meanwhile, and costs
//! nothing there. What may be asked is counted for each peer, over all its streams and connections, and for each
//! neighbourhood, because a new name costs nothing. A pure machine: the time is an argument.

use libp2p::PeerId;
use potluck_protocol::bulk::Request;
use potluck_protocol::codec::Heard;
use potluck_protocol::rate_limit::{Rate, RateLimiter};

use super::super::limits::{
    ASKERS, CATALOGUE_QUESTIONS, CATALOGUE_QUESTIONS_NEAR, QUESTIONS, QUESTIONS_NEAR, SMALL_SHARDS, SMALL_SHARDS_NEAR,
    TURN_PATIENCE_MS,
};
use super::super::uploads::Asker;
use crate::addresses::AddressGroup;

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any small question.
    Question,
    /// A small question about the catalogue, which counts as both.
    Catalogue,
    /// A shard, or that one is called back. One that brings enough bytes is not counted: its bytes are.
    Shard,
}

impl Kind {
    /// What this request counts as.
    pub fn of(request: &Heard<Request>) -> Self {
        match request {
            Heard::Known(Request::Shard(_) | Request::Cancel(_)) => Self::Shard,
            Heard::Known(Request::Compare(_) | Request::Records(_)) => Self::Catalogue,
            Heard::Known(
                Request::Manifest(_)
                | Request::Have(_)
                | Request::Providers(_)
                | Request::Announcements(_)
                | Request::Peers,
            )
            | Heard::Later(_) => Self::Question,
        }
    }
}

/// When a request's turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is answered then.
    At(u64),
    /// Its peer has too many others waiting: it is told `Busy` then, and not sooner.
    Refused(u64),
}

/// What everybody may still ask. // I12
#[derive(Debug)]
pub struct Turns {
    questions: Allowance,
    catalogue: Allowance,
    shards: Allowance,
}

/// What may be asked of one kind.
#[derive(Debug)]
struct Allowance {
    peers: RateLimiter<PeerId>,
    near: RateLimiter<AddressGroup>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            questions: Allowance::new(QUESTIONS, QUESTIONS_NEAR),
            catalogue: Allowance::new(CATALOGUE_QUESTIONS, CATALOGUE_QUESTIONS_NEAR),
            shards: Allowance::new(SMALL_SHARDS, SMALL_SHARDS_NEAR),
        }
    }
}

impl Turns {
    /// When a request that came now has its turn; it counts from now on.
    pub fn take(&mut self, asker: Asker, kind: Kind, now_ms: u64) -> Turn {
        let at_ms = match kind {
            Kind::Question => self.questions.reserve(asker, now_ms),
            Kind::Catalogue => self.reserve_both(asker, now_ms),
            Kind::Shard => self.shards.reserve(asker, now_ms),
        };
        at_ms.map_or(Turn::Refused(now_ms.saturating_add(TURN_PATIENCE_MS)), Turn::At)
    }

    /// A shard's bytes are what it costs: the request does not count.
    pub fn give_back_shard(&mut self, asker: Asker) {
        self.shards.give_back(asker);
    }

    fn reserve_both(&mut self, asker: Asker, now_ms: u64) -> Option<u64> {
        let of_catalogue = self.catalogue.reserve(asker, now_ms)?;
        let of_all = self.questions.reserve(asker, now_ms);
        if of_all.is_none() {
            self.catalogue.give_back(asker);
        }
        Some(of_all?.max(of_catalogue))
    }
}

impl Allowance {
    fn new(peer: Rate, near: Rate) -> Self {
        Self { peers: RateLimiter::new(peer, ASKERS), near: RateLimiter::new(near, ASKERS) }
    }

    fn reserve(&mut self, asker: Asker, now_ms: u64) -> Option<u64> {
        let its = self.peers.reserve(asker.peer, now_ms, TURN_PATIENCE_MS)?;
        if asker.group.is_here() {
            return Some(its);
        }
        let near = self.near.reserve(asker.group, now_ms, TURN_PATIENCE_MS);
        if near.is_none() {
            self.peers.give_back(&asker.peer);
        }
        Some(near?.max(its))
    }

    fn give_back(&mut self, asker: Asker) {
        self.peers.give_back(&asker.peer);
        self.near.give_back(&asker.group);
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{BaseId, Digest, ManifestId, ShardId};

    use super::super::super::limits::SLOTS_PER_PEER;
    use super::*;

    const STREAMS: usize = 16;

    fn asker(number: u8) -> Asker {
        Asker { peer: PeerId::random(), group: AddressGroup::V4([10, 0, number]) }
    }

    /// The moments at which requests are answered, if each of so many streams asks again as soon as it has an answer.
    fn answered(turns: &mut Turns, askers: &[Asker], streams: usize, kind: Kind, until_ms: u64) -> Vec<u64> {
        let mut waiting: Vec<(u64, Asker)> = (0..streams).flat_map(|_| askers.iter().map(|one| (0, *one))).collect();
        let mut moments = Vec::new();
        while let Some(next) = waiting.iter_mut().min_by_key(|(at_ms, _)| *at_ms)
            && next.0 < until_ms
        {
            // A turn that is answered as quickly as nothing is.
            let (Turn::At(at_ms) | Turn::Refused(at_ms)) = turns.take(next.1, kind, next.0);
            next.0 = at_ms;
            moments.push(at_ms);
        }
        moments
    }

    #[test]
    fn whoever_asks_without_end_is_answered_at_a_steady_rate_whatever_they_ask() {
        for (kind, rate) in
            [(Kind::Question, QUESTIONS), (Kind::Catalogue, CATALOGUE_QUESTIONS), (Kind::Shard, SMALL_SHARDS)]
        {
            for streams in [1, STREAMS] {
                let moments = answered(&mut Turns::default(), &[asker(1)], streams, kind, 60_000);
                let most = rate.burst + 60_000 / rate.refill_ms + streams as u64;
                assert!(moments.len() as u64 <= most, "{kind:?} {streams}: {} of {most}", moments.len());
                assert!(moments.len() as u64 + 2 * streams as u64 >= most, "they are not starved: {}", moments.len());
            }
        }
    }

    #[test]
    fn new_names_in_one_neighbourhood_share_what_a_few_peers_may_ask() {
        let mut turns = Turns::default();
        let many: Vec<_> = (0..200).map(|_| asker(1)).collect();
        let count = answered(&mut turns, &many, 1, Kind::Question, 60_000).len() as u64;
        let most = QUESTIONS_NEAR.burst + 60_000 / QUESTIONS_NEAR.refill_ms + many.len() as u64;
        // Those who are refused wait as long as the others.
        let refused = many.len() as u64 * (60_000 / TURN_PATIENCE_MS + 1);
        assert!(count <= most + refused, "{count}");
        assert_eq!(turns.take(asker(2), Kind::Question, 0), Turn::At(0), "elsewhere nobody waits");
    }

    #[test]
    fn who_asks_within_their_rates_never_waits() {
        let mut turns = Turns::default();
        let (one, mut others) = (asker(1), (0..3).map(|_| asker(1)).collect::<Vec<_>>());
        // A burst: a search, a release, a node that follows a hundred bases and comes back.
        assert!((0..QUESTIONS.burst - 100).all(|_| turns.take(one, Kind::Question, 5) == Turn::At(5)));
        assert!((0..100).all(|_| turns.take(one, Kind::Catalogue, 5) == Turn::At(5)));
        // An hour of questions, of three others too.
        others.push(one);
        for n in 1..=3_600_000 / QUESTIONS.refill_ms {
            let now_ms = 5 + n * QUESTIONS.refill_ms;
            assert!(others.iter().all(|one| turns.take(*one, Kind::Question, now_ms) == Turn::At(now_ms)), "{n}");
        }
    }

    #[test]
    fn shards_that_bring_bytes_are_never_waited_for() {
        let mut turns = Turns::default();
        let asker = asker(1);
        for now_ms in 0..20_000 {
            assert!((0..SLOTS_PER_PEER).all(|_| turns.take(asker, Kind::Shard, now_ms) == Turn::At(now_ms)));
            (0..SLOTS_PER_PEER).for_each(|_| turns.give_back_shard(asker));
        }
        assert_eq!(turns.take(asker, Kind::Question, 0), Turn::At(0));
    }

    #[test]
    fn no_turn_is_later_than_an_asker_waits_and_what_is_refused_costs_nothing_later() {
        let (mut turns, asker) = (Turns::default(), asker(1));
        let all: Vec<_> = (0..100_000).map(|_| turns.take(asker, Kind::Question, 0)).collect();
        let given = all.iter().filter(|turn| matches!(turn, Turn::At(at_ms) if *at_ms <= TURN_PATIENCE_MS)).count();
        let refused = all.iter().filter(|turn| **turn == Turn::Refused(TURN_PATIENCE_MS)).count();
        assert_eq!(given as u64, QUESTIONS.burst + TURN_PATIENCE_MS / QUESTIONS.refill_ms);
        assert_eq!(given + refused, all.len());
        let again_ms = TURN_PATIENCE_MS + QUESTIONS.refill_ms;
        assert_eq!(turns.take(asker, Kind::Question, again_ms), Turn::At(again_ms));
    }

    #[test]
    fn every_request_counts_as_something_and_what_is_of_a_later_version_too() {
        let (manifest, shard) = (ManifestId(Digest::of(b"m")), ShardId(Digest::of(b"s")));
        let questions = [
            Request::Manifest(manifest),
            Request::Have(vec![shard]),
            Request::Providers(manifest),
            Request::Announcements(BaseId(Digest::of(b"b"))),
            Request::Peers,
        ];
        assert!(questions.into_iter().all(|one| Kind::of(&Heard::Known(one)) == Kind::Question));
        assert_eq!(Kind::of(&Heard::Later(77)), Kind::Question);
        for one in [Request::Shard(shard), Request::Cancel(shard)] {
            assert_eq!(Kind::of(&Heard::Known(one)), Kind::Shard);
        }
    }
}
