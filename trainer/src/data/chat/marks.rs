//! Marks in the text of a chat, by which its parts are known again after the template has put them together.
//!
//! They are noncharacters (U+FDD0 and on), which Unicode keeps for a program's own use; a row that holds one is refused.
//! As in transformers' `sanitize_control_tokens`, only the steering tokens inside words are marked, so that a template
//! that looks at contents sees them as they are.

use std::ops::Range;

use regex::Regex;
use serde_json::{Map, Value};

use super::ChatError;
use crate::base::{AddedToken, Template, Tokenizer};
use crate::data::row::Message;

/// Around what a template marks as the assistant's own.
pub const LABEL: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];
/// Around a steering token that is somebody's words.
const WORDS: [char; 2] = ['\u{fdd2}', '\u{fdd3}'];

/// A written chat without its marks, and the places that they marked: ascending bytes of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    /// Somebody's words that look like a token. An empty range parts what stands around it.
    pub words: Vec<Range<usize>>,
    /// What the template marks as the assistant's own.
    pub labels: Vec<Range<usize>>,
}

impl Written {
    pub fn new(marked: &str) -> Self {
        let mut written = Self { text: String::with_capacity(marked.len()), ..Self::default() };
        let (mut label, mut word) = (None, None);
        for c in marked.chars() {
            let at = written.text.len();
            if c == LABEL[0] {
                label = label.or(Some(at));
            } else if c == LABEL[1] {
                written.labels.extend(label.take().map(|from| from..at));
            } else if c == WORDS[0] {
                // The mark before this one has lost its partner.
                written.words.extend(word.replace(at).map(|from| from..from));
            } else if c == WORDS[1] {
                written.words.push(word.take().unwrap_or(at)..at);
            } else {
                written.text.push(c);
            }
        }
        written.words.extend(word.map(|from| from..from));
        written.words.sort_by_key(|words| words.start);
        written
    }

    /// The words inside of a part of the text, counted from its start.
    pub fn words_in(&self, part: Range<usize>) -> Vec<Range<usize>> {
        let inside = |words: &&Range<usize>| words.start >= part.start && words.end <= part.end;
        self.words.iter().filter(inside).map(|words| words.start - part.start..words.end - part.start).collect()
    }
}

/// The tokens that steer: those that are declared special, and those that the template itself names.
#[derive(Debug)]
pub struct Marks {
    tokens: Vec<AddedToken>,
    /// Any of them, the longest first. `None` if there are none.
    any: Option<Regex>,
}

impl Marks {
    pub fn new(tokenizer: &Tokenizer, template: &Template) -> Result<Self, ChatError> {
        // Runs of blanks are tokens of some vocabularies, and stand in every template.
        let names = |token: &AddedToken| template.contains(&token.text) && !token.text.trim().is_empty();
        let steers = |token: &AddedToken| token.special || names(token);
        let mut tokens: Vec<_> = tokenizer.added_tokens().into_iter().filter(steers).collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
        let pattern: Vec<_> = tokens.iter().map(|token| regex::escape(&token.text)).collect();
        let any = Regex::new(&pattern.join("|")).map_err(|error| ChatError::Tokenizer(error.to_string()))?;
        Ok(Self { any: (!tokens.is_empty()).then_some(any), tokens })
    }

    /// A message as a template sees it. Whatever others say is words; of the assistant's own turns the tokens are tokens.
    pub fn message(&self, message: &Message) -> Result<Map<String, Value>, ChatError> {
        let mut fields = message.fields().clone();
        for (name, value) in &mut fields {
            if name != "role" {
                self.value(value, !message.is_assistant())?;
            }
        }
        Ok(fields)
    }

    /// Marks every text in a value; keys are names.
    pub fn value(&self, value: &mut Value, words: bool) -> Result<(), ChatError> {
        match value {
            Value::String(text) => {
                refuse_marks(text)?;
                if words {
                    *text = self.words(text);
                }
                Ok(())
            }
            Value::Array(values) => values.iter_mut().try_for_each(|value| self.value(value, words)),
            Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| {
                refuse_marks(name)?;
                self.value(value, words)
            }),
            _ => Ok(()),
        }
    }

    fn words(&self, text: &str) -> String {
        let [from, to] = WORDS;
        match &self.any {
            Some(any) => any.replace_all(text, |found: &regex::Captures<'_>| format!("{from}{}{to}", &found[0])).into(),
            None => text.to_owned(),
        }
    }

    /// The first steering token in a text, with its place. Words are for the caller to leave out.
    pub fn first(&self, text: &str) -> Option<(u32, Range<usize>)> {
        let found = self.any.as_ref()?.find(text)?;
        Some((self.id(found.as_str())?, found.range()))
    }

    /// Whether a text ends, but for blanks, with this token, or with another that is declared special: some templates end
    /// a call of a tool otherwise than an answer.
    pub fn ends(&self, text: &str, token: u32) -> bool {
        let mut ends = self.tokens.iter().filter(|one| one.special || one.id == token);
        ends.any(|one| text.trim_end().ends_with(&one.text))
    }

    /// How a token is written.
    pub fn text(&self, id: u32) -> Option<&str> {
        self.tokens.iter().find(|token| token.id == id).map(|token| token.text.as_str())
    }

    /// The token whose text this is.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.tokens.iter().find(|token| token.text == text).map(|token| token.id)
    }
}

fn refuse_marks(text: &str) -> Result<(), ChatError> {
    match text.chars().find(|c| LABEL.contains(c) || WORDS.contains(c)) {
        Some(mark) => Err(ChatError::Noncharacter(mark)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_lost_their_partner_part_what_stands_around_them() {
        let [from, to] = WORDS;
        let written = Written::new(&format!("a{from}<x>{to}b<{from}y>{from}<z>{to}{to}"));
        assert_eq!(written.text, "a<x>b<y><z>");
        assert_eq!(written.words, [1..4, 6..6, 8..11, 11..11]);
        assert_eq!(written.words_in(4..11), [2..2, 4..7, 7..7]);
    }

    #[test]
    fn labels_are_places_of_the_text() {
        let [from, to] = LABEL;
        let written = Written::new(&format!("é{from}ab{to}c{to}{from}"));
        assert_eq!((written.text.as_str(), written.labels.len()), ("éabc", 1));
        assert_eq!(written.labels.first(), Some(&(2..4)));
    }
}
