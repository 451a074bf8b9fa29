//! Several parts with their lengths in front: changed inside of one, or as wholes.

use potluck_protocol::splitmix::SplitMix64;

use super::{bytes, pick};
use crate::fuzz::seeds::{join, split};

/// Makes one change; the lengths fit again.
pub fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut SplitMix64) {
    let mut parts: Vec<Vec<u8>> = split(input).into_iter().map(<[u8]>::to_vec).collect();
    let others = split(other);
    if parts.is_empty() {
        return bytes::change(input, other, words, rng);
    }
    let at = rng.below(parts.len() as u64) as usize;
    match rng.below(12) {
        0 => drop(parts.remove(at)),
        1 => parts.insert(at, parts[at].clone()),
        2 => parts.rotate_left(at),
        3 if !others.is_empty() => parts[at] = pick(&others, rng).to_vec(),
        4 if !others.is_empty() => parts.insert(at, pick(&others, rng).to_vec()),
        _ => {
            let like = others.get(at).copied().unwrap_or_default();
            bytes::change(&mut parts[at], like, words, rng);
        }
    }
    *input = join(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
}
