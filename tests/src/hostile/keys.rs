//! Keys that follow from a seed, and keys that were ground: made until they stand where their owner wants them.

use std::time::{SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use libp2p::identity::{Keypair, ed25519};
use potluck_protocol::catalogue::{lot, timing};
use potluck_protocol::id::BaseId;
use potluck_protocol::signed::PublicKey;
use rayon::prelude::*;

use super::Outcome;

/// More draws than this mean that the bound is too low to grind for.
const DRAWS_MAX: usize = 4_000_000;
const DRAWS_AT_ONCE: usize = 4096;

/// A key that follows from a text.
pub fn key(seed: &str) -> Outcome<ed25519::Keypair> {
    let mut secret = *blake3::hash(seed.as_bytes()).as_bytes();
    Ok(ed25519::SecretKey::try_from_bytes(&mut secret)?.into())
}

/// Does something so many times, each with a key of its own and a text that is that one's alone.
pub fn for_each_key<T>(
    seed: &str,
    count: usize,
    mut make: impl FnMut(&ed25519::Keypair, &str) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    (0..count).map(|n| format!("{seed} {n}")).map(|seed| make(&key(&seed)?, &seed)).collect()
}

/// The peer of a key.
pub fn peer(key: &ed25519::Keypair) -> PeerId {
    Keypair::from(key.clone()).public().to_peer_id()
}

/// `count` keys whose peers all come before `bound` in the order of their ids.
pub fn peers_below(seed: &str, bound: &PeerId, count: usize) -> Outcome<Vec<ed25519::Keypair>> {
    let mut found = Vec::new();
    for from in (0..DRAWS_MAX).step_by(DRAWS_AT_ONCE) {
        let draws = (from..from + DRAWS_AT_ONCE).into_par_iter().map(|n| key(&format!("{seed} low {n}")));
        let drawn = draws.collect::<Outcome<Vec<_>>>()?;
        found.extend(drawn.into_iter().filter(|key| peer(key) < *bound));
        if found.len() >= count {
            found.truncate(count);
            return Ok(found);
        }
    }
    Err(format!("{} of {count} keys were found below {bound} in {DRAWS_MAX} draws", found.len()).into())
}

/// The epoch whose lots count now.
pub fn this_epoch() -> Outcome<u64> {
    Ok(timing::epoch(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}

/// Of `draws` keys, for each of these epochs and bases, the `count` that come first by their lots there.
pub fn lowest_lots(
    seed: &str,
    places: &[(u64, BaseId)],
    count: usize,
    draws: usize,
) -> Outcome<Vec<Vec<ed25519::Keypair>>> {
    let nth = |n: usize| key(&format!("{seed} lot {n}"));
    let drawn = (0..draws.max(count)).into_par_iter().map(|n| Ok(PublicKey::of(&nth(n)?)));
    let drawn = drawn.collect::<Outcome<Vec<_>>>()?;
    let lowest = |(epoch, base): &(u64, BaseId)| {
        let mut order: Vec<usize> = (0..drawn.len()).collect();
        order.sort_by_cached_key(|n| lot(*epoch, base, &drawn[*n]));
        order.into_iter().take(count).map(nth).collect()
    };
    places.iter().map(lowest).collect()
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    #[test]
    fn ground_keys_stand_where_they_were_wanted() {
        let bound = peer(&key("somebody").expect("a key"));
        let low = peers_below("test", &bound, 5).expect("found");
        assert!(low.len() == 5 && low.iter().all(|key| peer(key) < bound));
        let base = BaseId(Digest::of(b"base"));
        let lot_of = |key: &ed25519::Keypair| lot(7, &base, &PublicKey::of(key));
        let lots = lowest_lots("test", &[(6, base), (7, base)], 3, 30).expect("made").remove(1);
        let all = lowest_lots("test", &[(7, base)], 30, 30).expect("made").remove(0);
        assert!(lots.iter().map(lot_of).max() < all[3..].iter().map(lot_of).min());
    }
}
