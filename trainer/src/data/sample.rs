//! A training sample: token ids, and which of them the model learns to produce.

use std::ops::Range;

/// Token ids with labelled spans: one for a prompt and its completion, one for each assistant turn of a chat, one over
/// all of a plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// All tokens, prompt and completion.
    pub ids: Vec<u32>,
    /// Ascending, apart from each other, none empty, none beyond `ids`.
    labels: Vec<Range<usize>>,
}

impl Sample {
    /// With spans of `ids` in any order: empty ones are left out, those that touch become one.
    ///
    /// Position `t` predicts the token at `t + 1`; a first token has no position before it and is never a label.
    pub fn new(ids: Vec<u32>, labels: impl IntoIterator<Item = Range<usize>>) -> Self {
        let inside = |span: Range<usize>| span.start..span.end.min(ids.len());
        let mut spans: Vec<_> = labels.into_iter().map(inside).filter(|span| !span.is_empty()).collect();
        spans.sort_by_key(|span| span.start);
        let mut labels: Vec<Range<usize>> = Vec::with_capacity(spans.len());
        for span in spans {
            match labels.last_mut() {
                Some(last) if last.end >= span.start => last.end = last.end.max(span.end),
                _ => labels.push(span),
            }
        }
        Self { ids, labels }
    }

    /// A prompt of `from` tokens and its completion, which is everything behind it.
    pub fn completing(ids: Vec<u32>, from: usize) -> Self {
        let all = from..ids.len();
        Self::new(ids, [all])
    }

    /// The labelled spans, ascending and disjoint. Only the very first token may be in one without being a label.
    pub fn labels(&self) -> &[Range<usize>] {
        &self.labels
    }

    /// The positions whose next token is a label, ascending, with that token.
    pub fn targets(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let indices = self.labels.iter().flat_map(|span| span.start.max(1)..span.end);
        indices.filter_map(|index| Some((index - 1, *self.ids.get(index)?)))
    }

    /// How many positions are labelled.
    pub fn labelled(&self) -> usize {
        self.labels.iter().map(|span| span.end.saturating_sub(span.start.max(1))).sum()
    }

    /// The index of the first sample that labels nothing: a mean over its labels would not exist.
    pub fn first_unlabelled(samples: &[Self]) -> Option<usize> {
        samples.iter().position(|sample| sample.labelled() == 0)
    }

    /// The tokens before the last labelled span: what an answer is generated from. All of them if nothing is labelled.
    pub fn prompt(&self) -> &[u32] {
        let from = self.labels.last().map_or(self.ids.len(), |span| span.start);
        self.ids.get(..from).unwrap_or_default()
    }

    /// The tokens of the last labelled span: the completion, or a chat's last answer.
    pub fn completion(&self) -> &[u32] {
        self.labels.last().and_then(|span| self.ids.get(span.clone())).unwrap_or_default()
    }

    /// The sample without its first `count` tokens.
    #[must_use]
    pub fn cut_start(&self, count: usize) -> Self {
        let moved = self.labels.iter().map(|span| span.start.saturating_sub(count)..span.end.saturating_sub(count));
        Self::new(self.ids.get(count..).unwrap_or_default().to_vec(), moved)
    }

    /// The first `count` tokens of the sample.
    #[must_use]
    pub fn cut_end(&self, count: usize) -> Self {
        Self::new(self.ids[..count.min(self.ids.len())].to_vec(), self.labels.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_predicts_the_token_after_it() {
        let sample = Sample::completing(vec![10, 11, 12, 13], 2);
        assert_eq!(sample.targets().collect::<Vec<_>>(), [(1, 12), (2, 13)]);
        assert_eq!(sample.labelled(), 2);
        assert_eq!((sample.prompt(), sample.completion()), (&[10, 11][..], &[12, 13][..]));
    }

    #[test]
    fn the_first_token_is_never_a_label() {
        let sample = Sample::completing(vec![10, 11], 0);
        assert_eq!(sample.targets().collect::<Vec<_>>(), [(0, 11)]);
        assert_eq!(sample.labelled(), 1);
    }

    #[test]
    fn of_several_spans_the_last_is_the_completion() {
        let sample = Sample::new((0..10).collect(), [6..8, 2..3]);
        assert_eq!(sample.targets().collect::<Vec<_>>(), [(1, 2), (5, 6), (6, 7)]);
        assert_eq!((sample.prompt().len(), sample.completion()), (6, &[6, 7][..]));
        assert_eq!(sample.cut_start(3), Sample::new((3..10).collect(), std::iter::once(3..5)));
        assert_eq!(sample.cut_end(7), Sample::new((0..7).collect(), [2..3, 6..7]));
        assert_eq!(Sample::new(vec![1, 2], []).prompt(), [1, 2]);
    }

    proptest! {
        #[test]
        fn labels_are_ascending_disjoint_and_inside(
            len in 0usize..40,
            spans in prop::collection::vec((0usize..50, 0usize..50), 0..8),
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(from, to)| from..to).collect();
            let sample = Sample::new(vec![7; len], spans.iter().cloned());
            let within = |index: usize| spans.iter().any(|span| span.contains(&index));
            let expected: Vec<usize> = (1..len).filter(|&index| within(index)).map(|index| index - 1).collect();
            prop_assert_eq!(sample.targets().map(|(position, _)| position).collect::<Vec<_>>(), expected.as_slice());
            prop_assert_eq!(sample.labelled(), expected.len());
            prop_assert!(sample.labels().windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
