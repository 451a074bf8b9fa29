//! An order among what strangers made that none of them chose.

use std::collections::BTreeMap;

use crate::splitmix::SplitMix64;

/// All items in a random order, one of each group before a second one of any: whoever has a thousand of them gets one
/// turn in each round, as everybody else does.
pub fn spread<T, K: Ord>(items: Vec<T>, group: impl Fn(&T) -> K, rng: &mut SplitMix64) -> Vec<T> {
    let count = items.len();
    let shuffled = rng.sample(items, count);
    let mut seen: BTreeMap<K, (u64, u64)> = BTreeMap::new();
    let ranked = shuffled.into_iter().map(|item| {
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
}
