//! An order among what strangers made that none of them chose.

use std::collections::BTreeMap;

use crate::splitmix::SplitMix64;

/// All items in a random order, one of each group before a second one of any: whoever has a thousand of them gets one
/// turn in each round, as everybody else does.
pub fn spread<T, K: Ord>(items: Vec<T>, group: impl Fn(&T) -> K, rng: &mut SplitMix64) -> Vec<T> {
    let count = items.len();
    take_turns(rng.sample(items, count), group, rng)
}

/// The same of items that have an order already: that stays the order of each group. After [`spread`] with smaller
/// groups it gives these turns within the turns of the larger ones, so that whoever makes many small groups in one large
/// one gains nothing by it.
pub fn take_turns<T, K: Ord>(items: Vec<T>, group: impl Fn(&T) -> K, rng: &mut SplitMix64) -> Vec<T> {
    let mut seen: BTreeMap<K, (u64, u64)> = BTreeMap::new();
    let ranked = items.into_iter().map(|item| {
        let (lot, round) = seen.entry(group(&item)).or_insert_with(|| (rng.next_u64(), 0));
        *round += 1;
        ((*round, *lot), item)
    });
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_one_group_gets_one_turn_in_each_round() {
        let items: Vec<(u8, u32)> = (0..1000).map(|n| (0, n)).chain((1..=4).map(|group| (group, 0))).collect();
        let order = |seed| spread(items.clone(), |(group, _)| *group, &mut SplitMix64::new(seed));
        let mut firsts = BTreeMap::new();
        for seed in 0..200 {
            let order = order(seed);
            let mut groups: Vec<u8> = order[..5].iter().map(|(group, _)| *group).collect();
            *firsts.entry(groups[0]).or_insert(0) += 1;
            groups.sort_unstable();
            assert_eq!(groups, [0, 1, 2, 3, 4]);
            let mut all = order;
            all.sort_unstable();
            assert!(all == items, "each of them once");
        }
        assert!((0..=4).all(|group| firsts.get(&group).is_some_and(|count| *count > 20)), "{firsts:?}");
        assert_eq!(order(7), order(7));
    }

    #[test]
    fn many_small_groups_in_a_large_one_get_its_turns_and_no_more() {
        // A hundred groups of ten in the large group 0; one group of ten in each of 1 and 2.
        let small = (0..100).map(|n| (0, n)).chain([(1, 0), (2, 0)]);
        let items: Vec<_> = small.flat_map(|(large, small)| (0..10).map(move |n| (large, small, n))).collect();
        for seed in 0..50 {
            let mut rng = SplitMix64::new(seed);
            let order = spread(items.clone(), |(large, small, _)| (*large, *small), &mut rng);
            let order = take_turns(order, |(large, ..)| *large, &mut rng);
            let large = |range: std::ops::Range<usize>| {
                let mut all: Vec<_> = order[range].iter().map(|(large, ..)| *large).collect();
                all.sort_unstable();
                all
            };
            assert_eq!([large(0..3), large(27..30)], [[0, 1, 2]; 2]);
            let mut of_crowd: Vec<_> = order.iter().filter(|one| one.0 == 0).take(100).map(|one| one.1).collect();
            of_crowd.sort_unstable();
            assert_eq!(of_crowd, Vec::from_iter(0..100), "each small group once");
        }
    }
}
