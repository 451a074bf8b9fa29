//! Python's methods of texts, lists and maps: those in which `minijinja_contrib` differs or that it lacks, else its own.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

use super::{filters, python};

pub fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => text_method(text, method, args)
            .unwrap_or_else(|| pycompat::unknown_method_callback(state, value, method, args)),
        None if value.kind() == ValueKind::Seq && method == "index" => {
            let (wanted,): (Value,) = from_args(args)?;
            let at = value.try_iter()?.position(|item| item == wanted);
            at.map(Value::from).ok_or_else(|| wrong("`index`: it is not in the list".to_owned()))
        }
        None if value.kind() == ValueKind::Map && method == "copy" => Ok(value.clone()),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// `None`: `minijinja_contrib`'s own is as Python's, or an error.
fn text_method(text: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match method {
        "strip" => strip(text, args, [true, true]),
        "lstrip" => strip(text, args, [true, false]),
        "rstrip" => strip(text, args, [false, true]),
        "split" => split(text, args),
        "rsplit" => rsplit(text, args),
        "splitlines" => split_lines(text, args),
        "partition" => partition(text, args, |text, by| text.split_once(by), false),
        "rpartition" => partition(text, args, |text, by| text.rsplit_once(by), true),
        "title" => no_args(args).and_then(|()| python::title(text).map(Value::from)),
        "capitalize" => no_args(args).and_then(|()| filters::capitalize(text).map(Value::from)),
        "islower" => no_args(args).map(|()| filters::is_cased(text, char::is_lowercase).into()),
        "isupper" => no_args(args).map(|()| filters::is_cased(text, char::is_uppercase).into()),
        "isspace" => no_args(args).map(|()| (!text.is_empty() && text.chars().all(python::is_blank)).into()),
        "isdigit" | "isnumeric" | "isdecimal" => no_args(args).and_then(|()| is_digits(text)),
        "startswith" => affix(text, args, |text, affix| text.starts_with(affix)),
        "endswith" => affix(text, args, |text, affix| text.ends_with(affix)),
        "removeprefix" => cut(args, |affix| text.strip_prefix(affix).unwrap_or(text)),
        "removesuffix" => cut(args, |affix| text.strip_suffix(affix).unwrap_or(text)),
        "join" => join(text, args),
        "index" => from_args::<(&str,)>(args).and_then(|(wanted,)| {
            let at = text.find(wanted).ok_or_else(|| wrong("`index`: it is not in the text".to_owned()))?;
            Ok(text[..at].chars().count().into())
        }),
        "zfill" => from_args::<(usize,)>(args).and_then(|(width,)| zfill(text, width)),
        _ => return None,
    })
}

fn no_args(args: &[Value]) -> Result<(), Error> {
    from_args::<()>(args)
}

fn strip(text: &str, args: &[Value], [start, end]: [bool; 2]) -> Result<Value, Error> {
    let (chars,): (Option<&str>,) = from_args(args)?;
    let taken = |c: char| chars.map_or_else(|| python::is_blank(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(taken) } else { text };
    Ok(if end { text.trim_end_matches(taken) } else { text }.into())
}

/// The separator and how often it is used at most.
fn separation(args: &[Value]) -> Result<(Option<String>, Option<usize>), Error> {
    let (by, most, kwargs): (Option<String>, Option<i64>, Kwargs) = from_args(args)?;
    let by = by.map_or_else(|| kwargs.get::<Option<String>>("sep"), |by| Ok(Some(by)))?;
    let most = most.map_or_else(|| kwargs.get::<Option<i64>>("maxsplit"), |most| Ok(Some(most)))?;
    kwargs.assert_all_used()?;
    if by.as_ref().is_some_and(String::is_empty) {
        return Err(wrong("`split` by an empty text".to_owned()));
    }
    Ok((by, most.and_then(|most| usize::try_from(most).ok())))
}

fn split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (by, most) = separation(args)?;
    let parts: Vec<&str> = match (&by, most) {
        (Some(by), Some(most)) => text.splitn(most.saturating_add(1), by.as_str()).collect(),
        (Some(by), None) => text.split(by.as_str()).collect(),
        (None, most) => words(text, most.unwrap_or(usize::MAX)),
    };
    Ok(list(parts))
}

