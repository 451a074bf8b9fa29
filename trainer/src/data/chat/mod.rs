//! Chats as token ids with the assistant's turns labelled, by the base's own template.
//!
//! Labelled is what the model must say itself: the content of every assistant turn and what ends it, nothing else.
//! Where that is stands in the text of the written chat, by one of two ways:
//! - the template marks it with `{% generation %}` blocks (transformers' `return_assistant_tokens_mask`), or
//! - the chat up to the turn, with the generation prompt, must be how the chat with the turn begins; the turn is what
//!   comes behind, up to the last steering token. A template that rewrites what was said before is refused: what
//!   was trained on would not be what generation sees.
//!
//! How an answer ends is asked of the template once ([`Ending`]), and put behind the last answer where it writes none.
//!
//! The ids are those of the whole text, as `apply_chat_template` has them, as long as the ids before an answer are those
//! that generation starts from; where a token would reach over that border, what follows is encoded apart. Other people's
//! words are words: a steering token that is written in them is text ([`Tokenizer::encode_verbatim`]) and ends no turn. In
//! the assistant's own turns tokens are tokens.

mod assemble;
mod ending;
mod marks;
mod render;
#[cfg(test)]
mod tests;

use std::ops::Range;

use potluck_protocol::id::Digest;

use super::row::{Chat, Message};
use crate::base::{Tokenizer, TokenizerError};
use crate::data::sample::Sample;
use assemble::Answer;
pub use ending::Ending;
use marks::{Marks, Written};
pub use render::Input;
use render::{Given, Renderer};

/// A chat as its template writes it.
type Rendered = Written;

/// Why a chat gives no ids.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum ChatError {
    #[error("the base has no chat template, so it is not known how it writes a chat")]
    NoTemplate,
    #[error("the base's chat template fails: {0}")]
    Template(String),
    #[error("the base's chat template does not come to an end within {0} instructions")]
    Endless(u64),
    #[error("the base's chat template writes more than {0} bytes for this chat")]
    TooLong(usize),
    #[error(
        "the base's chat template writes the chat up to message {message} differently once it goes on, so the place of that answer is not known"
    )]
    Rewrites { message: usize },
    #[error("U+{:04X} stands in the text, which Unicode keeps for programs' own use", u32::from(*.0))]
    Noncharacter(char),
    #[error("the tokenizer makes the special token `{0}` of plain text, so that nobody's words can be told from it")]
    Forgeable(String),
    #[error("{0}")]
    Tokenizer(String),
}

impl From<TokenizerError> for ChatError {
    fn from(error: TokenizerError) -> Self {
        Self::Tokenizer(error.to_string())
    }
}

/// A base's way to write chats.
#[derive(Debug)]
pub struct ChatFormat<'a> {
    tokenizer: &'a Tokenizer,
    renderer: Renderer,
    marks: Marks,
    ending: Ending,
    digest: Digest,
}

/// A chat as a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSample {
    /// The chat's ids, with the tokens of every assistant turn labelled.
    pub sample: Sample,
    /// Answers before which a token of the whole text would have reached over the border.
    pub apart: usize,
}

impl<'a> ChatFormat<'a> {
    /// By the tokenizer's own template. An error if it has none, or one that cannot be run or told apart from its
    /// content.
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self, ChatError> {
        let template = tokenizer.template().ok_or(ChatError::NoTemplate)?;
        let marks = Marks::new(tokenizer, template)?;
        let renderer = Renderer::new(template)?;
        let write = |messages: &[Message]| {
            let messages: Vec<_> = messages.iter().map(|message| message.fields().clone()).collect();
            Ok(Written::new(&renderer.render(&Input { messages: &messages, tools: None }, false)?))
        };
        let ending = Ending::of(tokenizer, &marks, write);
        Ok(Self { tokenizer, renderer, marks, ending, digest: template.digest() })
    }

    /// Of the template.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How answers end: generation must stop there too.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// The whole chat, every assistant turn labelled.
    pub fn sample(&self, chat: &Chat) -> Result<ChatSample, ChatError> {
        let marked = self.marked(chat)?;
        let (written, answers) = if self.renderer.marks_answers(!chat.tools.is_empty()) {
            self.generated(&marked)?
        } else {
            self.answers(&marked, chat)?
        };
        let answers: Vec<_> = answers.into_iter().map(|place| self.ended(&written.text, place)).collect();
        self.assemble(&written, &answers)
    }

