//! The filter `tojson` of transformers: Python's `json.dumps`, nothing escaped for HTML.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, ErrorKind};

use super::python;

/// Nested values; Python's own bound is about a thousand.
const DEPTH_MAX: usize = 200;

/// Python's options, and how they are written.
struct Style {
    ascii: bool,
    sorted: bool,
    /// What stands in front of a nested value, once a level.
    indent: Option<String>,
    between: String,
    behind_key: String,
}

/// Names of the options, in the order in which they may stand without them.
const OPTIONS: [&str; 4] = ["ensure_ascii", "indent", "separators", "sort_keys"];

pub fn tojson(value: Value, given: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let given = given.into_values();
    let (by_place, kwargs): (&[Value], Kwargs) = from_args(&given)?;
    if by_place.len() > OPTIONS.len() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let option = |place: usize| match (by_place.get(place), kwargs.get::<Option<Value>>(OPTIONS[place])?) {
        (Some(_), Some(_)) => Err(wrong(format!("`{}` of `tojson` is given twice", OPTIONS[place]))),
        (one, other) => Ok(one.cloned().or(other)),
    };
    let [ascii, indent, separators, sorted] = [option(0)?, option(1)?, option(2)?, option(3)?];
    let indent = indentation(indent)?;
    let (between, behind_key) = separation(separators, indent.is_some())?;
    let is_set = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (ascii, sorted) = (is_set(ascii), is_set(sorted));
    kwargs.assert_all_used()?;
    let mut out = String::new();
    Style { ascii, sorted, indent, between, behind_key }.write(&value, 0, &mut out)?;
    Ok(out)
}

fn indentation(given: Option<Value>) -> Result<Option<String>, Error> {
    let Some(given) = given.filter(|given| !given.is_none()) else { return Ok(None) };
    match given.as_str() {
        Some(text) if text.len() <= 64 => Ok(Some(text.to_owned())),
        None if given.kind() == ValueKind::Bool => Ok(Some(" ".repeat(usize::from(given.is_true())))),
        None => match given.as_i64() {
            Some(width @ ..=64) => Ok(Some(" ".repeat(usize::try_from(width).unwrap_or(0)))),
            _ => Err(wrong("`indent` of `tojson` is not a number up to 64".to_owned())),
        },
        Some(_) => Err(wrong("`indent` of `tojson` is too long".to_owned())),
    }
}

fn separation(given: Option<Value>, indented: bool) -> Result<(String, String), Error> {
    let Some(given) = given.filter(|given| !given.is_none()) else {
        return Ok((if indented { "," } else { ", " }.to_owned(), ": ".to_owned()));
    };
    let parts: Vec<_> = given.try_iter()?.collect();
    match &parts[..] {
        [between, key] if between.as_str().is_some() && key.as_str().is_some() => {
            Ok((between.to_string(), key.to_string()))
        }
        _ => Err(wrong("`separators` of `tojson` are two texts".to_owned())),
    }
}

impl Style {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(wrong(format!("`tojson`: more than {DEPTH_MAX} values inside each other")));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.text(value.as_str().unwrap_or_default(), out),
            ValueKind::Map if python::is_map(value) => self.map(value, depth, out)?,
            ValueKind::Seq | ValueKind::Iterable if python::is_list(value) => {
                let items = value.try_iter()?.checked().map(|item| Ok((None, item?)));
                self.items(['[', ']'], items.collect::<Result<_, Error>>()?, depth, out)?;
            }
            kind => return Err(wrong(format!("`tojson` cannot write a value of the kind {kind}"))),
        }
        Ok(())
    }

    fn map(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        let mut keys = python::keys(value)?;
        if self.sorted {
            // As Python does: by their values and not as they are written, and only what can be compared.
            let texts = |key: &Value| key.kind() == ValueKind::String;
            let numbers = |key: &Value| matches!(key.kind(), ValueKind::Number | ValueKind::Bool);
            if !keys.iter().all(texts) && !keys.iter().all(numbers) {
                return Err(wrong("`sort_keys` of `tojson`: keys of several kinds".to_owned()));
            }
            keys.sort();
        }
        let mut items = Vec::new();
        for key in keys {
            let word = match key.kind() {
                ValueKind::String => key.to_string(),
                ValueKind::None => "null".to_owned(),
                ValueKind::Bool => key.to_string().to_lowercase(),
                ValueKind::Number => number(&key),
                kind => return Err(wrong(format!("`tojson`: a key of the kind {kind}"))),
            };
            items.push((Some(word), value.get_item(&key)?));
        }
        self.items(['{', '}'], items, depth, out)
    }

    fn items(
        &self,
        [open, close]: [char; 2],
        items: Vec<(Option<String>, Value)>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        out.push(open);
        let line = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        };
        for (index, (key, item)) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(&self.between);
            }
            line(depth + 1, out);
            if let Some(key) = key {
                self.text(key, out);
                out.push_str(&self.behind_key);
            }
            self.write(item, depth + 1, out)?;
        }
        if !items.is_empty() {
            line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 || (self.ascii && !(' '..='~').contains(&c)) => {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn number(value: &Value) -> String {
    match python::float(value) {
        Some(number) if number.is_nan() => "NaN".to_owned(),
        Some(number) if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Some(number) => python::float_text(number),
        None => value.to_string(),
    }
}

fn wrong(words: String) -> Error {
    Error::new(ErrorKind::BadSerialization, words)
}
