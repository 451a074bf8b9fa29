//! Places of what peers speak for: a few for each neighbourhood and base, so that strangers fill their own.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;

use super::base_records::Key;
use super::voucher::{Neighbourhood, Voucher};
use crate::id::BaseId;
use crate::limits::{CATALOGUE_NEAR, CATALOGUE_NEAR_ALL};

/// Which places: of a base and a neighbourhood, or `None`: what was brought before a restart.
type Line = (BaseId, Option<Neighbourhood>);

/// Who has which place, by age. // I12
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<Line, BTreeMap<u64, (Key, Voucher)>>,
    /// By length: where something must go, it goes from the longest.
    by_len: BTreeSet<(usize, Line)>,
    count: usize,
}

fn line_of(key: &Key, voucher: Voucher) -> Line {
    let near = match voucher {
        Voucher::Neighbour(one) | Voucher::Publisher(one) => Some(one.near),
        Voucher::Restored | Voucher::Trust(_) => None,
    };
    (key.base, near)
}

impl Lines {
    /// Gives a record a place, the later the higher its number; whose place is given up for it, maybe its own.
    pub fn add(&mut self, number: u64, key: Key, voucher: Voucher) -> Option<(u64, Key)> {
        let line = line_of(&key, voucher);
        let own = self.lines.entry(line).or_default();
        self.by_len.remove(&(own.len(), line));
        own.insert(number, (key, voucher));
        self.by_len.insert((own.len(), line));
        self.count += 1;
        let crowded = if own.len() > CATALOGUE_NEAR {
            Some(line)
        } else if self.count > CATALOGUE_NEAR_ALL {
            self.by_len.last().map(|(_, line)| *line)
        } else {
            None
        };
        crowded.and_then(|line| self.lines.get(&line)).and_then(last_place)
    }

    /// The record has no place here any more.
    pub fn remove(&mut self, number: u64, key: &Key, voucher: Voucher) {
        let line = line_of(key, voucher);
        let Some(own) = self.lines.get_mut(&line) else { return };
        self.by_len.remove(&(own.len(), line));
        self.count -= usize::from(own.remove(&number).is_some());
        if own.is_empty() {
            self.lines.remove(&line);
        } else {
            self.by_len.insert((own.len(), line));
        }
    }
}

/// What goes first: what has least to speak for it; of that, what was brought by the peer with most places, for a peer
/// costs a connection, and keys and words cost nothing; of that, the oldest.
fn last_place(line: &BTreeMap<u64, (Key, Voucher)>) -> Option<(u64, Key)> {
    let least = line.values().map(|(_, voucher)| voucher.weight()).min()?;
    let weakest = || line.iter().filter(|(_, (_, voucher))| voucher.weight() == least);
    let mut peers: BTreeMap<Option<PeerId>, usize> = BTreeMap::new();
    for (_, (_, voucher)) in weakest() {
        *peers.entry(voucher.peer()).or_default() += 1;
    }
    let most = peers.values().max().copied()?;
    let of_most = |voucher: &Voucher| peers.get(&voucher.peer()) == Some(&most);
    weakest().find(|(_, (_, voucher))| of_most(voucher)).map(|(number, (key, _))| (*number, *key))
}
