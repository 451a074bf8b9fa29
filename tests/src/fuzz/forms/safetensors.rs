//! A JSON header with its length in front, and data.

use potluck_protocol::splitmix::SplitMix64;
use serde_json::Value;

use super::{bytes, json, number};

/// Makes one change of the header, and mostly makes length and data fit again.
pub fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut SplitMix64) {
    let Some((mut header, data)) = parts(input) else { return bytes::change(input, other, words, rng) };
    let other = parts(other).map(|(header, _)| header.to_string()).unwrap_or_default();
    json::change_value(&mut header, other.as_bytes(), words, rng);
    let text = header.to_string();
    let mut len = text.len() as u64;
    if rng.chance(3) {
        len = number(rng);
    }
    let mut file = [&len.to_le_bytes()[..], text.as_bytes(), data].concat();
    if rng.chance(40) {
        let end = (8 + text.len()).saturating_add(end(&header)).min(super::LONGEST);
        file.resize(end, 0);
    }
    *input = file;
}

fn parts(file: &[u8]) -> Option<(Value, &[u8])> {
    let (len, rest) = file.split_first_chunk::<8>()?;
    let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    Some((serde_json::from_slice(header).ok()?, data))
}

/// Where the tensors end.
fn end(header: &Value) -> usize {
    let ends = header.as_object().into_iter().flat_map(|tensors| tensors.values());
    let ends = ends.filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    ends.max().and_then(|end| usize::try_from(end).ok()).unwrap_or(0)
}
