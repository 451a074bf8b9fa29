//! Rows of training and evaluation data: a prompt with its completion, a chat, or a plain text.

use std::path::PathBuf;

use potluck_protocol::id::Digest;

/// What a row is. All rows of a file are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `{"prompt": ..., "completion": ...}`
    Completion,
    /// `{"messages": [{"role": ..., "content": ...}, ...]}`
    Chat,
    /// `{"text": ...}`
    Text,
}

impl Kind {
    /// In the words of an error message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completion => "a prompt with its completion",
            Self::Chat => "a chat",
            Self::Text => "a plain text",
        }
    }

    /// What rows of this kind are.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Completion => "prompts with completions",
            Self::Chat => "chats",
            Self::Text => "plain texts",
        }
    }
}

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what else the base's template knows.
    pub role: String,
    pub content: String,
}

/// The role whose turns are learned.
pub const ASSISTANT: &str = "assistant";

impl Message {
    pub fn new(role: &str, content: &str) -> Self {
        Self { role: role.to_owned(), content: content.to_owned() }
    }

    pub fn is_assistant(&self) -> bool {
        self.role == ASSISTANT
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    Completion { prompt: String, completion: String },
    Chat(Vec<Message>),
    Text(String),
}

impl Content {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Completion { .. } => Kind::Completion,
            Self::Chat(_) => Kind::Chat,
            Self::Text(_) => Kind::Text,
        }
    }

    /// Every text of the row, in its order, roles included.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Completion { prompt, completion } => vec![prompt, completion],
            Self::Chat(messages) => messages.iter().flat_map(|message| [&*message.role, &*message.content]).collect(),
            Self::Text(text) => vec![text],
        }
    }

    /// What is there before the last answer, whose repetition with another answer is a contradiction. `None` for a
    /// plain text.
    pub fn question(&self) -> Option<Self> {
        match self {
            Self::Completion { prompt, .. } => {
                Some(Self::Completion { prompt: prompt.clone(), completion: String::new() })
            }
            Self::Chat(messages) => {
                let last = messages.iter().rposition(Message::is_assistant)?;
                Some(Self::Chat(messages[..last].to_vec()))
            }
            Self::Text(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counted from 1, as editors do.
    pub line: usize,
    pub content: Content,
}

/// The rows of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The file, for error messages.
    pub path: PathBuf,
    pub kind: Kind,
    /// Never empty, all of the kind.
    pub rows: Vec<Row>,
}

impl Rows {
    /// Identifies the content: every text with its length before it, in order, and for chats how many texts a row has.
    /// Neither whitespace between fields, their order, nor empty lines count.
    pub fn digest(&self) -> Digest {
        let context = match self.kind {
            Kind::Completion => "potluck 2026 prompt completion rows/1",
            Kind::Chat => "potluck 2026 chat rows/1",
            Kind::Text => "potluck 2026 text rows/1",
        };
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for row in &self.rows {
            let texts = row.content.texts();
            if self.kind == Kind::Chat {
                hasher.update(&(texts.len() as u64).to_le_bytes());
            }
            for text in texts {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
        Digest(*hasher.finalize().as_bytes())
    }
}
