//! Marks in the text of a chat, by which its parts are known again after the template has put them together.
//!
//! They are noncharacters (U+FDD0 and on), which Unicode keeps for a program's own use; a row that holds one is refused.
//! As in transformers' `sanitize_control_tokens`, only the special tokens inside contents are marked, so that a
//! template that looks at contents sees them as they are.

use std::ops::Range;

use regex::Regex;

use super::ChatError;
use crate::base::Tokenizer;

/// Around what a template marks as the assistant's own.
pub const LABEL: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];
/// Around a special token that is somebody's words.
const WORDS: [char; 2] = ['\u{fdd2}', '\u{fdd3}'];

/// The special tokens of a tokenizer and its template.
#[derive(Debug)]
pub struct Marks {
    /// Text and id.
    tokens: Vec<(String, u32)>,
    /// Any of them, the longest first. `None` if there are none.
    any: Option<Regex>,
}

impl Marks {
    /// Steering are the tokens that are declared special, and those that the template itself writes.
    pub fn new(tokenizer: &Tokenizer, template: &str) -> Result<Self, ChatError> {
        let steering = |token: &crate::base::AddedToken| token.special || template.contains(&token.text);
        let mut tokens: Vec<_> =
            tokenizer.added_tokens().into_iter().filter(steering).map(|token| (token.text, token.id)).collect();
        tokens.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let pattern: Vec<_> = tokens.iter().map(|(text, _)| regex::escape(text)).collect();
        let any = Regex::new(&pattern.join("|")).map_err(|error| ChatError::Tokenizer(error.to_string()))?;
        Ok(Self { any: (!tokens.is_empty()).then_some(any), tokens })
    }

    pub fn is_control(&self, id: u32) -> bool {
        self.tokens.iter().any(|(_, found)| *found == id)
    }

    /// Marks the special tokens in somebody's words.
    pub fn mark(&self, words: &str) -> Result<String, ChatError> {
        if let Some(mark) = words.chars().find(|c| LABEL.contains(c) || WORDS.contains(c)) {
            return Err(ChatError::Noncharacter(mark));
        }
        let [from, to] = WORDS;
        Ok(match &self.any {
            Some(any) => {
                any.replace_all(words, |found: &regex::Captures<'_>| format!("{from}{}{to}", &found[0])).into()
            }
            None => words.to_owned(),
        })
    }

    /// How much of an answer's text is its own: up to its last special token if only blanks follow, else all of it.
    pub fn end_of_turn(&self, answer: &str) -> usize {
        let own = |found: &regex::Match<'_>| !answer[..found.start()].ends_with(WORDS[0]);
        let last = self.any.as_ref().and_then(|any| any.find_iter(answer).filter(own).last());
        match last {
            Some(found) if answer[found.end()..].trim().is_empty() => found.end(),
            _ => answer.len(),
        }
    }

    /// Appends the ids of a marked text: special tokens in somebody's words are text, all others are themselves. A mark
    /// whose partner a template has cut off separates what stands around it and is left out.
    pub fn encode(&self, tokenizer: &Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<(), ChatError> {
        let mut rest = text;
        while let Some(at) = rest.find(WORDS) {
            extend(tokenizer, &rest[..at], ids)?;
            rest = &rest[at..];
            rest = match self.words(rest) {
                Some((token, id)) => {
                    let verbatim = tokenizer.encode_verbatim(token)?;
                    if verbatim.contains(&id) {
                        return Err(ChatError::Forgeable(token.to_owned()));
                    }
                    ids.extend(verbatim);
                    &rest[2 * WORDS[0].len_utf8() + token.len()..]
                }
                None => &rest[WORDS[0].len_utf8()..],
            };
        }
        extend(tokenizer, rest, ids)
    }

    /// The special token in marks that a text starts with.
    fn words(&self, text: &str) -> Option<(&str, u32)> {
        let inside = text.strip_prefix(WORDS[0])?;
        let (inside, _) = inside.split_once(WORDS[1])?;
        self.tokens.iter().find(|(token, _)| token == inside).map(|(token, id)| (token.as_str(), *id))
    }
}

fn extend(tokenizer: &Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<(), ChatError> {
    if !text.is_empty() {
        ids.extend(tokenizer.encode_continuation(text)?);
    }
    Ok(())
}

/// The text without the marks of labels, and what stood between them.
pub fn take_labels(marked: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut spans, mut open) = (String::with_capacity(marked.len()), Vec::new(), None);
    for c in marked.chars() {
        match LABEL.iter().position(|mark| *mark == c) {
            Some(0) => open = open.or(Some(text.len())),
            Some(_) => spans.extend(open.take().map(|from| from..text.len())),
            None => text.push(c),
        }
    }
    (text, spans)
}
