//! Running a chat template as transformers runs it (`_compile_jinja_template`), within bounds.
//!
//! A template is a program from whoever made the base. It sees the messages and nothing else, it is stopped after so
//! many instructions and so many bytes, and it runs in the worker process. Non-goals: tools and documents (given as
//! none), and the date: `strftime_now` is left undefined, so that templates that ask for it first take the date that
//! they fall back on and the same rows give the same ids on any day.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, State, context};
use regex::Regex;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::ChatError;
use super::marks::LABEL;
use crate::base::Template;

/// Instructions of one chat: a template that compares every message with every other has room for a thousand.
const FUEL: u64 = 20_000_000;

/// Bytes of one chat: four times the longest line of a file.
const OUTPUT_MAX: usize = 4 << 20;

/// Bytes of a template's error message that are passed on.
const WORDS_MAX: usize = 400;

const NAME: &str = "chat_template";

/// What a template writes.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    pub messages: &'a [serde_json::Map<String, serde_json::Value>],
    pub tools: Option<&'a [serde_json::Value]>,
}

/// A compiled template.
#[derive(Debug)]
pub struct Renderer {
    environment: Environment<'static>,
    tokens: Value,
    marks_answers: bool,
}

impl Renderer {
    pub fn new(template: &Template) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| failed(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("potluck_generation", generation);
        environment.add_filter("tojson", tojson);
        let (source, marks_answers) = with_generation_calls(&template.source)?;
        environment.add_template_owned(NAME, source).map_err(|error| failed(&error))?;
        let tokens = template.tokens.iter().map(|(name, token)| (name.as_str(), token.as_str()));
        Ok(Self { environment, tokens: Value::from_pairs(tokens), marks_answers })
    }

    /// Whether the template marks the assistant's own text itself.
    pub fn marks_answers(&self) -> bool {
        self.marks_answers
    }

    /// The text of these messages, with the head of the assistant's next turn behind them if that is wanted.
    pub fn render(&self, chat: &Chat<'_>, add_generation_prompt: bool) -> Result<String, ChatError> {
        let template = self.environment.get_template(NAME).map_err(|error| failed(&error))?;
        let messages = Value::from(Serde(chat.messages));
        let tools = chat.tools.map(|tools| Value::from(Serde(tools)));
        let chat = context! { messages, add_generation_prompt, tools, documents => (), ..self.tokens.clone() };
        let mut text = Bounded(Vec::new());
        let rendered = template.render_captured_to(chat, &mut text);
        match rendered.map(drop) {
            Ok(()) => String::from_utf8(text.0).map_err(|error| ChatError::Template(error.to_string())),
            Err(error) => Err(failed(&error)),
        }
    }
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

/// JSON as Python writes it: a blank behind `,` and `:`, nothing escaped for HTML.
fn tojson(value: Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    for option in ["ensure_ascii", "sort_keys", "separators"] {
        // As transformers has them by default; another value would be passed over in silence.
        if kwargs.get::<Option<Value>>(option)?.is_some_and(|value| value.is_true()) {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("`tojson` with `{option}` is not supported")));
        }
    }
    kwargs.assert_all_used()?;
    let indent = " ".repeat(indent.unwrap_or(0).min(16));
    if indent.is_empty() {
        write_json(&value, Python)
    } else {
        write_json(&value, PrettyFormatter::with_indent(indent.as_bytes()))
    }
}

fn write_json(value: &Value, formatter: impl Formatter) -> Result<String, Error> {
    let wrong = |error: String| Error::new(ErrorKind::BadSerialization, error);
    let mut out = Vec::new();
    serde::Serialize::serialize(value, &mut Serializer::with_formatter(&mut out, formatter))
        .map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(out).map_err(|error| wrong(error.to_string()))
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
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
