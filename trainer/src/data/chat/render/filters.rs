//! Filters and tests of Jinja2 3.1 where minijinja's own differ, and what it has beside Jinja2's left out.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};
use regex::Regex;

use super::{json, python};
use crate::data::chat::ChatError;

/// Filters that Jinja2 does not have, or has with other results: `safe` makes a later `~` escape, and Python's `pprint`
/// breaks its lines by width.
const NOT_JINJA: [&str; 7] = ["lines", "split", "bool", "chain", "zip", "safe", "pprint"];

pub fn add_to(environment: &mut Environment<'_>) {
    NOT_JINJA.iter().for_each(|name| environment.remove_filter(name));
    environment.remove_test("safe");
    environment.remove_test("escaped");
    environment.remove_global("debug");
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", |value: Value| python::text(&value));
    environment.add_filter("trim", trim);
    environment.add_filter("indent", indent);
    environment.add_filter("wordcount", |value: Value| {
        let text = python::text(&value)?;
        let word = |c: char| c.is_alphanumeric() || c == '_';
        Ok::<_, Error>(text.split(|c: char| !word(c)).filter(|part| !part.is_empty()).count())
    });
    environment.add_filter("capitalize", |value: Value| capitalize(&python::text(&value)?));
    environment.add_filter("items", items);
    environment.add_filter("e", escape);
    environment.add_filter("escape", escape);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", |value: Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("mapping", |value: Value| python::is_map(&value));
    environment.add_test("integer", |value: Value| value.kind() == ValueKind::Number && value.is_integer());
    environment.add_test("odd", |value: Value| Ok::<_, Error>(remainder(&value)? == 1));
    environment.add_test("even", |value: Value| Ok::<_, Error>(remainder(&value)? == 0));
    environment.add_test("lower", |value: Value| Ok::<_, Error>(is_cased(&python::text(&value)?, char::is_lowercase)));
    environment.add_test("upper", |value: Value| Ok::<_, Error>(is_cased(&python::text(&value)?, char::is_uppercase)));
}

fn regex(pattern: &str) -> Result<Regex, ChatError> {
    Regex::new(pattern).map_err(|error| ChatError::Template(error.to_string()))
}

/// Python takes `1` and `true` for the same key. minijinja does so by the chance of a hash that differs from process to
/// process, so a template with keys of both kinds is refused; [`python::keys`] finds those that are computed.
pub fn check_keys(source: &str) -> Result<(), ChatError> {
    if regex(r"[{,]\s*([tT]rue|[fF]alse)\s*:")?.is_match(source) && regex(r"[{,]\s*\d[\d.]*\s*:")?.is_match(source) {
        return Err(ChatError::Template(
            "dictionaries with truth values and numbers as keys are not supported: they would not be as in Jinja2"
                .to_owned(),
        ));
    }
    Ok(())
}

/// `e` makes a text that escapes what is put beside it. Only where nothing is put beside it is it a plain text.
pub fn check_escapes(source: &str) -> Result<(), ChatError> {
    let any = regex(r"\|\s*(e|escape)\b")?;
    let alone = regex(r"\{\{[-+]?\s*[\w.\[\]'\x22]+\s*\|\s*(e|escape)\s*[-+]?\}\}")?;
    if any.find_iter(source).count() > alone.find_iter(source).count() {
        return Err(ChatError::Template(
            "`escape` inside of a larger expression is not supported: there it would not be as in Jinja2".to_owned(),
        ));
    }
    Ok(())
}

fn escape(value: Value) -> Result<String, Error> {
    let text = python::text(&value)?;
    let escaped = [("&", "&amp;"), (">", "&gt;"), ("<", "&lt;"), ("'", "&#39;"), ("\"", "&#34;")];
    Ok(escaped.iter().fold(text, |text, (from, to)| text.replace(from, to)))
}

fn trim(value: Value, chars: Option<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let chars = chars.map_or_else(|| kwargs.get::<Option<Value>>("chars"), |chars| Ok(Some(chars)))?;
    kwargs.assert_all_used()?;
    let text = python::text(&value)?;
    Ok(match chars.as_ref().and_then(Value::as_str) {
        Some(chars) => text.trim_matches(|c| chars.contains(c)).to_owned(),
        None => text.trim_matches(python::is_blank).to_owned(),
    })
}

fn indent(
    value: Value,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let width = width.map_or_else(|| kwargs.get::<Option<Value>>("width"), |width| Ok(Some(width)))?;
    let flag =
        |given: Option<bool>, name| given.map_or_else(|| kwargs.get::<Option<bool>>(name), |flag| Ok(Some(flag)));
    let (first, blank) = (flag(first, "first")?.unwrap_or(false), flag(blank, "blank")?.unwrap_or(false));
    kwargs.assert_all_used()?;
    let Some(text) = value.as_str() else { return Err(python::refused("`indent` of what is no text".to_owned())) };
    let indent = match &width {
        Some(width) if width.as_str().is_some() => width.to_string(),
        Some(width) => " ".repeat(
            width
                .as_usize()
                .filter(|width| *width <= 256)
                .ok_or_else(|| python::refused("`indent` by what is no number up to 256".to_owned()))?,
        ),
        None => " ".repeat(4),
    };
    let whole = format!("{text}\n");
    let lines = python::lines(&whole, false);
    let inner = |(index, line): (usize, &&str)| {
        let indented = if index == 0 { first } else { blank || !line.is_empty() };
        format!("{}{line}", if indented { &indent } else { "" })
    };
    Ok(lines.iter().enumerate().map(inner).collect::<Vec<_>>().join("\n"))
}

pub fn capitalize(text: &str) -> Result<String, Error> {
    let mut chars = text.chars();
    let first = chars.next().map_or_else(|| Ok(String::new()), python::capital)?;
    Ok(first + &chars.as_str().to_lowercase())
}

fn items(value: Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::from(Vec::<Value>::new())) } else { minijinja::filters::items(&value) }
}

/// What has a length and items by number or name.
fn is_sequence(value: Value) -> bool {
    let kind = value.kind();
    matches!(kind, ValueKind::Undefined | ValueKind::String) || python::is_map(&value) || python::is_list(&value)
}

fn remainder(value: &Value) -> Result<i64, Error> {
    let number = value.as_i64().filter(|_| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    number.map(|number| number.rem_euclid(2)).ok_or_else(|| python::refused(format!("`odd` or `even` of {value}")))
}

/// `str.islower` or `str.isupper`.
pub fn is_cased(text: &str, wanted: fn(char) -> bool) -> bool {
    let mut cased = text.chars().filter(|c| c.is_lowercase() || c.is_uppercase()).peekable();
    cased.peek().is_some() && cased.all(wanted)
}
