//! The written chat as ids: those of the whole text, with the border before each answer kept.

use std::ops::Range;

use super::marks::Written;
use super::{ChatError, ChatFormat, ChatSample};
use crate::base::{Encoded, Place};
use crate::data::sample::Sample;

/// Where an answer stands in the text, and the token that is to be put behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub place: Range<usize>,
    pub put: Option<u32>,
}

/// The ids of a chat while its answers are gone through, and from where on they were encoded as one text.
struct Assembled {
    encoded: Encoded,
    from: usize,
    place: Place,
}

impl ChatFormat<'_> {
    /// Ids and labels. `answers` ascend and lie on the boundaries of characters.
    pub(super) fn assemble(&self, written: &Written, answers: &[Answer]) -> Result<ChatSample, ChatError> {
        let encoded = self.encode(written, 0..written.text.len(), Place::Start)?;
        let mut whole = Assembled { encoded, from: 0, place: Place::Start };
        let (mut labels, mut apart) = (Vec::with_capacity(answers.len()), 0);
        for answer in answers {
            let (from, parted) = self.begin(written, &mut whole, answer.place.start)?;
            apart += usize::from(parted);
            labels.push(from..whole.encoded.index_at(answer.place.end).max(from));
        }
        let mut ids = whole.encoded.ids;
        if let Some(token) = answers.last().and_then(|answer| answer.put) {
            // Behind the answer itself: blanks that the template leaves there are not the model's.
            let end = labels.last().map_or(ids.len(), |label: &Range<usize>| label.end);
            if ids[..end].last() != Some(&token) {
                ids.truncate(end);
                ids.push(token);
                labels.push(end..end + 1);
            }
        }
        Ok(ChatSample { sample: Sample::new(ids, labels), apart })
    }

    /// The first id of an answer that begins at byte `at`, and whether the text had to be parted there: the ids before it
    /// must be those of the text before it alone, since generation starts from them.
    fn begin(&self, written: &Written, whole: &mut Assembled, at: usize) -> Result<(usize, bool), ChatError> {
        // An added token parts the text by itself: what stands before the last one needs no second look.
        let until = whole.encoded.index_at(at);
        let token = (0..until).rev().find(|&index| whole.encoded.added[index]);
        let start = token.map_or(whole.from, |index| whole.encoded.starts[index].max(whole.from));
        let place = if start == whole.from { whole.place } else { Place::Start };
        let first = whole.encoded.index_at(start);
        let before = self.encode(written, start..at, place)?;
        let from = first + before.len();
        if whole.encoded.ids[first..].starts_with(&before.ids) {
            return Ok((from, false));
        }
        let next = (until..whole.encoded.len()).find(|&index| whole.encoded.added[index]);
        let next = next.filter(|&index| whole.encoded.starts[index] >= at);
        let end = next.map_or(written.text.len(), |index| whole.encoded.starts[index]);
        let strips = before.added.last() == Some(&true) && self.tokenizer.strips_right(before.ids.last());
        let blanks = if strips { written.text[at..end].len() - written.text[at..end].trim_start().len() } else { 0 };
        let behind = self.encode(written, at + blanks..end, Place::Inside)?;
        let mut parted = before;
        let length = parted.len();
        parted.append(behind, at + blanks - start);
        whole.encoded.replace(first..next.unwrap_or(whole.encoded.len()), parted, start);
        (whole.from, whole.place) = (at, Place::Inside);
        Ok((first + length, true))
    }

    /// A part of the text: steering tokens in somebody's words are text, all others are themselves.
    pub(super) fn encode(&self, written: &Written, part: Range<usize>, place: Place) -> Result<Encoded, ChatError> {
        let text = &written.text[part.clone()];
        let (mut encoded, mut done) = (Encoded::default(), 0);
        let place_of = |encoded: &Encoded| if encoded.is_empty() { place } else { Place::Inside };
        for words in written.words_in(part) {
            encoded.append(self.tokenizer.encode(&text[done..words.start], place_of(&encoded))?, done);
            let verbatim = self.tokenizer.encode_verbatim(&text[words.clone()], place_of(&encoded))?;
            if self.marks.id(&text[words.clone()]).is_some_and(|id| verbatim.ids.contains(&id)) {
                return Err(ChatError::Forgeable(text[words].to_owned()));
            }
            encoded.append(verbatim, words.start);
            done = words.end;
        }
        encoded.append(self.tokenizer.encode(&text[done..], place_of(&encoded))?, done);
        Ok(encoded)
    }
}
