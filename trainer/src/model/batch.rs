//! Sequences of unequal length as one block of rows, one behind another without padding.

use crate::backend::{AttentionShape, Span, Target};
use crate::data::sample::Sample;
use potluck_protocol::base::Architecture;

/// Token ids of a batch, sequence after sequence: one row each.
#[derive(Clone, Debug)]
pub struct Batch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    /// The first row of each sequence.
    starts: Vec<usize>,
}

impl Batch {
    /// Each sequence against itself, from position 0, one behind another.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut batch = Self { ids: Vec::new(), lengths: Vec::new(), starts: Vec::new() };
        for sequence in sequences {
            batch.starts.push(batch.ids.len());
            batch.lengths.push(sequence.len());
            batch.ids.extend_from_slice(sequence);
        }
        batch
    }

    /// A batch of samples with the rows that are labelled. The last token of a sample predicts nothing, so it is left
    /// out of the rows.
    pub fn training(samples: &[&Sample]) -> (Self, Vec<Target>) {
        let inputs = samples.iter().map(|sample| &sample.ids[..sample.ids.len().saturating_sub(1).max(1)]);
        let batch = Self::new(inputs);
        let targets = samples.iter().zip(&batch.starts).flat_map(|(sample, start)| {
            sample.targets().map(move |(position, id)| Target { row: start + position, id })
        });
        let targets = targets.collect();
        (batch, targets)
    }

    /// One for each row.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Rows of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The last row of each sequence; sequences must not be empty.
    pub fn last_rows(&self) -> Vec<usize> {
        self.starts.iter().zip(&self.lengths).map(|(start, length)| start + length - 1).collect()
    }

    /// The index of the sequence that a row belongs to.
    pub fn sequence(&self, row: usize) -> usize {
        self.starts.partition_point(|&start| start <= row).saturating_sub(1)
    }
}

/// How a batch's rows attend: to themselves (training), or to a cache that already holds `start` keys of a slot.
pub fn attention_shape(architecture: &Architecture, batch: &Batch, keys: Keys<'_>) -> AttentionShape {
    let sequences = batch.starts.iter().zip(&batch.lengths).enumerate();
    let spans = sequences.map(|(index, (&query, &length))| match keys {
        Keys::Own => Span { query, key: query, start: 0, length },
        Keys::Cached { slots, filled, capacity } => {
            let slot = slots[index];
            Span { query, key: slot * capacity, start: filled[slot], length }
        }
    });
    AttentionShape {
        heads: architecture.num_attention_heads as usize,
        kv_heads: architecture.num_key_value_heads as usize,
        head_dim: architecture.head_dim as usize,
        spans: spans.collect(),
    }
}

/// Where a batch's keys are.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// The batch's own rows: training, or a prompt without a cache.
    Own,
    /// `slots[i]` is the cache's sequence for the batch's sequence `i`; `filled[slot]` keys are there already, in rows
    /// from `slot * capacity`.
    Cached {
        /// For each sequence of the batch, its slot of the cache.
        slots: &'a [usize],
        /// For each slot of the cache, how many keys it holds.
        filled: &'a [usize],
        /// Keys that a slot has room for.
        capacity: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_rows_one_behind_another_and_their_targets() {
        let long = Sample::completing(vec![1, 2, 3, 4], 2);
        let short = Sample::completing(vec![5, 6], 1);
        let (batch, targets) = Batch::training(&[&long, &short, &long]);
        assert_eq!(batch.ids(), [1, 2, 3, 5, 1, 2, 3]);
        assert_eq!(batch.lengths(), [3, 1, 3]);
        assert_eq!(batch.last_rows(), [2, 3, 6]);
        let expected = [(1, 3), (2, 4), (3, 6), (5, 3), (6, 4)].map(|(row, id)| Target { row, id });
        assert_eq!(targets, expected);
        let owners: Vec<usize> = (0..7).map(|row| batch.sequence(row)).collect();
        assert_eq!(owners, [0, 0, 0, 1, 2, 2, 2]);
    }
}
