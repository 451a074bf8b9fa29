//! Values and texts as Python has them, where minijinja's own differ.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// What Python's `str.strip` and `str.split` take for a blank.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Lines as `str.splitlines` cuts them, each with its end if that is wanted.
pub fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let is_end = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(is_end) {
        let pair = rest[at..].starts_with("\r\n");
        let end = if pair { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
        lines.push(&rest[..if keep_ends { at + end } else { at }]);
        rest = &rest[at + end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// `str.title`: every letter behind something that is no letter is a capital.
pub fn title(text: &str) -> Result<String, Error> {
    let (mut out, mut inside) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.push_str(&capital(c)?);
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    Ok(out)
}

/// A letter at the head of a word. Those whose head is another than its capital are refused: the standard library does
/// not know them.
pub fn capital(c: char) -> Result<String, Error> {
    let capital: String = c.to_uppercase().collect();
    let another = capital.chars().count() > 1
        || matches!(c, '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}' | '\u{10d0}'..='\u{10ff}');
    if another { Err(refused(format!("`{c}` at the head of a word"))) } else { Ok(capital) }
}

/// The number, if it is one of Python's `float`.
pub fn float(value: &Value) -> Option<f64> {
    (value.kind() == ValueKind::Number && !value.is_integer()).then(|| f64::try_from(value.clone()).ok()).flatten()
}

/// `repr` of a float: the shortest digits that give it again, with an exponent where Python writes one.
pub fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

/// Whether it is a `dict`, not another thing with names.
pub fn is_map(value: &Value) -> bool {
    value.kind() == ValueKind::Map && !value.as_object().is_some_and(|object| object.type_name().contains("Namespace"))
}

/// The keys of a `dict`. Python takes `1` and `true` for the same key; minijinja keeps both, but for those that its hash,
/// another one in each process, puts together.
pub fn keys(map: &Value) -> Result<Vec<Value>, Error> {
    let keys: Vec<_> = map.try_iter()?.checked().collect::<Result<_, Error>>()?;
    let truths = keys.iter().filter(|key| key.kind() == ValueKind::Bool);
    match truths.clone().find(|truth| keys.iter().any(|key| key.kind() == ValueKind::Number && key == *truth)) {
        Some(truth) => Err(refused(format!("a dictionary with the keys {truth} and {}", u8::from(truth.is_true())))),
        None => Ok(keys),
    }
}

/// Whether it is a `list` or `tuple`: its length is known.
pub fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) && value.len().is_some()
}

/// `str` of a value.
pub fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => repr(value, 0),
        ValueKind::Plain if value.as_object().is_some_and(|object| object.type_name().contains("Macro")) => {
            Err(refused("a macro as a text".to_owned()))
        }
        _ => Ok(value.to_string()),
    }
}

/// `repr` of a value.
fn repr(value: &Value, depth: usize) -> Result<String, Error> {
    if depth > 100 {
        return Err(refused("more than a hundred values inside each other".to_owned()));
    }
    let item = |item: Value| repr(&item, depth + 1);
    match value.kind() {
        ValueKind::Undefined => Ok("Undefined".to_owned()),
        ValueKind::Number => Ok(float(value).map_or_else(|| value.to_string(), float_text)),
        ValueKind::Map if is_map(value) => {
            let mut items = Vec::new();
            for key in keys(value)? {
                items.push(format!("{}: {}", repr(&key, depth + 1)?, item(value.get_item(&key)?)?));
            }
            Ok(format!("{{{}}}", items.join(", ")))
        }
        ValueKind::Seq | ValueKind::Iterable if is_list(value) => {
            let items: Vec<_> = value.try_iter()?.checked().map(|found| item(found?)).collect::<Result<_, Error>>()?;
            Ok(match (&items[..], value.is_tuple()) {
                ([one], true) => format!("({one},)"),
                (items, true) => format!("({})", items.join(", ")),
                (items, false) => format!("[{}]", items.join(", ")),
            })
        }
        ValueKind::None | ValueKind::Bool | ValueKind::String => Ok(format!("{value:?}")),
        kind => Err(refused(format!("a value of the kind {kind} as a text"))),
    }
}

pub fn refused(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{what}: not supported, it would not be as in Jinja2"))
}
