//! JSON read strictly: bounded, and each key of an object once, so that two readers cannot understand it differently.
//!
//! `serde_json` alone lets the last of two equal keys win; Python's reader does the same, other readers do not.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Why bytes are no JSON that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum JsonError {
    #[error("{len} bytes of JSON, at most {max} are allowed")]
    TooLong { len: usize, max: usize },
    #[error("not valid JSON: {0}")]
    Syntax(String),
}

/// Parses one JSON value of at most `max` bytes. Nesting is limited by `serde_json` (128).
pub fn parse(bytes: &[u8], max: usize) -> Result<Value, JsonError> {
    if bytes.len() > max {
        return Err(JsonError::TooLong { len: bytes.len(), max });
    }
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0).map_err(|error| JsonError::Syntax(error.to_string()))
}

/// The value with the keys of every object sorted, without whitespace: equal values give equal bytes.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_sorted(value, &mut out);
    out
}

fn write_sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, out);
                write_sorted(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                separate(index, out);
                out.extend_from_slice(Value::String(key.clone()).to_string().as_bytes());
                out.push(b':');
                write_sorted(item, out);
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// A short picture of a value for an error message.
pub fn describe(value: &Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { cut }
}

/// A [`Value`] whose objects have each key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Self)
    }
}

struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                let key: String = key.chars().take(80).collect();
                return Err(A::Error::custom(format!("the key `{key}` occurs twice")));
            }
            map.insert(key, entries.next_value_seed(Self)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_come_once_and_sorted() {
        let value = parse(br#"{"b":[1,-2,0.5,null,true],"a":{"d":"x","c":1e3}}"#, 100).unwrap();
        assert_eq!(canonical(&value), br#"{"a":{"c":1000.0,"d":"x"},"b":[1,-2,0.5,null,true]}"#);
        let error = parse(br#"{"a":{"b":1,"b":1}}"#, 100).unwrap_err().to_string();
        assert!(error.contains("`b` occurs twice"), "{error}");
    }

    #[test]
    fn truncated_oversized_and_wrong_json_is_refused() {
        assert_eq!(parse(b"[1,2]", 4), Err(JsonError::TooLong { len: 5, max: 4 }));
        for wrong in [&b"{"[..], b"[1", b"nul", b"\"a", b"1 2", b"", b"NaN", b"1e999", b"\xff", &[b'['; 4096]] {
            assert!(matches!(parse(wrong, 8192), Err(JsonError::Syntax(_))));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = parse(&bytes, 1000) {
                let again = parse(&canonical(&value), 10_000).unwrap();
                prop_assert_eq!(canonical(&again), canonical(&value));
            }
        }
    }
}
