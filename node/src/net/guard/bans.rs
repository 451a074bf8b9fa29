//! Who has misbehaved, how much, and until when nobody speaks to them.
//!
//! Only what a peer could have known to be wrong counts, so an honest one never gets here, however slow or overloaded it is.
//! Everything decays: who was taken over once is welcome again.

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::super::limits::{BAN_FIRST_MS, BAN_FORGET_MS, BAN_MAX_MS, BAN_SCORE, BANNED_PER_GROUP, BANS, SCORE_HALF_MS};
use super::group::PeerGroup;
use crate::net::misdeed::Misdeed;

/// Of [`BAN_SCORE`]. Hardware fails: nobody is banned for one of anything.
fn weight(misdeed: Misdeed) -> f64 {
    match misdeed {
        Misdeed::WrongBytes | Misdeed::Protocol => 0.5 * BAN_SCORE,
        Misdeed::Gossip | Misdeed::Flood => 0.25 * BAN_SCORE,
    }
}

/// A ban that still goes on: what outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub peer: PeerId,
    /// What is left of the ban, in milliseconds.
    pub remaining_ms: u64,
    /// How many it has had, this one included.
    pub count: u32,
}

/// The record of all who have one. // I12
#[derive(Debug, Default)]
pub struct Bans {
    peers: BTreeMap<PeerId, Entry>,
    /// Neighbourhoods from which too many came who were banned, and until when nobody from there is let in. Fewer than
    /// the peers: each needs several of them.
    shunned: BTreeMap<PeerGroup, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    group: Option<PeerGroup>,
    score: f64,
    at_ms: u64,
    /// Bans so far.
    count: u32,
    until_ms: u64,
}

impl Entry {
    fn score(&self, now_ms: u64) -> f64 {
        self.score * 0.5_f64.powf(now_ms.saturating_sub(self.at_ms) as f64 / SCORE_HALF_MS as f64)
    }

    fn is_banned(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// Until when it says anything.
    fn matters_until_ms(&self) -> u64 {
        let decayed = self.at_ms.saturating_add(4 * SCORE_HALF_MS);
        let forgotten = if self.count > 0 { self.until_ms.saturating_add(BAN_FORGET_MS) } else { 0 };
        decayed.max(forgotten)
    }
}

impl Bans {
    /// Writes down what `peer`, last seen in `group`, did; `true` if it is banned for it from now on.
    pub fn report(&mut self, peer: PeerId, group: Option<PeerGroup>, misdeed: Misdeed, now_ms: u64) -> bool {
        let fresh = Entry { group, score: 0.0, at_ms: now_ms, count: 0, until_ms: 0 };
        let entry = self.peers.entry(peer).or_insert(fresh);
        if entry.is_banned(now_ms) {
            return false;
        }
        entry.group = group.or(entry.group);
        entry.score = entry.score(now_ms) + weight(misdeed);
        entry.at_ms = now_ms;
        // Decay between two misdeeds must not save anybody: a thousandth is none.
        let banned = entry.score >= 0.999 * BAN_SCORE;
        if banned {
            let pause = BAN_FIRST_MS.saturating_mul(1 << entry.count.min(16)).min(BAN_MAX_MS);
            entry.until_ms = now_ms.saturating_add(pause);
            entry.count += 1;
            entry.score = 0.0;
        }
        if banned {
            self.shun(group, now_ms);
        }
        self.forget(now_ms);
        banned
    }

    /// Shuns a neighbourhood if one too many from there is banned now.
    fn shun(&mut self, group: Option<PeerGroup>, now_ms: u64) {
        let Some(group) = group.filter(|group| !matches!(group, PeerGroup::Here | PeerGroup::Relayed)) else { return };
        let theirs = self.peers.values().filter(|entry| entry.group == Some(group) && entry.is_banned(now_ms));
        if theirs.count() >= BANNED_PER_GROUP {
            self.shunned.retain(|_, until| now_ms < *until);
            self.shunned.insert(group, now_ms.saturating_add(BAN_FIRST_MS));
        }
    }

    /// The peer is banned at that moment.
    pub fn is_banned(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.is_banned(now_ms))
    }

    /// Whether nobody from there is let in.
    pub fn is_shunned(&self, group: PeerGroup, now_ms: u64) -> bool {
        self.shunned.get(&group).is_some_and(|until| now_ms < *until)
    }

    /// The bans that go on.
    pub fn all(&self, now_ms: u64) -> Vec<Ban> {
        let banned = self.peers.iter().filter(|(_, entry)| entry.is_banned(now_ms));
        let ban = |(peer, entry): (&PeerId, &Entry)| Ban {
            peer: *peer,
            remaining_ms: entry.until_ms - now_ms,
            count: entry.count,
        };
        banned.map(ban).collect()
    }

