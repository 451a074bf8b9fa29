//! One JSON value: nodes replaced, moved, repeated, put inside each other.

use potluck_protocol::splitmix::SplitMix64;
use serde_json::{Map, Value, json};

use super::{bytes, number, pick, word};

/// Levels that a value may be put inside of: more than readers take.
const DEPTH_MAX: u64 = 200;

/// Makes one change. What is no JSON is changed as bytes.
pub fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut SplitMix64) {
    let Ok(mut value) = serde_json::from_slice::<Value>(input) else { return bytes::change(input, other, words, rng) };
    change_value(&mut value, other, words, rng);
    *input = value.to_string().into_bytes();
}

/// Makes one change of a value.
pub fn change_value(value: &mut Value, other: &[u8], words: &[&str], rng: &mut SplitMix64) {
    let whole = value.clone();
    let Some(node) = nth(value, &mut rng.below(count(&whole)).min(1 << 20)) else { return };
    match rng.below(11) {
        0 => *node = scalar(words, rng),
        1 => *node = copy_of(&whole, rng),
        2 => *node = serde_json::from_slice(other).map_or(Value::Null, |other| copy_of(&other, rng)),
        3 => remove(node, rng),
        4 => add(node, &whole, words, rng),
        5 => *node = inside(std::mem::take(node), words, rng),
        6 => rename(node, words, rng),
        7 => swap(node, rng),
        _ => nudge(node, words, rng),
    }
}

/// Values in a value, itself among them.
fn count(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value of that number, in the order of [`count`].
fn nth<'a>(value: &'a mut Value, number: &mut u64) -> Option<&'a mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, number)),
        Value::Object(fields) => fields.values_mut().find_map(|item| nth(item, number)),
        _ => None,
    }
}

fn copy_of(whole: &Value, rng: &mut SplitMix64) -> Value {
    let mut whole = whole.clone();
    let count = count(&whole);
    nth(&mut whole, &mut rng.below(count)).map(std::mem::take).unwrap_or_default()
}

fn scalar(words: &[&str], rng: &mut SplitMix64) -> Value {
    match rng.below(12) {
        0 => Value::Null,
        1 => json!(rng.chance(50)),
        2 => json!(-(number(rng) as i64 >> 1)),
        3 => json!(*pick(&[0.5, -0.0, 1e308, 5e-324, 1e-5, 1e16], rng)),
        4 => json!([]),
        5 => json!({}),
        6 => json!(""),
        7 => json!("é\u{202e}\u{0}\u{fdd0}🙂"),
        8 => json!("ab ".repeat(number(rng).min(2000) as usize)),
        9 => json!(word(words, rng)),
        _ => json!(number(rng)),
    }
}

fn remove(node: &mut Value, rng: &mut SplitMix64) {
    match node {
        Value::Array(items) if !items.is_empty() => drop(items.remove(rng.below(items.len() as u64) as usize)),
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(rng.below(fields.len() as u64) as usize).cloned();
            name.and_then(|name| fields.shift_remove(&name));
        }
        other => *other = Value::Null,
    }
}

fn add(node: &mut Value, whole: &Value, words: &[&str], rng: &mut SplitMix64) {
    let new = if rng.chance(50) { scalar(words, rng) } else { copy_of(whole, rng) };
    match node {
        Value::Array(items) => {
            let item = if items.is_empty() || rng.chance(40) { new } else { pick(items, rng).clone() };
            let times = if rng.chance(95) { 1 } else { rng.below(300) as usize };
            items.extend(std::iter::repeat_n(item, times));
        }
        Value::Object(fields) => drop(fields.insert(name(fields, words, rng), new)),
        other => *other = json!([std::mem::take(other), new]),
    }
}

/// A name of the target's, of a neighbour, or any.
fn name(fields: &Map<String, Value>, words: &[&str], rng: &mut SplitMix64) -> String {
    match rng.below(4) {
        0 => fields.keys().next().cloned().unwrap_or_default() + "_",
        1 => number(rng).to_string(),
        _ => word(words, rng).to_owned(),
    }
}

/// The value inside of others, sometimes of so many that no reader follows.
fn inside(mut value: Value, words: &[&str], rng: &mut SplitMix64) -> Value {
    let depth = if rng.chance(80) { 1 } else { rng.below(DEPTH_MAX) };
    let name = name(&Map::new(), words, rng);
    let list = rng.chance(50);
    for _ in 0..depth {
        value = if list { Value::Array(vec![value]) } else { json!({ name.clone(): value }) };
    }
    value
}

fn rename(node: &mut Value, words: &[&str], rng: &mut SplitMix64) {
    let Value::Object(fields) = node else { return nudge(node, words, rng) };
    let old = fields.keys().nth(rng.below(fields.len().max(1) as u64) as usize).cloned();
    if let Some(value) = old.and_then(|old| fields.shift_remove(&old)) {
        let name = name(fields, words, rng);
        fields.insert(name, value);
    }
}

fn swap(node: &mut Value, rng: &mut SplitMix64) {
    match node {
        Value::Array(items) if items.len() > 1 => {
            let (one, other) = (rng.below(items.len() as u64), rng.below(items.len() as u64));
            items.swap(one as usize, other as usize);
        }
        Value::Object(fields) if fields.len() > 1 => {
            let mut values: Vec<Value> = fields.values_mut().map(std::mem::take).collect();
            let by = 1 + rng.below(values.len() as u64 - 1) as usize;
            values.rotate_left(by);
            fields.values_mut().zip(values).for_each(|(place, value)| *place = value);
        }
        _ => {}
    }
}

/// A little more, less or otherwise.
fn nudge(node: &mut Value, words: &[&str], rng: &mut SplitMix64) {
    match node {
        Value::Bool(truth) => *truth = !*truth,
        Value::Number(found) => {
            *node = match (found.as_u64(), rng.below(4)) {
                (Some(value), 0) => json!(value.wrapping_add(1)),
                (Some(value), 1) => json!(value.wrapping_sub(1)),
                (Some(value), 2) => json!(value as f64),
                _ => json!(number(rng)),
            };
        }
        Value::String(text) => {
            let at = text.char_indices().map(|(at, _)| at).nth(rng.below(text.len() as u64 + 1) as usize);
            let at = at.unwrap_or(text.len());
            match rng.below(4) {
                0 => text.truncate(at),
                1 => *text = text[at..].to_owned(),
                2 => text.insert_str(at, word(words, rng)),
                _ => text.insert(
                    at,
                    *pick(&['a', ' ', '"', '\\', '\u{0}', '\n', 'é', '▁', '🙂', '\u{301}', '\u{fdd2}'], rng),
                ),
            }
        }
        other => *other = scalar(words, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_can_be_reached() {
        let mut value = json!({"a": [1, {"b": 2}], "c": null});
        assert_eq!(count(&value), 6);
        let last = nth(&mut value, &mut 5).expect("the last one");
        *last = json!("here");
        assert_eq!(value["c"], "here");
        assert_eq!(nth(&mut value, &mut 6), None);
    }

    #[test]
    fn json_stays_json() {
        let mut rng = SplitMix64::new(9);
        let mut input = br#"{"a":[1,2,{"b":"c"}],"d":0.5}"#.to_vec();
        for _ in 0..1000 {
            change(&mut input, b"[true]", &["word"], &mut rng);
            let sound = serde_json::from_slice::<Value>(&input);
            // Beyond 128 levels nobody reads it.
            if sound.is_err() || input.len() > 10_000 {
                input = b"{}".to_vec();
            }
        }
    }
}
