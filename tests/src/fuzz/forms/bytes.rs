//! Numbers and texts with their lengths in front, little-endian.

use potluck_protocol::splitmix::SplitMix64;

use super::{number, pick, place, range, word};

/// Sizes of what stands in lists: digests, digests with a number, flags.
const STRIDES: [usize; 6] = [1, 4, 8, 32, 36, 40];

/// Bytes of the longest text that is taken for one.
const TEXT_MAX: usize = 256;

/// Makes one change.
pub fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut SplitMix64) {
    match rng.below(12) {
        0 => flip(input, rng),
        1 => overwrite(input, &number(rng).to_le_bytes(), rng),
        2 => overwrite(input, &(number(rng) as u32).to_le_bytes(), rng),
        3 => overwrite(input, &[number(rng) as u8], rng),
        4 => step(input, rng),
        5 => drop(input.drain(range(input.len(), rng))),
        6 => repeat(input, rng),
        7 => splice(input, other, rng),
        8 => swap(input, rng),
        9 | 10 => rewrite_text(input, words, rng),
        _ => grow_list(input, rng),
    }
}

fn flip(input: &mut [u8], rng: &mut SplitMix64) {
    let at = place(input.len(), rng);
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

/// Writes over what is there, or behind its end.
fn overwrite(input: &mut Vec<u8>, with: &[u8], rng: &mut SplitMix64) {
    let at = place(input.len(), rng);
    let end = (at + with.len()).min(input.len());
    input.splice(at..end, with.iter().copied());
}

/// One more or one less.
fn step(input: &mut [u8], rng: &mut SplitMix64) {
    let at = place(input.len(), rng);
    let by = if rng.chance(50) { 1u64 } else { u64::MAX };
    if let Some(bytes) = input.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        *bytes = u64::from_le_bytes(*bytes).wrapping_add(by).to_le_bytes();
    } else if let Some(byte) = input.get_mut(at) {
        *byte = byte.wrapping_add(by as u8);
    }
}

fn repeat(input: &mut Vec<u8>, rng: &mut SplitMix64) {
    let part = input[range(input.len(), rng)].to_vec();
    let times = if rng.chance(90) { 1 } else { 1 + rng.below(64) as usize };
    let at = place(input.len(), rng);
    input.splice(at..at, part.repeat(times));
}

/// The start of this one and the end of another, or a part of another put in.
fn splice(input: &mut Vec<u8>, other: &[u8], rng: &mut SplitMix64) {
    let at = place(input.len(), rng);
    if rng.chance(50) {
        input.truncate(at);
        input.extend_from_slice(&other[at.min(other.len())..]);
    } else {
        let part = other[range(other.len(), rng)].to_vec();
        input.splice(at..at, part);
    }
}

/// Two neighbours change places: what was sorted is not any more.
fn swap(input: &mut [u8], rng: &mut SplitMix64) {
    let (at, len) = (place(input.len(), rng), *pick(&STRIDES, rng));
    if let Some(both) = input.get_mut(at..at + 2 * len) {
        both.rotate_left(len);
    }
}

/// A count goes up by one, and what may be the element behind it is there twice; or down, and it is gone.
fn grow_list(input: &mut Vec<u8>, rng: &mut SplitMix64) {
    let counts: Vec<usize> = window(input, rng).filter(|&at| read(input, at) - 1 < 300).collect();
    if counts.is_empty() {
        return;
    }
    let (at, len) = (*pick(&counts, rng), *pick(&STRIDES, rng));
    let element = at + 8..(at + 8 + len).min(input.len());
    let count = read(input, at);
    if rng.chance(60) {
        let mut again = input[element.clone()].to_vec();
        // One that differs, so that it may follow the first one in order.
        if let Some(first) = again.first_mut().filter(|_| rng.chance(50)) {
            *first = first.wrapping_add(1);
        }
        input.splice(element.end..element.end, again);
        input[at..at + 8].copy_from_slice(&(count + 1).to_le_bytes());
    } else {
        input.drain(element);
        input[at..at + 8].copy_from_slice(&(count - 1).to_le_bytes());
    }
}

/// Places of numbers in a part of the input: all of a long one would take longer than reading it.
fn window(input: &[u8], rng: &mut SplitMix64) -> std::ops::Range<usize> {
    let last = input.len().saturating_sub(8);
    let from = place(last, rng).saturating_sub(64);
    from..last.min(from + 4096)
}

/// The number there, and the largest where it is 0: no list of one or more begins there.
fn read(input: &[u8], at: usize) -> u64 {
    let number = input[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if number == 0 { u64::MAX } else { number }
}

/// A text with its length in front becomes another one of the right length.
fn rewrite_text(input: &mut Vec<u8>, words: &[&str], rng: &mut SplitMix64) {
    let texts: Vec<std::ops::Range<usize>> = window(input, rng).filter_map(|at| text_at(input, at)).collect();
    if texts.is_empty() {
        return;
    }
    let text = pick(&texts, rng).clone();
    let new = match rng.below(5) {
        0 => input[pick(&texts, rng).clone()].to_vec(),
        1 => b"a".repeat(number(rng).min(5000) as usize),
        2 => Vec::new(),
        3 => "\u{fdd0}\u{202e}é\0".as_bytes().to_vec(),
        _ => word(words, rng).as_bytes().to_vec(),
    };
    let len = (new.len() as u64).to_le_bytes();
    input.splice(text.start - 8..text.end, len.into_iter().chain(new));
}

/// A text that begins behind its length at `at`.
fn text_at(input: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let len = usize::try_from(u64::from_le_bytes(*input[at..].first_chunk::<8>()?)).ok()?;
    let range = at + 8..at.checked_add(8)?.checked_add(len)?;
    let text = input.get(range.clone()).filter(|text| (1..=TEXT_MAX).contains(&text.len()))?;
    text.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte >= 128).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_their_lengths() {
        let bytes = [&[7][..], &3u64.to_le_bytes(), b"abc", &9u64.to_le_bytes()].concat();
        let found: Vec<_> = (0..bytes.len() - 8).filter_map(|at| text_at(&bytes, at)).collect();
        assert_eq!(found, vec![9..12; 1]);
    }

    #[test]
    fn a_rewritten_text_keeps_its_frame() {
        let bytes = [&3u64.to_le_bytes()[..], b"abc", &[1, 2]].concat();
        let mut rng = SplitMix64::new(1);
        for _ in 0..100 {
            let mut input = bytes.clone();
            rewrite_text(&mut input, &["word"], &mut rng);
            let len = u64::from_le_bytes(*input.first_chunk::<8>().expect("a length")) as usize;
            assert_eq!(input[8 + len..], [1, 2]);
        }
    }
}
