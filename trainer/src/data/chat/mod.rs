//! Chats as token ids with the assistant's turns labelled, by the base's own template.
//!
//! Labelled is what the model must say itself: the content of every assistant turn and the token that ends it, nothing
//! else. Where that is stands in the text of the rendered chat, by one of two ways:
//! - the template marks it with `{% generation %}` blocks (transformers' `return_assistant_tokens_mask`), or
//! - the chat up to the turn, with the generation prompt, must be how the chat with the turn begins; the turn is what
//!   comes behind, up to the last special token. A template that rewrites what was said before is refused: what
//!   was trained on would not be what generation sees.
//!
//! The pieces between these places are tokenised apart, as prompts and completions are: the ids before a turn are
//! those that generation starts from. Roles and contents are other people's words: a special token that is written in
//! them is text ([`Tokenizer::encode_verbatim`]) and ends no turn.

mod marks;
mod render;
#[cfg(test)]
mod tests;

use std::ops::Range;

use potluck_protocol::id::Digest;

use super::row::Message;
use crate::base::{Tokenizer, TokenizerError};
use crate::sample::Sample;
use marks::Marks;
pub use render::Chat;
use render::Renderer;

/// Why a chat gives no ids.
#[derive(Clone, Debug, thiserror::Error)]
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
    digest: Digest,
}

impl<'a> ChatFormat<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self, ChatError> {
        let template = tokenizer.template().ok_or(ChatError::NoTemplate)?;
        let marks = Marks::new(tokenizer, &template.source)?;
        Ok(Self { tokenizer, renderer: Renderer::new(template)?, marks, digest: template.digest() })
    }

    /// Of the template.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The whole chat, every assistant turn labelled.
    pub fn sample(&self, messages: &[Message]) -> Result<Sample, ChatError> {
        let messages = self.marked(messages)?;
        let (text, spans) =
            if self.renderer.marks_answers() { self.generated(&messages)? } else { self.answers(&messages)? };
        self.encode(&text, &spans)
    }

    /// What stands before the next answer of the assistant.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ChatError> {
        let (text, _) = marks::take_labels(&self.render(&self.marked(messages)?, true)?);
        Ok(self.encode(&text, &[])?.ids)
    }

    /// The token that ends an answer, if the template writes one: generation must stop there too.
    pub fn turn_end(&self) -> Option<u32> {
        let sample = self.sample(&[Message::new("user", "a"), Message::new("assistant", "b")]).ok()?;
        sample.completion().last().copied().filter(|&id| self.marks.is_control(id))
    }

    /// What the template writes for a chat, with the head of the assistant's next turn behind it if that is wanted.
    pub fn text(&self, chat: &Chat<'_>, add_generation_prompt: bool) -> Result<String, ChatError> {
        Ok(marks::take_labels(&self.renderer.render(chat, add_generation_prompt)?).0)
    }

    /// The same, of marked messages and with the marks of labels.
    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        let messages: Vec<_> = messages.iter().map(fields).collect();
        self.renderer.render(&Chat { messages: &messages, tools: None }, add_generation_prompt)
    }

    fn marked(&self, messages: &[Message]) -> Result<Vec<Message>, ChatError> {
        let mark =
            |message: &Message| Ok(Message { role: message.role.clone(), content: self.marks.mark(&message.content)? });
        messages.iter().map(mark).collect()
    }

    /// The text and the places that the template itself marks.
    fn generated(&self, messages: &[Message]) -> Result<(String, Vec<Range<usize>>), ChatError> {
        Ok(marks::take_labels(&self.render(messages, false)?))
    }

    /// The text and the places of the answers, found by writing the chat up to each of them.
    fn answers(&self, messages: &[Message]) -> Result<(String, Vec<Range<usize>>), ChatError> {
        let whole = self.render(messages, false)?;
        let mut spans = Vec::new();
        for (index, _) in messages.iter().enumerate().filter(|(_, message)| message.is_assistant()) {
            let before = self.render(&messages[..index], true)?;
            let last = index + 1 == messages.len();
            let with = if last { whole.clone() } else { self.render(&messages[..=index], false)? };
            let answer = with.strip_prefix(&before).filter(|_| whole.starts_with(&with));
            let answer = answer.ok_or(ChatError::Rewrites { message: index + 1 })?;
            spans.push(before.len()..before.len() + self.marks.end_of_turn(answer));
        }
        Ok((whole, spans))
    }

    /// `spans` ascend and lie on the boundaries of characters.
    fn encode(&self, text: &str, spans: &[Range<usize>]) -> Result<Sample, ChatError> {
        let (mut ids, mut labels, mut done) = (Vec::new(), Vec::with_capacity(spans.len()), 0);
        for span in spans {
            self.marks.encode(self.tokenizer, text.get(done..span.start).unwrap_or_default(), &mut ids)?;
            let from = ids.len();
            self.marks.encode(self.tokenizer, text.get(span.clone()).unwrap_or_default(), &mut ids)?;
            labels.push(from..ids.len());
            done = span.end;
        }
        self.marks.encode(self.tokenizer, text.get(done..).unwrap_or_default(), &mut ids)?;
        Ok(Sample::new(ids, labels))
    }
}

fn fields(message: &Message) -> serde_json::Map<String, serde_json::Value> {
    let fields = [("role", &message.role), ("content", &message.content)];
    fields.map(|(name, text)| (name.to_owned(), text.as_str().into())).into_iter().collect()
}