    /// Takes up bans of an earlier process.
    pub fn restore(&mut self, bans: &[Ban], now_ms: u64) {
        for ban in bans.iter().take(BANS) {
            let until_ms = now_ms.saturating_add(ban.remaining_ms.min(BAN_MAX_MS));
            self.peers.insert(ban.peer, Entry { group: None, score: 0.0, at_ms: now_ms, count: ban.count, until_ms });
        }
    }

    fn forget(&mut self, now_ms: u64) {
        if self.peers.len() <= BANS {
            return;
        }
        self.peers.retain(|_, entry| entry.matters_until_ms() > now_ms);
        if self.peers.len() > BANS {
            let least = |(peer, entry): (&PeerId, &Entry)| (entry.until_ms, entry.score(now_ms).to_bits(), *peer);
            if let Some((_, _, peer)) = self.peers.iter().map(least).min() {
                self.peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::AddressGroup;

    const SOMEWHERE: Option<PeerGroup> = Some(PeerGroup::Near(AddressGroup::V4([10, 0, 1])));

    /// How many of these it takes.
    fn until_banned(bans: &mut Bans, peer: PeerId, misdeed: Misdeed, now_ms: u64) -> usize {
        (1..100).find(|_| bans.report(peer, SOMEWHERE, misdeed, now_ms)).expect("some time it is enough")
    }

    #[test]
    fn nobody_is_banned_for_one_of_anything_and_everybody_for_a_few() {
        use Misdeed::{Flood, Gossip, Protocol, WrongBytes};
        for (misdeed, count) in [(WrongBytes, 2), (Protocol, 2), (Gossip, 4), (Flood, 4)] {
            assert_eq!(until_banned(&mut Bans::default(), PeerId::random(), misdeed, 0), count, "{misdeed:?}");
        }
    }

    #[test]
    fn misdeeds_fade() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        let banned = (0..1000).any(|n| bans.report(peer, SOMEWHERE, Misdeed::WrongBytes, n * 4 * SCORE_HALF_MS));
        assert!(!banned, "one at a time, with long pauses, is a bad disk");
    }

    #[test]
    fn bans_end_and_each_is_twice_as_long_as_the_last() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..10 {
            until_banned(&mut bans, peer, Misdeed::WrongBytes, now);
            let length = bans.all(now)[0].remaining_ms;
            assert!(bans.is_banned(&peer, now + length - 1) && !bans.is_banned(&peer, now + length));
            now += length;
            lengths.push(length);
        }
        assert_eq!(lengths[..3], [BAN_FIRST_MS, 2 * BAN_FIRST_MS, 4 * BAN_FIRST_MS]);
        assert_eq!(lengths[9], BAN_MAX_MS);
    }

    #[test]
    fn a_neighbourhood_of_many_banned_ones_is_shunned_until_they_may_come_again() {
        let mut bans = Bans::default();
        for n in 0..BANNED_PER_GROUP {
            assert!(!bans.is_shunned(PeerGroup::Near(AddressGroup::V4([10, 0, 1])), 0), "{n}");
            until_banned(&mut bans, PeerId::random(), Misdeed::Gossip, 0);
        }
        assert!(
            bans.is_shunned(PeerGroup::Near(AddressGroup::V4([10, 0, 1])), 0)
                && !bans.is_shunned(PeerGroup::Near(AddressGroup::V4([10, 0, 2])), 0)
        );
        assert!(!bans.is_shunned(PeerGroup::Near(AddressGroup::V4([10, 0, 1])), BAN_FIRST_MS));
    }

    #[test]
    fn this_machine_is_never_shunned() {
        let mut bans = Bans::default();
        for _ in 0..4 * BANNED_PER_GROUP {
            let peer = PeerId::random();
            for _ in 0..4 {
                bans.report(peer, Some(PeerGroup::Here), Misdeed::Protocol, 0);
            }
        }
        assert!(!bans.is_shunned(PeerGroup::Here, 0));
    }

    #[test]
    fn a_ban_goes_on_in_the_next_process_and_the_next_one_is_longer() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        until_banned(&mut bans, peer, Misdeed::WrongBytes, 0);
        let mut later = Bans::default();
        later.restore(&bans.all(BAN_FIRST_MS / 2), 7);
        assert!(later.is_banned(&peer, 6 + BAN_FIRST_MS / 2) && !later.is_banned(&peer, 7 + BAN_FIRST_MS / 2));
        until_banned(&mut later, peer, Misdeed::WrongBytes, BAN_FIRST_MS);
        assert_eq!(later.all(BAN_FIRST_MS)[0], Ban { peer, remaining_ms: 2 * BAN_FIRST_MS, count: 2 });
    }

    #[test]
    fn the_record_is_bounded_and_keeps_the_worst() {
        let (mut bans, worst) = (Bans::default(), PeerId::random());
        until_banned(&mut bans, worst, Misdeed::WrongBytes, 0);
        for _ in 0..2 * BANS {
            bans.report(PeerId::random(), SOMEWHERE, Misdeed::Gossip, 1);
        }
        assert!(bans.peers.len() <= BANS && bans.is_banned(&worst, 1));
    }
}