fn list(parts: Vec<&str>) -> Value {
    parts.into_iter().map(Value::from).collect()
}

/// Words between blanks; what is left behind the last cut keeps its own blanks, but for those in front.
fn words(text: &str, most: usize) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start_matches(python::is_blank));
    while !rest.is_empty() {
        let end = if words.len() == most { None } else { rest.find(python::is_blank) };
        let (word, behind) = end.map_or((rest, ""), |end| rest.split_at(end));
        words.push(word);
        rest = behind.trim_start_matches(python::is_blank);
    }
    words
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (by, most) = separation(args)?;
    let Some(most) = most else { return split(text, args) };
    let Some(by) = by else { return Err(python::refused("`rsplit` at blanks with a bound".to_owned())) };
    let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), by.as_str()).collect();
    parts.reverse();
    Ok(list(parts))
}

fn split_lines(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (keep, kwargs): (Option<bool>, Kwargs) = from_args(args)?;
    let keep = keep.map_or_else(|| kwargs.get::<Option<bool>>("keepends"), |keep| Ok(Some(keep)))?;
    kwargs.assert_all_used()?;
    Ok(list(python::lines(text, keep.unwrap_or(false))))
}

type Cut = for<'a> fn(&'a str, &str) -> Option<(&'a str, &'a str)>;

fn partition(text: &str, args: &[Value], cut: Cut, from_end: bool) -> Result<Value, Error> {
    let (by,): (&str,) = from_args(args)?;
    if by.is_empty() {
        return Err(wrong("`partition` by an empty text".to_owned()));
    }
    let parts = match cut(text, by) {
        Some((before, behind)) => [before, by, behind],
        None if from_end => ["", "", text],
        None => [text, "", ""],
    };
    Ok(minijinja::value::Tuple::from(parts.map(Value::from)).into())
}

/// ASCII alone: what else is a digit differs between the three methods.
fn is_digits(text: &str) -> Result<Value, Error> {
    if text.chars().any(|c| !c.is_ascii() && c.is_numeric()) {
        return Err(python::refused("digits that are not ASCII".to_owned()));
    }
    Ok((!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).into())
}

fn affix(text: &str, args: &[Value], test: fn(&str, &str) -> bool) -> Result<Value, Error> {
    let (wanted, rest): (Value, Rest<Value>) = from_args(args)?;
    if !rest.is_empty() {
        return Err(python::refused("`startswith` or `endswith` from a place on".to_owned()));
    }
    let one = |wanted: &Value| match wanted.as_str() {
        Some(affix) => Ok(test(text, affix)),
        None => Err(wrong("`startswith` and `endswith` take a text or a tuple of texts".to_owned())),
    };
    if !wanted.is_tuple() {
        return one(&wanted).map(Value::from);
    }
    for affix in wanted.try_iter()? {
        if one(&affix)? {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn cut<'a>(args: &'a [Value], cut: impl FnOnce(&'a str) -> &'a str) -> Result<Value, Error> {
    let (affix,): (&str,) = from_args(args)?;
    Ok(cut(affix).into())
}

fn join(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (parts,): (Value,) = from_args(args)?;
    let part = |part: Result<Value, Error>| match part?.as_str() {
        Some(part) => Ok(part.to_owned()),
        None => Err(wrong("`join` of what is no text".to_owned())),
    };
    Ok(parts.try_iter()?.checked().map(part).collect::<Result<Vec<_>, _>>()?.join(text).into())
}

fn zfill(text: &str, width: usize) -> Result<Value, Error> {
    let missing = width.saturating_sub(text.chars().count());
    if missing > 4096 {
        return Err(wrong("`zfill` to more than 4096".to_owned()));
    }
    let (sign, digits) = text.split_at(text.strip_prefix(['+', '-']).map_or(0, |digits| text.len() - digits.len()));
    Ok(format!("{sign}{}{digits}", "0".repeat(missing)).into())
}

fn wrong(words: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, words)
}
