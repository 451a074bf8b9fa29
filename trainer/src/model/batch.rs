//! Sequences of unequal length as one block of rows, padded on the right.

use crate::backend::{AttentionShape, Span, Target};
use crate::sample::Sample;
use potluck_protocol::base::Architecture;

/// Token ids of a batch: sequence after sequence, each padded to the longest.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `sequences * width` ids; padding is id 0, whose rows nothing reads.
    pub ids: Vec<u32>,
    /// Rows of one sequence, padding included.
    pub width: usize,
    pub lengths: Vec<usize>,
}

impl Batch {
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let sequences: Vec<&[u32]> = sequences.into_iter().collect();
        let width = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(sequences.len() * width);
        for sequence in &sequences {
            ids.extend_from_slice(sequence);
            ids.resize(ids.len() + width - sequence.len(), 0);
        }
        Self { ids, width, lengths: sequences.iter().map(|ids| ids.len()).collect() }
    }

    /// A batch of samples with the rows that are labelled. The last token of a sample predicts nothing, so it is left
    /// out of the rows.
    pub fn training(samples: &[&Sample]) -> (Self, Vec<Target>) {
        let inputs = samples.iter().map(|sample| &sample.ids[..sample.ids.len().saturating_sub(1).max(1)]);
        let batch = Self::new(inputs);
        let width = batch.width;
        let targets = samples.iter().enumerate().flat_map(|(index, sample)| {
            sample.targets().map(move |(position, id)| Target { row: index * width + position, id })
        });
        let targets = targets.collect();
        (batch, targets)
    }

    /// The index of the sequence that a row belongs to.
    pub fn sequence(&self, row: usize) -> usize {
        row / self.width.max(1)
    }

    /// Tokens without padding.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

/// How a batch's rows attend: to themselves (training), or to a cache that already holds `start` keys of a slot.
pub fn attention_shape(architecture: &Architecture, batch: &Batch, keys: Keys<'_>) -> AttentionShape {
    let spans = batch.lengths.iter().enumerate().map(|(index, &length)| match keys {
        Keys::Own => Span { slot: index, start: 0, length },
        Keys::Cached { slots, filled, .. } => Span { slot: slots[index], start: filled[slots[index]], length },
    });
    AttentionShape {
        heads: architecture.num_attention_heads as usize,
        kv_heads: architecture.num_key_value_heads as usize,
        head_dim: architecture.head_dim as usize,
        queries: batch.width,
        keys: match keys {
            Keys::Own => batch.width,
            Keys::Cached { capacity, .. } => capacity,
        },
        spans: spans.collect(),
    }
}

/// Where a batch's keys are.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    Own,
    /// `slots[i]` is the cache's sequence for the batch's sequence `i`; `filled[slot]` keys are there already.
    Cached {
        slots: &'a [usize],
        filled: &'a [usize],
        capacity: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_padded_rows_and_their_targets() {
        let long = Sample::completing(vec![1, 2, 3, 4], 2);
        let short = Sample::completing(vec![5, 6], 1);
        let (batch, targets) = Batch::training(&[&long, &short]);
        assert_eq!(batch.ids, [1, 2, 3, 5, 0, 0]);
        assert_eq!(batch.lengths, [3, 1]);
        let expected = [(1, 3), (2, 4), (3, 6)].map(|(row, id)| Target { row, id });
        assert_eq!(targets, expected);
        assert_eq!(batch.sequence(3), 1);
    }
}
