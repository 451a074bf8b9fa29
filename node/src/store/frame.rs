//! The framing of `state.log`: where a record starts and ends, and whether it is whole.

const MARK: &[u8; 4] = b"rec1";
/// Marker, length and checksum.
const HEAD: usize = 4 + 4 + 8;

/// A payload in its frame. The payload is a bounded encoding, so its length fits 32 bits.
pub(crate) fn encode(payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_le_bytes();
    [MARK, &len[..], &checksum(len, payload), payload].concat()
}

fn checksum(len: [u8; 4], payload: &[u8]) -> [u8; 8] {
    let hash = blake3::Hasher::new().update(&len).update(payload).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    first
}

/// What is found at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan<'a> {
    Frame {
        payload: &'a [u8],
        /// Where the next frame starts.
        end: usize,
    },
    /// No whole frame here; `next` is where the next whole one starts.
    Damage { next: Option<usize> },
}

/// Looks at `offset`, and on damage for the next whole frame after it. Payloads have at most `max` bytes.
pub(crate) fn scan(bytes: &[u8], offset: usize, max: usize) -> Scan<'_> {
    if let Some((payload, end)) = whole(bytes, offset, max) {
        return Scan::Frame { payload, end };
    }
    let next = (offset + 1..bytes.len()).find(|&next| whole(bytes, next, max).is_some());
    Scan::Damage { next }
}

fn whole(bytes: &[u8], offset: usize, max: usize) -> Option<(&[u8], usize)> {
    let head = bytes.get(offset..offset + HEAD)?;
    let (mark, rest) = head.split_first_chunk::<4>()?;
    let (len, sum) = rest.split_first_chunk::<4>()?;
    let payload_len = u32::from_le_bytes(*len) as usize;
    if mark != MARK || payload_len > max {
        return None;
    }
    let start = offset + HEAD;
    let payload = bytes.get(start..start + payload_len)?;
    (checksum(*len, payload) == sum).then_some((payload, start + payload_len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_damaged_length_does_not_hide_what_follows() {
        let mut bytes = [encode(b"one"), encode(b"two"), encode(b"three")].concat();
        let one = encode(b"one").len();
        bytes[one + 4] = 0xff;
        assert_eq!(scan(&bytes, 0, 100), Scan::Frame { payload: b"one", end: one });
        assert_eq!(scan(&bytes, one, 100), Scan::Damage { next: Some(one + encode(b"two").len()) });
        assert_eq!(scan(&bytes[..one + 4], one, 100), Scan::Damage { next: None });
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_a_frame_that_is_found_is_what_encodes_to_them(
            before in proptest::collection::vec(any::<u8>(), 0..60),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            after in proptest::collection::vec(any::<u8>(), 0..60),
            damage in proptest::option::of((0usize..200, 1u8..)),
            offset in 0usize..220,
        ) {
            let mut bytes = [before, encode(&payload), after].concat();
            let len = bytes.len();
            if let Some((at, flip)) = damage {
                bytes[at % len] ^= flip;
            }
            let start = match scan(&bytes, offset, 64) {
                Scan::Frame { .. } => Some(offset),
                Scan::Damage { next } => next,
            };
            if let Some(start) = start {
                let Scan::Frame { payload, end } = scan(&bytes, start, 64) else { panic!("a frame") };
                prop_assert!(start >= offset && payload.len() <= 64);
                prop_assert_eq!(encode(payload), &bytes[start..end]);
            }
        }

        #[test]
        fn frames_come_back(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| encode(payload)).collect();
            let mut offset = 0;
            for payload in &payloads {
                let Scan::Frame { payload: found, end } = scan(&bytes, offset, 64) else { panic!("a frame") };
                prop_assert_eq!(found, payload.as_slice());
                offset = end;
            }
            prop_assert_eq!(offset, bytes.len());
        }
    }
}
