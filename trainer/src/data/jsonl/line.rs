//! One line of JSON as a row.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Content;
use crate::data::row::{Chat, Message};

/// The forms, for error messages.
pub const WANTED: &str = "one JSON object a line, {\"prompt\": \"...\", \"completion\": \"...\"}, {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, ...]} or {\"text\": \"...\"},";

/// Messages of one chat.
const MESSAGES_MAX: usize = 4096;

/// Tools of one chat.
const TOOLS_MAX: usize = 1024;

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

/// `null` is a wrong type, not a missing field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, deserialize_with = "present")]
    prompt: Option<String>,
    #[serde(default, deserialize_with = "present")]
    completion: Option<String>,
    #[serde(default, deserialize_with = "present")]
    messages: Option<Vec<Map<String, Value>>>,
    #[serde(default, deserialize_with = "present")]
    tools: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
}

/// Fields of other forms, and how a row that has one is written here.
const FOREIGN: [(&str, &str); 3] = [
    (
        "conversations",
        "`conversations` with `from` and `value` is not read: write it as {\"messages\": [{\"role\": ..., \"content\": ...}]}, \
         where human is \"user\" and gpt is \"assistant\"",
    ),
    (
        "instruction",
        "`instruction`, `input` and `output` are not read: write them as {\"messages\": [{\"role\": \"user\", \"content\": \
         instruction and input}, {\"role\": \"assistant\", \"content\": output}]}, or as `prompt` and `completion`",
    ),
    (
        "chosen",
        "`chosen` and `rejected` are pairs of preferences, which no loss here takes: write the chosen one as \
         {\"messages\": [...]} or as `prompt` and `completion`",
    ),
];

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A row of any kind; `None` if the line is blank.
pub fn row(bytes: &[u8]) -> Result<Option<Content>, String> {
    let Some(fields) = fields::<Fields>(bytes)? else { return Ok(None) };
    if fields.tools.is_some() && fields.messages.is_none() {
        return Err("`tools` belong to a chat: the row has no `messages`".to_owned());
    }
    let content = match fields {
        Fields { prompt: Some(prompt), completion: Some(completion), messages: None, text: None, .. } => {
            Content::Completion { prompt, completion }
        }
        Fields { prompt: None, completion: None, messages: Some(messages), text: None, tools, .. } => {
            Content::Chat(chat(messages, tools.unwrap_or_default())?)
        }
        Fields { prompt: None, completion: None, messages: None, text: Some(text), .. } => Content::Text(text),
        Fields { prompt: Some(_), completion: None, messages: None, text: None, .. } => {
            return Err("missing field `completion`".to_owned());
        }
        Fields { prompt: None, completion: Some(_), messages: None, text: None, .. } => {
            return Err("missing field `prompt`".to_owned());
        }
        Fields { prompt: None, completion: None, messages: None, text: None, .. } => {
            return Err(format!("the row has no fields: {WANTED} is a row"));
        }
        _ => {
            return Err(
                "the row has fields of several kinds: it is either `prompt` and `completion`, `messages`, or `text`"
                    .to_owned(),
            );
        }
    };
    check(&content)?;
    Ok(Some(content))
}

/// A prompt, whatever else the row has.
pub fn prompt(bytes: &[u8]) -> Result<Option<Content>, String> {
    let fields = fields::<Prompt>(bytes)?;
    Ok(fields.map(|fields| Content::Completion { prompt: fields.prompt, completion: String::new() }))
}

/// What the types do not say: there is something to learn.
fn check(content: &Content) -> Result<(), String> {
    match content {
        Content::Completion { completion, .. } if completion.is_empty() => {
            Err("the completion is empty: there is nothing to learn from this row".to_owned())
        }
        Content::Text(text) if text.is_empty() => {
            Err("the text is empty: there is nothing to learn from this row".to_owned())
        }
        _ => Ok(()),
    }
}

/// A chat from which there is something to learn.
fn chat(messages: Vec<Map<String, Value>>, tools: Vec<Value>) -> Result<Chat, String> {
    if messages.len() > MESSAGES_MAX {
        return Err(format!("{} messages, at most {MESSAGES_MAX} are allowed", messages.len()));
    }
    if tools.len() > TOOLS_MAX || tools.iter().any(|tool| !tool.is_object()) {
        return Err(format!("`tools` is no list of at most {TOOLS_MAX} objects (JSON schemas of functions)"));
    }
    let numbered = (1..).zip(messages).map(|(number, fields)| {
        let message = Message::from_fields(fields).map_err(|wrong| format!("message {number}: {wrong}"))?;
        if message.is_assistant() && message.is_empty() {
            return Err(format!(
                "message {number}: the assistant's content is empty: there is nothing to learn from it"
            ));
        }
        Ok(message)
    });
    let messages = numbered.collect::<Result<Vec<_>, String>>()?;
    if messages.iter().any(Message::is_assistant) {
        Ok(Chat { messages, tools })
    } else {
        Err("no message of the role \"assistant\": there is nothing to learn from this row".to_owned())
    }
}

fn fields<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("not valid UTF-8 at byte {}", error.valid_up_to() + 1))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    // serde takes a list of values for an object of fields.
    if text.trim_start().starts_with('[') {
        return Err(format!("a list is no row: {} is", WANTED.trim_end_matches(',')));
    }
    serde_json::from_str(text).map(Some).map_err(|error| foreign(text).unwrap_or_else(|| explain(&error)))
}

/// What to do with a row of another form. Which of its fields the error named depends on their order.
fn foreign(text: &str) -> Option<String> {
    let row: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).ok()?;
    FOREIGN.iter().find(|(field, _)| row.contains_key(*field)).map(|(_, advice)| (*advice).to_owned())
}

/// serde's words, with the column but without its line number, which is always 1 here.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    // The list of what was expected is as long as the forms themselves, which follow.
    let text = text.split(", expected one of ").next().unwrap_or_default();
    format!("{text} (column {}); {} is a row", error.column(), WANTED.trim_end_matches(','))
}
