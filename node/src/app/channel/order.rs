//! In which order strangers' proposals and proofs are looked at, and with how much time: by turns among publishers drawn at random,
//! those first of whom a version has taken something. Ids and keys decide nothing: whoever grinds some chooses those.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use potluck_protocol::signed::PublicKey;
use potluck_protocol::splitmix::SplitMix64;
use tokio::time::Instant;

/// Things of one publisher that are looked at in one go. The rest waits for the next.
pub const PER_PUBLISHER: usize = 32;

/// What is looked at now.
pub struct Turns<T> {
    pub now: Vec<T>,
    /// How many wait.
    pub later: usize,
}

/// At most `most` things of at most [`PER_PUBLISHER`] each: a first one of every publisher before anybody's second.
/// Publishers that are `proven`, or whom something else speaks for, come first, and leave half of the places to those who are not.
pub fn by_turns<T>(
    items: impl IntoIterator<Item = (PublicKey, T)>,
    proven: &BTreeSet<PublicKey>,
    most: usize,
    seed: u64,
) -> Turns<T> {
    let (mut known, mut strange) = (BTreeMap::<_, Vec<T>>::new(), BTreeMap::<_, Vec<T>>::new());
    let mut all = 0;
    for (publisher, item) in items {
        all += 1;
        let side = if proven.contains(&publisher) { &mut known } else { &mut strange };
        side.entry(publisher).or_default().push(item);
    }
    let mut rng = SplitMix64::new(seed);
    let (mut now, mut others) = (deal(known, &mut rng), deal(strange, &mut rng));
    now.truncate((most - most / 2).max(most.saturating_sub(others.len())));
    others.truncate(most.saturating_sub(now.len()));
    now.append(&mut others);
    let later = all - now.len();
    Turns { now, later }
}

/// A seed that nobody outside knows.
pub fn secret_seed() -> u64 {
    // What the standard library seeds its maps with.
    RandomState::new().hash_one("order")
}

fn deal<T>(publishers: BTreeMap<PublicKey, Vec<T>>, rng: &mut SplitMix64) -> Vec<T> {
    let count = publishers.len();
    let mut hands: Vec<_> = rng.sample(publishers.into_values().collect(), count);
    hands.iter_mut().for_each(|hand| {
        hand.truncate(PER_PUBLISHER);
        hand.reverse();
    });
    let mut dealt = Vec::new();
    for _ in 0..PER_PUBLISHER {
        dealt.extend(hands.iter_mut().filter_map(Vec::pop));
    }
    dealt
}

/// The time of a release for all that it looks for and fetches.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseTime {
    total: Duration,
    until: Instant,
}

impl ReleaseTime {
    /// From now on.
    pub fn new(total: Duration) -> Self {
        Self { total, until: Instant::now() + total }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The time for one of the things that it pays for: a quarter of the whole, no more than `most` and than is left.
    pub fn part(&self, most: Duration) -> Duration {
        (self.total / 4).min(most).min(self.left())
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    fn key(n: usize) -> PublicKey {
        PublicKey(Digest::of(&n.to_le_bytes()))
    }

    #[test]
    fn a_crowd_of_proposals_keeps_nobodys_first_one_out() {
        // Strangers with more than there are places, one honest publisher among them, and one that is proven.
        let crowd = (0..40).flat_map(|n| (0..100).map(move |m| (key(n), (n, m))));
        let honest = [(key(100), (100, 0)), (key(101), (101, 0)), (key(101), (101, 1))];
        let proven = BTreeSet::from([key(101)]);
        for seed in 0..50 {
            let turns = by_turns(crowd.clone().chain(honest), &proven, 256, seed);
            assert_eq!((turns.now.len(), turns.later), (256, 4_003 - 256));
            assert_eq!(turns.now[..2], [(101, 0), (101, 1)], "whose work was taken before comes first");
            assert!(turns.now.contains(&(100, 0)), "seed {seed}: everybody has a turn");
            let most = (0..40).map(|n| turns.now.iter().filter(|one| one.0 == n).count()).max();
            assert!(most <= Some(7), "{most:?}");
        }
    }

    #[test]
    fn more_keys_than_places_leave_it_to_chance_which_nobody_can_grind() {
        let crowd: Vec<_> = (0..1000).map(|n| (key(n), n)).collect();
        let drawn = |seed| by_turns(crowd.clone(), &BTreeSet::new(), 100, seed).now;
        assert_eq!(drawn(1), drawn(1));
        let ever: BTreeSet<usize> = (0..200).flat_map(drawn).collect();
        assert_eq!(ever.len(), 1000, "no key is always left out");
    }

    #[test]
    fn those_who_are_proven_leave_half_of_the_places_and_take_what_nobody_wants() {
        let proven: BTreeSet<_> = (0..10).map(key).collect();
        let theirs = || (0..10).flat_map(|n| (0..PER_PUBLISHER).map(move |_| (key(n), n)));
        let strangers = |count: usize| (100..100 + count).map(|n| (key(n), n));
        let count = |strange: usize| {
            let turns = by_turns(theirs().chain(strangers(strange)), &proven, 100, 7);
            turns.now.iter().filter(|n| **n < 10).count()
        };
        assert_eq!((count(1_000), count(10), count(0)), (50, 90, 100));
        assert_eq!(by_turns(Vec::<(PublicKey, ())>::new(), &proven, 100, 7).later, 0);
    }
}
