//! Rows that are there more than once.

use std::collections::HashMap;
use std::hash::Hash;

use super::LISTED_MAX;

/// Groups of lines with equal content, each of two or more, in the order of their first lines.
pub struct Repeats(Vec<Vec<usize>>);

impl Repeats {
    /// Of lines that ascend.
    pub fn of<K: Eq + Hash>(rows: impl Iterator<Item = (usize, K)>) -> Self {
        let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
        rows.for_each(|(line, content)| groups.entry(content).or_default().push(line));
        let mut groups: Vec<_> = groups.into_values().filter(|lines| lines.len() > 1).collect();
        groups.sort_unstable();
        Self(groups)
    }

    pub fn only(mut self, keep: impl Fn(&[usize]) -> bool) -> Self {
        self.0.retain(|lines| keep(lines));
        self
    }

    /// Groups of at most [`LISTED_MAX`] lines together, and how many lines are in all groups.
    pub fn list(self) -> (Vec<Vec<usize>>, usize) {
        let count = self.0.iter().map(Vec::len).sum();
        let mut left = LISTED_MAX;
        let groups = self.0.into_iter().map_while(|mut lines| {
            lines.truncate(left);
            left -= lines.len();
            (lines.len() > 1).then_some(lines)
        });
        (groups.collect(), count)
    }
}
