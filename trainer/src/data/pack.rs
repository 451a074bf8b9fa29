//! Which samples share a micro-batch.
//!
//! A batch is sequences one behind another without padding, each attending to itself alone, so packing changes no
//! sample: it only fills micro-batches up to a budget of tokens. Best-fit decreasing (Johnson, Demers, Ullman, Garey
//! and Graham 1974): the longest first, each into the bin that it fills most; never much more than 11/9 of the fewest
//! bins possible.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Groups samples by their lengths in tokens: each index once, no group over `max_tokens` unless it is one sample that
/// alone is longer. Groups come in the order of their longest samples, indices within a group ascend; equal input gives
/// equal output.
pub fn pack(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| Reverse(lengths[index]));
    let mut bins: Vec<Vec<usize>> = Vec::new();
    // (tokens that still fit, bin)
    let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
    for index in order {
        let length = lengths[index];
        let fits = open.range((length, 0)..).next().copied();
        let bin = match fits {
            Some(slot) => {
                open.remove(&slot);
                let (left, bin) = slot;
                bins[bin].push(index);
                open.insert((left - length, bin));
                continue;
            }
            None => bins.len(),
        };
        bins.push(vec![index]);
        if let Some(left) = max_tokens.checked_sub(length) {
            open.insert((left, bin));
        }
    }
    bins.iter_mut().for_each(|bin| bin.sort_unstable());
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_sample_goes_where_it_leaves_least() {
        assert_eq!(pack(&[5, 7, 3, 2, 3], 10), [vec![1, 2], vec![0, 3, 4]]);
        assert_eq!(pack(&[11, 4, 12, 6], 10), [vec![2], vec![0], vec![1, 3]], "longer than a batch: alone");
        assert_eq!(pack(&[], 10), Vec::<Vec<usize>>::new());
        assert_eq!(pack(&[0, 0], 0), [vec![0, 1]]);
    }

    proptest! {
        #[test]
        fn every_sample_once_and_no_bin_over_the_budget(
            lengths in prop::collection::vec(0usize..700, 0..200),
            max in 1usize..600,
        ) {
            let bins = pack(&lengths, max);
            let mut all: Vec<usize> = bins.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            for bin in &bins {
                prop_assert!(bin.len() == 1 || bin.iter().map(|&index| lengths[index]).sum::<usize>() <= max);
            }
        }

        /// Full bins cut into pieces: the fewest bins are known, which for any other input are not.
        #[test]
        fn bins_are_within_11_9_of_the_fewest(
            cuts in prop::collection::vec(prop::collection::vec(1usize..512, 0..6), 1..40),
        ) {
            let pieces = |cuts: &Vec<usize>| {
                let mut cuts = [&[0][..], cuts, &[512]].concat();
                cuts.sort_unstable();
                cuts.windows(2).map(|pair| pair[1] - pair[0]).filter(|&piece| piece > 0).collect::<Vec<_>>()
            };
            let lengths: Vec<usize> = cuts.iter().flat_map(pieces).collect();
            let bins = pack(&lengths, 512).len();
            prop_assert!(bins >= cuts.len() && 9 * bins <= 11 * cuts.len() + 9, "{} of {}", bins, cuts.len());
        }
    }
}
