//! The cut rule: where a file is cut into shards.

use serde_json::Value;

use super::Outcome;
use super::objects::SHARD_MAX;

/// A tensor of at least this many bytes is cut on its own.
const OWN: u64 = 64 << 10;

/// The rule's tag and the lengths of the pieces.
pub fn cut(path: &str, bytes: &[u8]) -> (u32, Vec<u32>) {
    match path.ends_with(".safetensors").then(|| safetensors(bytes)) {
        Some(Ok(pieces)) => (1, pieces),
        _ => (0, fixed(bytes.len() as u64)),
    }
}

fn fixed(len: u64) -> Vec<u32> {
    let piece = SHARD_MAX as u64;
    (0..len.div_ceil(piece)).map(|n| (len - n * piece).min(piece) as u32).collect()
}

fn safetensors(bytes: &[u8]) -> Outcome<Vec<u32>> {
    let (len, rest) = bytes.split_first_chunk::<8>().ok_or("no header")?;
    let len = u64::from_le_bytes(*len);
    let json: Value = serde_json::from_slice(rest.get(..len.try_into()?).ok_or("the header is cut off")?)?;
    let mut tensors = Vec::new();
    for (_, tensor) in json.as_object().ok_or("no object")?.iter().filter(|(name, _)| *name != "__metadata__") {
        let offset = |n: usize| tensor["data_offsets"][n].as_u64().ok_or("no offset");
        tensors.push((offset(0)?, offset(1)?));
    }
    tensors.sort_unstable();
    let mut pieces = fixed(8 + len);
    let mut joined = 0;
    for tensor in tensors.iter().map(|(begin, end)| end - begin) {
        if tensor >= OWN || joined + tensor > SHARD_MAX as u64 {
            pieces.extend((joined > 0).then_some(joined as u32));
            joined = 0;
        }
        if tensor >= OWN {
            pieces.extend(fixed(tensor));
        } else {
            joined += tensor;
        }
    }
    pieces.extend((joined > 0).then_some(joined as u32));
    Ok(pieces)
}
