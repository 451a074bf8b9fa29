//! A base that we and others follow: who of them is compared with next, and when.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::voucher::Neighbourhood;
use crate::ask::spread;
use crate::splitmix::SplitMix64;

/// A base that we and others follow.
#[derive(Clone, Debug)]
pub(super) struct FollowedBase {
    pub peers: BTreeMap<PeerId, Follower>,
    /// The next regular round.
    pub next_ms: u64,
    /// When some neighbours are asked because we learned something; `None`: we did not.
    pub spread_ms: Option<u64>,
    /// Not before.
    pub spread_again_ms: u64,
}

/// A peer that follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    pub near: Neighbourhood,
    /// When the last round with it began; `None`: there was none.
    pub asked_ms: Option<u64>,
}

impl FollowedBase {
    /// Nobody else is known to follow it yet.
    pub fn new(next_ms: u64) -> Self {
        Self { peers: BTreeMap::new(), next_ms, spread_ms: None, spread_again_ms: 0 }
    }

    /// Some of these peers at random, spread over neighbourhoods.
    pub fn some_of(&self, peers: Vec<PeerId>, count: usize, rng: &mut SplitMix64) -> Vec<PeerId> {
        let near = |peer: &PeerId| self.peers.get(peer).map(|one| one.near);
        let mut order = spread(peers, near, rng);
        order.truncate(count);
        order
    }

    /// Of these peers, the one whose turn it is: of the neighbourhood with which a round was longest ago. Whoever has a
    /// hundred peers there has no more turns than others.
    pub fn next_of(&self, peers: Vec<PeerId>, rng: &mut SplitMix64) -> Option<PeerId> {
        let mut latest_ms: BTreeMap<Neighbourhood, Option<u64>> = BTreeMap::new();
        for one in self.peers.values() {
            let latest = latest_ms.entry(one.near).or_default();
            *latest = one.asked_ms.max(*latest);
        }
        let turn = |peer: &PeerId| self.peers.get(peer).map(|one| (latest_ms.get(&one.near).copied(), one.asked_ms));
        let count = peers.len();
        rng.sample(peers, count).into_iter().min_by_key(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn followed(peers: &[(PeerId, u64)]) -> FollowedBase {
        let mut followed = FollowedBase::new(0);
        for (peer, near) in peers {
            followed.peers.insert(*peer, Follower { near: Neighbourhood(*near), asked_ms: None });
        }
        followed
    }

    #[test]
    fn neighbourhoods_take_turns_however_many_peers_one_has() {
        let peers: Vec<(PeerId, u64)> = (0..60).map(|n| (PeerId::random(), if n < 56 { 0 } else { n })).collect();
        let (mut followed, mut rng) = (followed(&peers), SplitMix64::new(1));
        let all: Vec<PeerId> = peers.iter().map(|(peer, _)| *peer).collect();
        let mut turns: Vec<Neighbourhood> = Vec::new();
        for now_ms in 1..=50 {
            let next = followed.next_of(all.clone(), &mut rng).expect("there are some");
            let one = followed.peers.get_mut(&next).expect("it is one of them");
            one.asked_ms = Some(now_ms);
            turns.push(one.near);
        }
        for five in turns.chunks(5) {
            assert_eq!(five.iter().collect::<BTreeSet<_>>().len(), 5, "{turns:?}");
        }
        assert_eq!(followed.next_of(Vec::new(), &mut rng), None);
    }

    #[test]
    fn some_are_of_as_many_neighbourhoods_as_there_are() {
        let peers: Vec<(PeerId, u64)> = (0..60).map(|n| (PeerId::random(), if n < 56 { 0 } else { n })).collect();
        let (followed, mut rng) = (followed(&peers), SplitMix64::new(2));
        let all: Vec<PeerId> = peers.iter().map(|(peer, _)| *peer).collect();
        let some = followed.some_of(all, 8, &mut rng);
        let near: BTreeSet<_> = some.iter().map(|peer| followed.peers[peer].near).collect();
        assert_eq!((some.len(), near.len()), (8, 5));
    }
}
