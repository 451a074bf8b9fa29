//! The shards that are wanted, not here and asked from nobody, in the order in which they are given out.

use std::collections::BTreeSet;

use super::Holdings;
use crate::splitmix::mix;

/// From so many partial providers on the rarest shards come first.
const RAREST_FROM: usize = 3;

/// A place in the order. Fields compare in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Partial providers that have it; 0 as long as that does not matter.
    holders: u32,
    /// Between equals.
    turn: u64,
    /// Among the wanted shards.
    pub index: usize,
}

impl Position {
    /// Before and after every place.
    pub const FIRST: Self = Self { holders: 0, turn: 0, index: 0 };
    /// Behind every position.
    pub const END: Self = Self { holders: u32::MAX, turn: u64::MAX, index: usize::MAX };
}

/// The open shards.
#[derive(Clone, Debug)]
pub struct OpenShards {
    open: BTreeSet<Position>,
    is_open: Vec<bool>,
    /// Partial providers of each shard, and how many partial providers there are.
    holders: Vec<u32>,
    partial: usize,
    rarest: bool,
    seed: u64,
}

impl OpenShards {
    /// All of `count` shards are open.
    pub fn new(count: usize, seed: u64) -> Self {
        let mut open_shards = Self {
            open: BTreeSet::new(),
            is_open: vec![true; count],
            holders: vec![0; count],
            partial: 0,
            rarest: false,
            seed: mix(seed),
        };
        open_shards.sort();
        open_shards
    }

    /// Whether everything is asked from somebody, or here.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The first place from `from` on whose shard is `wanted`.
    pub fn next(&self, from: Position, wanted: impl Fn(usize) -> bool) -> Option<Position> {
        self.open.range(from..).copied().find(|position| wanted(position.index))
    }

    /// It is asked from somebody, or here.
    pub fn close(&mut self, index: usize) {
        if std::mem::replace(&mut self.is_open[index], false) {
            self.open.remove(&self.position(index));
        }
    }

    /// It is to be given out again.
    pub fn reopen(&mut self, index: usize) -> Position {
        let position = self.position(index);
        self.is_open[index] = true;
        self.open.insert(position);
        position
    }

    /// A provider came, went, or has something else than before: counts its shards anew. Returns the first place at
    /// which the order changed.
    pub fn recount(&mut self, old: Option<&Holdings>, new: Option<&Holdings>) -> Position {
        self.partial = self.partial + usize::from(is_partial(new)) - usize::from(is_partial(old));
        let mut first = Position::END;
        for index in 0..self.holders.len() {
            let (before, after) = (counts(old, index), counts(new, index));
            if before != after {
                first = first.min(self.set_holders(index, self.holders[index] + u32::from(after) - u32::from(before)));
            }
        }
        self.choose_order().unwrap_or(first)
    }

    /// A partial provider does not have that one after all.
    pub fn drop_holder(&mut self, index: usize) -> Position {
        self.set_holders(index, self.holders[index].saturating_sub(1))
    }

    fn set_holders(&mut self, index: usize, holders: u32) -> Position {
        let was = self.position(index);
        self.holders[index] = holders;
        let is = self.position(index);
        if !self.is_open[index] || was == is {
            return Position::END;
        }
        self.open.remove(&was);
        self.open.insert(is);
        is
    }

    fn choose_order(&mut self) -> Option<Position> {
        let rarest = self.partial >= RAREST_FROM;
        (rarest != self.rarest).then(|| {
            self.rarest = rarest;
            self.sort();
            Position::FIRST
        })
    }

    fn sort(&mut self) {
        let open = (0..self.is_open.len()).filter(|index| self.is_open[*index]);
        self.open = open.map(|index| self.position(index)).collect();
    }

    fn position(&self, index: usize) -> Position {
        if self.rarest {
            return Position { holders: self.holders[index], turn: mix(self.seed ^ index as u64), index };
        }
        // The files' order from a place of our own on.
        let count = self.is_open.len() as u64;
        Position { holders: 0, turn: (index as u64 + count - self.seed % count) % count, index }
    }
}

fn is_partial(holdings: Option<&Holdings>) -> bool {
    matches!(holdings, Some(Holdings::These(_)))
}

/// A partial provider that has it.
fn counts(holdings: Option<&Holdings>, index: usize) -> bool {
    matches!(holdings, Some(Holdings::These(flags)) if flags.get(index).copied().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(open_shards: &mut OpenShards) -> Vec<usize> {
        let count = open_shards.is_open.len();
        let next = || {
            let index = open_shards.next(Position::FIRST, |_| true)?.index;
            open_shards.close(index);
            Some(index)
        };
        let order: Vec<usize> = std::iter::from_fn(next).take(count + 1).collect();
        assert!(order.len() <= count, "what is closed is not given out again");
        order
    }

    fn these(held: &[usize], count: usize) -> Holdings {
        Holdings::These((0..count).map(|index| held.contains(&index)).collect())
    }

    #[test]
    fn files_are_read_in_order_from_a_place_of_the_seed() {
        let first = |seed| order(&mut OpenShards::new(100, seed))[0];
        let all = order(&mut OpenShards::new(100, 1));
        assert!(all.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 100));
        assert!((2..20).any(|seed| first(seed) != first(1)));
    }

    #[test]
    fn the_rarest_come_first_among_three_partial_providers() {
        let count = 6;
        let mut open_shards = OpenShards::new(count, 5);
        let parts = [these(&[0, 1, 2, 3], count), these(&[0, 1, 2, 4], count), these(&[0, 1, 5], count)];
        for part in &parts[..2] {
            open_shards.recount(None, Some(part));
        }
        let in_order = order(&mut open_shards.clone());
        assert!(in_order.windows(2).all(|pair| pair[1] == (pair[0] + 1) % count));
        assert_eq!(open_shards.recount(None, Some(&parts[2])), Position::FIRST);
        let holders = |index: &usize| parts.iter().filter(|part| counts(Some(part), *index)).count();
        assert!(order(&mut open_shards.clone()).iter().map(holders).is_sorted());
        // One that goes takes its counts along.
        for part in &parts {
            open_shards.recount(Some(part), None);
        }
        assert_eq!(order(&mut open_shards), in_order);
    }

    #[test]
    fn what_is_reopened_comes_again_at_its_place() {
        let mut open_shards = OpenShards::new(3, 0);
        let position = open_shards.next(Position::FIRST, |_| true).expect("all are open");
        open_shards.close(position.index);
        assert_ne!(open_shards.next(Position::FIRST, |_| true), Some(position));
        assert_eq!(open_shards.reopen(position.index), position);
        assert_eq!(open_shards.next(Position::FIRST, |_| true), Some(position));
        assert!(OpenShards::new(0, 9).is_empty());
    }
}
