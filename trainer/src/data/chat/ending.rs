//! How the answers of a template end: every answer that is trained must teach where it ends, or generation never stops.

use super::marks::{Marks, Written};
use super::{ChatError, Rendered};
use crate::base::{Place, Tokenizer};
use crate::data::row::Message;

/// Words that no template says by itself.
const QUESTION: &str = "Wherefrom1";
const ANSWER: &str = "Thereupon2";
const AGAIN: &str = "Furthermore3";

/// What stands behind an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The template writes this token behind every answer.
    Own(u32),
    /// The template writes nothing behind a chat's last answer, and this token behind an earlier one (its end, or the mark
    /// of the next turn): it is put behind the last one too.
    Next(u32),
    /// The template ends an answer with a text and no token: the text is learned, and the end-of-text token behind
    /// a chat's last answer.
    /// The template ends an answer with a text and no token: the text is learned, and the end-of-text token behind a
    /// chat's last answer.
    Text {
        /// What the template writes.
        text: String,
        /// The end-of-text token.
        token: u32,
    },
    /// The template ends no answer: the end-of-text token is put behind a chat's last one.
    Nothing(u32),
}

impl Ending {
    /// Of a template, by what it writes of two chats. A template that takes neither is one that ends nothing.
    pub(super) fn of(
        tokenizer: &Tokenizer,
        marks: &Marks,
        write: impl Fn(&[Message]) -> Result<Rendered, ChatError>,
    ) -> Self {
        let eos = tokenizer.eos();
        let one = [Message::new("user", QUESTION), Message::new("assistant", ANSWER)];
        let two = [one[0].clone(), one[1].clone(), Message::new("user", AGAIN)];
        let behind = |messages: &[Message], until: Option<&str>| {
            let Written { text, .. } = write(messages).ok()?;
            let from = text.rfind(ANSWER)? + ANSWER.len();
            let to = until.map_or(Some(text.len()), |until| text[from..].find(until).map(|at| from + at))?;
            Some(text[from..to].to_owned())
        };
        let after = behind(&one, None).unwrap_or_default();
        if let Some((token, _)) = marks.first(&after) {
            return Self::Own(token);
        }
        // An end of text that is no added token.
        let ids = tokenizer.encode(after.trim_end(), Place::Inside).map(|encoded| encoded.ids).unwrap_or_default();
        if ids.first() == Some(&eos) {
            return Self::Own(eos);
        }
        let between = behind(&two, Some(AGAIN)).unwrap_or_default();
        match marks.first(&between) {
            Some((token, place)) if between[..place.start].trim().is_empty() => Self::Next(token),
            _ if !after.trim().is_empty() => Self::Text { text: after.trim_end().to_owned(), token: eos },
            _ => Self::Nothing(eos),
        }
    }

    /// The token at which generation ends.
    pub fn token(&self) -> u32 {
        match self {
            Self::Own(token) | Self::Next(token) | Self::Nothing(token) | Self::Text { token, .. } => *token,
        }
    }

    /// The text at which generation ends, where it is no token.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// For people: what ends an answer, and what is trained where the template leaves it open.
    pub fn describe(&self, tokenizer: &Tokenizer) -> String {
        let name = tokenizer.decode_all(&[self.token()]).unwrap_or_default();
        match self {
            Self::Own(_) => format!("an answer ends with {name}, as the chat template writes it"),
            Self::Next(_) => format!(
                "the chat template writes no end behind the last answer of a chat: {name}, which stands behind earlier ones, is put there and trained"
            ),
            Self::Text { text, .. } => format!(
                "the chat template ends an answer with the text {text:?}, which is no token: it is trained, and {name} behind the last answer of a chat"
            ),
            Self::Nothing(_) => format!(
                "THE CHAT TEMPLATE ENDS NO ANSWER: {name} is put behind the last answer of a chat and trained; earlier answers teach no end"
            ),
        }
    }
}