    /// What stands before the next answer of the assistant.
    pub fn prompt(&self, chat: &Chat) -> Result<Vec<u32>, ChatError> {
        let marked = self.marked(chat)?;
        let written = self.write(&marked, marked.count(), true)?;
        Ok(self.encode(&written, 0..written.text.len(), crate::base::Place::Start)?.ids)
    }

    /// What the template writes of messages as they are, with the head of the assistant's next turn behind them if that is
    /// wanted.
    pub fn text(&self, input: &Input<'_>, add_generation_prompt: bool) -> Result<String, ChatError> {
        Ok(Written::new(&self.renderer.render(input, add_generation_prompt)?).text)
    }

    /// Messages and tools with their words marked, made ready once for all times that they are written.
    fn marked(&self, chat: &Chat) -> Result<Given, ChatError> {
        let messages = chat.messages.iter().map(|message| self.marks.message(message));
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        let mut tools = chat.tools.clone();
        tools.iter_mut().try_for_each(|tool| self.marks.value(tool, true))?;
        let tools = Some(tools.as_slice()).filter(|tools| !tools.is_empty());
        Ok(Given::new(&Input { messages: &messages, tools }))
    }

    /// The first `count` messages, with the head of the assistant's next turn behind them if that is wanted.
    fn write(&self, marked: &Given, count: usize, add_generation_prompt: bool) -> Result<Written, ChatError> {
        Ok(Written::new(&self.renderer.render_first(marked, count, add_generation_prompt)?))
    }

    /// The text and the places that the template itself marks.
    fn generated(&self, marked: &Given) -> Result<(Written, Vec<Range<usize>>), ChatError> {
        let mut written = self.write(marked, marked.count(), false)?;
        let labels = std::mem::take(&mut written.labels);
        Ok((written, labels.into_iter().filter(|label| !label.is_empty()).collect()))
    }

    /// The text and the places of the answers, found by writing the chat up to each of them.
    fn answers(&self, marked: &Given, chat: &Chat) -> Result<(Written, Vec<Range<usize>>), ChatError> {
        let whole = self.write(marked, marked.count(), false)?;
        let mut places = Vec::new();
        for (index, _) in chat.messages.iter().enumerate().filter(|(_, message)| message.is_assistant()) {
            let before = self.write(marked, index, true)?.text;
            let last = index + 1 == chat.messages.len();
            let with = if last { whole.text.clone() } else { self.write(marked, index + 1, false)?.text };
            // What a template writes behind the end of a whole chat is no part of an answer.
            let end = with.strip_prefix(&before).map(|own| before.len() + self.end_of(own));
            let end = end.filter(|&end| whole.text.starts_with(&with[..end]));
            places.push(before.len()..end.ok_or(ChatError::Rewrites { message: index + 1 })?);
        }
        Ok((whole, places))
    }

    /// How much of what the template writes for an answer is the answer with its end: all of it where it has none.
    fn end_of(&self, own: &str) -> usize {
        let end = match &self.ending {
            Ending::Own(token) => self.marks.text(*token),
            ending => ending.text(),
        };
        end.and_then(|end| Some(own.rfind(end)? + end.len())).unwrap_or(own.len())
    }

    /// An answer with what ends it: its own end; else up to the token that ends earlier answers, if it follows; else a token
    /// is to be put behind it, if nothing but blanks follows.
    fn ended(&self, text: &str, place: Range<usize>) -> Answer {
        let (own, behind) = (&text[place.clone()], &text[place.end..]);
        let token = self.ending.token();
        if self.marks.ends(own, token) {
            return Answer { place, put: None };
        }
        match self.marks.first(behind).filter(|(found, _)| *found == token) {
            Some((_, next)) if behind[..next.start].trim().is_empty() => {
                Answer { place: place.start..place.end + next.end, put: None }
            }
            _ => Answer { put: behind.trim().is_empty().then_some(token), place },
        }
    }
}
