//! A training sample: token ids of a prompt and its completion.

/// Token ids, of which those from `labels_from` on are the completion that the model learns to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Prompt and completion, ended by the end-of-text token.
    pub ids: Vec<u32>,
    /// Index of the completion's first token. Position `t` predicts the token at `t + 1`, so the labelled positions
    /// are `labels_from - 1 ..= ids.len() - 2`; a first token has no position before it and is never a label.
    pub labels_from: usize,
}

impl Sample {
    /// A prompt of `from` tokens and its completion, which is everything behind it.
    pub fn completing(ids: Vec<u32>, from: usize) -> Self {
        Self { ids, labels_from: from }
    }

    /// The positions whose next token is a label, with that token.
    pub fn targets(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let first = self.labels_from.max(1);
        self.ids.iter().enumerate().skip(first).map(|(index, &id)| (index - 1, id))
    }

    /// How many positions are labelled.
    pub fn labelled(&self) -> usize {
        self.ids.len().saturating_sub(self.labels_from.max(1))
    }

    /// The tokens before the completion.
    pub fn prompt(&self) -> &[u32] {
        &self.ids[..self.labels_from.min(self.ids.len())]
    }

    /// The tokens of the completion.
    pub fn completion(&self) -> &[u32] {
        &self.ids[self.labels_from.min(self.ids.len())..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_predicts_the_token_after_it() {
        let sample = Sample { ids: vec![10, 11, 12, 13], labels_from: 2 };
        assert_eq!(sample.targets().collect::<Vec<_>>(), [(1, 12), (2, 13)]);
        assert_eq!(sample.labelled(), 2);
    }

    #[test]
    fn the_first_token_is_never_a_label() {
        let sample = Sample { ids: vec![10, 11], labels_from: 0 };
        assert_eq!(sample.targets().collect::<Vec<_>>(), [(0, 11)]);
        assert_eq!(sample.labelled(), 1);
    }
}
