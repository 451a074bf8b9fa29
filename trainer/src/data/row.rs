//! Rows of training and evaluation data: a prompt with its completion, a chat, or a plain text.

use std::path::PathBuf;

use potluck_protocol::id::Digest;
use serde_json::{Map, Value};

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

/// The role whose turns are learned.
pub const ASSISTANT: &str = "assistant";

/// Fields of a message that templates know beside `role` and `content`.
const FIELDS: [&str; 4] = ["name", "reasoning_content", "tool_call_id", "tool_calls"];

/// Bytes of a role.
const ROLE_MAX: usize = 32;

/// One turn of a chat: `role`, `content` (a text, or `null` beside tool calls) and what else templates know
/// (`reasoning_content`, `tool_calls`, `tool_call_id`, `name`), as it is given to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Value>);

impl Message {
    /// A turn with a role and a text, and nothing else.
    pub fn new(role: &str, content: &str) -> Self {
        let text = |text: &str| Value::String(text.to_owned());
        Self(Map::from_iter([("role".to_owned(), text(role)), ("content".to_owned(), text(content))]))
    }

    /// From the fields of a row. The error says which field is wrong.
    pub fn from_fields(mut fields: Map<String, Value>) -> Result<Self, String> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let role = fields.get("role").ok_or("missing field `role`")?;
        let short = |role: &&str| !role.is_empty() && role.len() <= ROLE_MAX && role.bytes().all(letters);
        if role.as_str().filter(short).is_none() {
            return Err("the role is no short name such as \"user\" or \"assistant\"".to_owned());
        }
        let speaks = ["tool_calls", "reasoning_content"].iter().any(|field| fields.contains_key(*field));
        match fields.get("content") {
            Some(Value::String(_)) => {}
            Some(Value::Null) | None if speaks => {}
            None => return Err("missing field `content`".to_owned()),
            Some(_) => return Err("`content` is not a text".to_owned()),
        }
        for (name, value) in &mut fields {
            match name.as_str() {
                "role" | "content" => {}
                "tool_calls" => calls(value)?,
                name if FIELDS.contains(&name) && value.is_string() => {}
                name if FIELDS.contains(&name) => return Err(format!("`{name}` is not a text")),
                name => return Err(format!("unknown field `{name}`, expected `role`, `content` or {}", known())),
            }
        }
        Ok(Self(fields))
    }

    /// What a template sees.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// `system`, `user`, `assistant`, `tool`, or what else the base's template knows.
    pub fn role(&self) -> &str {
        self.text("role")
    }

    /// Empty where there is none.
    pub fn content(&self) -> &str {
        self.text("content")
    }

    /// Whether the model speaks: only such turns are learned.
    pub fn is_assistant(&self) -> bool {
        self.role() == ASSISTANT
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.content().is_empty() && self.0.keys().all(|name| name == "role" || name == "content")
    }

    /// Whether it calls tools, which needs no content.
    pub fn has_calls(&self) -> bool {
        self.0.contains_key("tool_calls")
    }

    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// What it has beside role and content, keys sorted; empty if nothing.
    fn more(&self) -> String {
        let mut more: Vec<_> = self.0.iter().filter(|(name, _)| *name != "role" && *name != "content").collect();
        more.sort_by_key(|(name, _)| *name);
        if more.is_empty() { String::new() } else { serde_json::json!(more).to_string() }
    }
}

impl<'de> serde::Deserialize<'de> for Message {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_fields(Map::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn known() -> String {
    FIELDS.map(|name| format!("`{name}`")).join(", ")
}

/// A list of objects. OpenAI writes a call's arguments as a text that holds an object; templates expect the object.
fn calls(value: &mut Value) -> Result<(), String> {
    let wrong = || "`tool_calls` is no list of objects with a `function`".to_owned();
    for call in value.as_array_mut().ok_or_else(wrong)? {
        let call = call.as_object_mut().ok_or_else(wrong)?;
        let function = call.get_mut("function").ok_or_else(wrong)?.as_object_mut().ok_or_else(wrong)?;
        if let Some(Value::String(text)) = function.get("arguments")
            && let Ok(object @ Value::Object(_)) = serde_json::from_str(text)
        {
            function.insert("arguments".to_owned(), object);
        }
    }
    Ok(())
}

/// The turns of a chat, and the tools that its template is told of (JSON schemas), if any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chat {
    /// In the order in which they were said.
    pub messages: Vec<Message>,
    /// JSON schemas of functions.
    pub tools: Vec<Value>,
}

impl From<Vec<Message>> for Chat {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, tools: Vec::new() }
    }
}

impl Chat {
    /// The chat up to a message.
    #[must_use]
    pub fn before(&self, message: usize) -> Self {
        Self { messages: self.messages[..message].to_vec(), tools: self.tools.clone() }
    }

    /// Every text by which it is told from others.
    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::with_capacity(2 * self.messages.len());
        for message in &self.messages {
            texts.extend([message.role().to_owned(), message.content().to_owned()]);
            texts.extend(Some(message.more()).filter(|more| !more.is_empty()));
        }
        texts.extend((!self.tools.is_empty()).then(|| serde_json::json!(self.tools).to_string()));
        texts
    }
}

/// What a row holds, by the keys that it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// A text and what the model is to write behind it.
    Completion {
        /// What the model reads.
        prompt: String,
        /// What it is to write.
        completion: String,
    },
    /// Turns that the base's template writes out.
    Chat(Chat),
    /// A text that is learned whole.
    Text(String),
}

impl Content {
    /// Which of the three it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Completion { .. } => Kind::Completion,
            Self::Chat(_) => Kind::Chat,
            Self::Text(_) => Kind::Text,
        }
    }

    /// Every text of the row, in its order, roles included.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Completion { prompt, completion } => vec![prompt.clone(), completion.clone()],
            Self::Chat(chat) => chat.texts(),
            Self::Text(text) => vec![text.clone()],
        }
    }

    /// What is there before the last answer, whose repetition with another answer is a contradiction. `None` for a
    /// plain text.
    pub fn question(&self) -> Option<Self> {
        match self {
            Self::Completion { prompt, .. } => {
                Some(Self::Completion { prompt: prompt.clone(), completion: String::new() })
            }
            Self::Chat(chat) => {
                let last = chat.messages.iter().rposition(Message::is_assistant)?;
                Some(Self::Chat(chat.before(last)))
            }
            Self::Text(_) => None,
        }
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counted from 1, as editors do.
    pub line: usize,
    /// What the line holds.
    pub content: Content,
}

/// The rows of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The file, for error messages.
    pub path: PathBuf,
    /// What every row of the file is.
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
