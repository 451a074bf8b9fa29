//! Running a chat template as transformers runs it (`_compile_jinja_template`), within bounds.
//!
//! A template is a program from whoever made the base. It sees the messages and nothing else, it is stopped after so
//! many instructions and so many bytes, and it runs in the worker process. Non-goals: documents (given as none) and the
//! date: `strftime_now` is left undefined, so that templates that ask for it first take the date that they fall back on
//! and the same rows give the same ids on any day.

mod filters;
mod json;
mod methods;
mod python;

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, State, context};
use regex::Regex;
use serde_json::Map;

use super::ChatError;
use super::marks::LABEL;
use crate::base::Template;
use crate::strangers;

/// Instructions of one chat: a template that compares every message with every other has room for a thousand.
const FUEL: u64 = 20_000_000;

/// Bytes of one chat: four times the longest line of a file.
const OUTPUT_MAX: usize = 4 << 20;

/// Bytes of a template's error message that are passed on.
const WORDS_MAX: usize = 400;

const NAME: &str = "chat_template";
/// The template of chats with tools, where the base has one.
const TOOL_USE: &str = "chat_template tool_use";

/// Names under which the thoughts of a message are given; templates read the first, or the second.
const THOUGHTS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// What a template is asked to write.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Each with the keys that its row had.
    pub messages: &'a [Map<String, serde_json::Value>],
    /// JSON schemas of functions.
    pub tools: Option<&'a [serde_json::Value]>,
}

/// The same as a template sees it.
#[derive(Debug)]
pub struct Given {
    messages: Vec<Value>,
    tools: Value,
    has_tools: bool,
}

impl Given {
    pub fn new(input: &Input<'_>) -> Self {
        let tools = Value::from(Serde(input.tools));
        Self { messages: input.messages.iter().map(fields).collect(), tools, has_tools: input.tools.is_some() }
    }

    pub fn count(&self) -> usize {
        self.messages.len()
    }
}

/// A compiled template.
#[derive(Debug)]
pub struct Renderer {
    environment: Environment<'static>,
    tokens: Value,
    default: Compiled,
    tool_use: Option<Compiled>,
}

/// One of the base's templates.
#[derive(Debug)]
struct Compiled {
    name: &'static str,
    marks_answers: bool,
}

/// Runs what calls the engine. A panic in it is an error of the template that it was given.
fn guarded<T>(work: impl FnOnce() -> Result<T, ChatError>) -> Result<T, ChatError> {
    strangers::catch(work)
        .unwrap_or_else(|words| Err(ChatError::Template(format!("the engine cannot run it: {words}"))))
}

impl Renderer {
    pub fn new(template: &Template) -> Result<Self, ChatError> {
        guarded(|| Self::compile(template))
    }

    fn compile(template: &Template) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| failed(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(methods::call);
        environment.set_formatter(|out, _, value| out.write_str(&python::text(value)?).map_err(Error::from));
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("potluck_generation", generation);
        filters::add_to(&mut environment);
        let default = Compiled::new(&mut environment, NAME, &template.source)?;
        let tool_use = template.tool_use.as_ref();
        let tool_use = tool_use.map(|source| Compiled::new(&mut environment, TOOL_USE, source)).transpose()?;
        let tokens = template.tokens.iter().map(|(name, token)| (name.as_str(), token.as_str()));
        Ok(Self { environment, tokens: Value::from_pairs(tokens), default, tool_use })
    }

    /// Whether the template marks the assistant's own text itself, of chats with tools or of others.
    pub fn marks_answers(&self, tools: bool) -> bool {
        self.template_for(tools).marks_answers
    }

    fn template_for(&self, tools: bool) -> &Compiled {
        self.tool_use.as_ref().filter(|_| tools).unwrap_or(&self.default)
    }

    /// The text of the chat, with the head of the assistant's next turn behind it if that is wanted.
    pub fn render(&self, input: &Input<'_>, add_generation_prompt: bool) -> Result<String, ChatError> {
        let given = Given::new(input);
        self.render_first(&given, given.messages.len(), add_generation_prompt)
    }

    /// The same of the first messages of what was made ready once.
    pub fn render_first(&self, given: &Given, count: usize, add_generation_prompt: bool) -> Result<String, ChatError> {
        let template = self.template_for(given.has_tools).name;
        let template = self.environment.get_template(template).map_err(|error| failed(&error))?;
        let messages: Value = given.messages.iter().take(count).cloned().collect();
        let tools = given.tools.clone();
        let chat = context! { messages, add_generation_prompt, tools, documents => (), ..self.tokens.clone() };
        guarded(|| {
            let mut text = Bounded(Vec::new());
            template.render_captured_to(chat, &mut text).map(drop).map_err(|error| failed(&error))?;
            String::from_utf8(text.0).map_err(|error| ChatError::Template(error.to_string()))
        })
    }
}

impl Compiled {
    fn new(environment: &mut Environment<'static>, name: &'static str, source: &str) -> Result<Self, ChatError> {
        // Jinja2 reads every end of a line as `\n`, and takes one away behind a block.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        filters::check_escapes(&source)?;
        filters::check_keys(&source)?;
        let (source, marks_answers) = with_generation_calls(&source)?;
        environment.add_template_owned(name, source).map_err(|error| failed(&error))?;
        Ok(Self { name, marks_answers })
    }
}

/// A message as transformers hands it on: without fields that are null, thoughts under each name that templates read.
fn fields(message: &Map<String, serde_json::Value>) -> Value {
    let given = |(_, value): &(&String, &serde_json::Value)| !value.is_null();
    let mut fields: Map<_, _> =
        message.iter().filter(given).map(|(name, value)| (name.clone(), value.clone())).collect();
    let [first, second, _] = THOUGHTS;
    if let Some(thoughts) = THOUGHTS.iter().find_map(|name| fields.get(*name)).cloned() {
        if !fields.contains_key(second) {
            fields.shift_insert(0, second.to_owned(), thoughts.clone());
        }
        fields.insert(first.to_owned(), thoughts);
    }
    Value::from(Serde(fields))
}

/// Output up to [`OUTPUT_MAX`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The tag `generation` is transformers' own; as a call of a function with a body it keeps its meaning, its scope and
/// its control of blanks.
fn with_generation_calls(source: &str) -> Result<(String, bool), ChatError> {
    let tag = |name: &str| {
        let pattern = format!(r"\{{%([-+]?)\s*{name}\s*([-+]?)%\}}");
        Regex::new(&pattern).map_err(|error| ChatError::Template(error.to_string()))
    };
    let (begin, end) = (tag("generation")?, tag("endgeneration")?);
    let calls = begin.replace_all(source, "{%$1 call potluck_generation() $2%}");
    Ok((end.replace_all(&calls, "{%$1 endcall $2%}").into_owned(), begin.is_match(source)))
}

fn generation(state: &mut State<'_, '_>, kwargs: Kwargs) -> Result<String, Error> {
    let body: Value = kwargs.get("caller")?;
    let [from, to] = LABEL;
    Ok(format!("{from}{}{to}", body.call(state, &[])?))
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The error with what caused it, in few words.
fn failed(error: &Error) -> ChatError {
    let mut words = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Error>() {
            match error.kind() {
                ErrorKind::OutOfFuel => return ChatError::Endless(FUEL),
                ErrorKind::WriteFailure => return ChatError::TooLong(OUTPUT_MAX),
                _ => {}
            }
        }
        cause = error.source();
        if let Some(cause) = cause {
            words = format!("{words}: {cause}");
        }
    }
    ChatError::Template(words.chars().take(WORDS_MAX).collect())
}
