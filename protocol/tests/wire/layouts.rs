//! Safetensors headers and the cut rule, over arbitrary and damaged layouts.

use potluck_protocol::id::ShardId;
use potluck_protocol::limits::{OWN_SHARD_MIN, SHARD_MAX};
use potluck_protocol::safetensors::Layout;
use potluck_protocol::shard::{Cut, ShardRow, ShardTable, TableError};
use proptest::prelude::*;

use crate::arbitrary::config;
use crate::samples;

/// The start of a safetensors file whose F16 tensors have these element counts, and the file's whole length. The data
/// itself is never looked at, so it need not exist.
fn head(elements: &[usize]) -> (Vec<u8>, usize) {
    let mut begin = 0;
    let mut fields = Vec::new();
    for (index, count) in elements.iter().enumerate() {
        let end = begin + 2 * count;
        fields.push(format!(r#""t{index}":{{"dtype":"F16","shape":[{count}],"data_offsets":[{begin},{end}]}}"#));
        begin = end;
    }
    let json = format!("{{{}}}", fields.join(","));
    let head = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let len = head.len() + begin;
    (head, len)
}

/// Element counts around the sizes at which the rule changes its mind.
fn elements() -> impl Strategy<Value = Vec<usize>> {
    let around = |bytes: usize| bytes / 2 - 2..bytes / 2 + 3;
    prop::collection::vec(
        prop_oneof![0..100usize, 0..OWN_SHARD_MIN, around(OWN_SHARD_MIN), around(SHARD_MAX), 0..3 * SHARD_MAX],
        0..40,
    )
}

/// I5: tensors follow each other from the header's end to the file's, without gap or overlap.
fn covers(layout: &Layout) -> bool {
    let ends = layout.tensors.iter().map(|tensor| tensor.end);
    let begins = layout.tensors.iter().map(|tensor| tensor.begin);
    let sizes = layout.tensors.iter().all(|t| t.dtype.bytes(&t.shape) == Some(t.end - t.begin));
    std::iter::once(layout.data_start).chain(ends).eq(begins.chain([layout.file_len])) && sizes
}

fn table(cut: Cut, lens: &[u32]) -> ShardTable {
    let row = |&len| ShardRow { id: ShardId(samples::digest("any")), len };
    ShardTable { cut, rows: lens.iter().map(row).collect() }
}

/// The rule of `docs/protocol.md` once more, naively: the header in pieces of 1 MiB; a tensor of 64 KiB or more on its
/// own in such pieces; of shorter ones as many in a row as fit 1 MiB.
fn cut_by_hand(header: usize, tensors: &[usize]) -> Vec<u32> {
    let mut groups = vec![header];
    let mut open = false;
    for &len in tensors {
        let small = len < 65_536;
        match groups.last_mut() {
            Some(last) if small && open && *last + len <= 1_048_576 => *last += len,
            _ => groups.push(len),
        }
        open = small;
    }
    let pieces =
        groups.iter().flat_map(|&len| std::iter::repeat_n(1_048_576, len / 1_048_576).chain([len % 1_048_576]));
    pieces.filter(|&len| len > 0).map(|len| len as u32).collect()
}

/// Another division of the same bytes, by moving `amount` from one piece to another, joining two, or splitting one.
fn recut(pieces: &[u32], at: usize, amount: u32, way: u8) -> Vec<u32> {
    let mut other = pieces.to_vec();
    if other.is_empty() {
        return other;
    }
    let (at, next) = (at % pieces.len(), (at + 1) % pieces.len());
    let amount = 1 + amount % other[at];
    match way {
        0 => {
            other[at] -= amount;
            other[next] += amount;
        }
        1 if next > at => {
            let joined = other.remove(next);
            other[at] += joined;
        }
        _ => {
            other[at] -= amount;
            other.insert(at, amount);
        }
    }
    other.retain(|&len| len > 0);
    other
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn headers_are_read_and_cover_the_file(elements in elements()) {
        let (head, len) = head(&elements);
        let layout = Layout::parse(&head, len).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(covers(&layout));
        prop_assert_eq!(layout.tensors.len(), elements.len());
        for wrong in [len - 1, len + 1] {
            prop_assert!(Layout::parse(&head, wrong).is_err());
        }
    }

    #[test]
    fn damaged_headers_are_refused_or_cover_the_file(
        elements in prop::collection::vec(0..300usize, 0..6),
        at in any::<prop::sample::Index>(),
        put in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..9),
            // What JSON gives a meaning.
            prop::sample::select(vec!["\"", "{", "}", "[", "]", ",", ":", "0", "9", "-1", "1e3", "null", "F32", "\\u0000", " "])
                .prop_map(|text| text.as_bytes().to_vec()),
        ],
        taken in 0..5usize,
        grown in 0..16usize,
    ) {
        let (head, len) = head(&elements);
        let at = at.index(head.len());
        let rest = head.get(at + taken..).unwrap_or_default();
        let mut damaged = [&head[..at], &put, rest].concat();
        for file_len in [len, len + grown, damaged.len()] {
            if let Ok(layout) = Layout::parse(&damaged, file_len) {
                prop_assert!(covers(&layout));
            }
        }
        // The same with a length field that fits, so that the damage reaches the JSON parser.
        if damaged.len() >= 8 {
            let json = damaged.len() as u64 - 8;
            damaged[..8].copy_from_slice(&json.to_le_bytes());
            if let Ok(layout) = Layout::parse(&damaged, len + put.len() - (head.len() - at).min(taken)) {
                prop_assert!(covers(&layout));
            }
        }
    }

    #[test]
    fn arbitrary_headers_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), len in any::<usize>()) {
        if let Ok(layout) = Layout::parse(&bytes, len) {
            prop_assert!(covers(&layout));
        }
    }

    #[test]
    fn the_cut_covers_the_file_in_pieces_within_bounds(elements in elements()) {
        let (head, len) = head(&elements);
        let layout = Layout::parse(&head, len).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let pieces = Cut::of_layout(&layout);
        prop_assert!(pieces.iter().all(|&piece| (1..=SHARD_MAX as u32).contains(&piece)));
        prop_assert_eq!(pieces.iter().map(|&piece| piece as usize).sum::<usize>(), len);
        let sizes: Vec<usize> = elements.iter().map(|count| 2 * count).collect();
        prop_assert_eq!(&pieces, &cut_by_hand(layout.data_start, &sizes));
        let starts: std::collections::BTreeSet<usize> = pieces
            .iter()
            .scan(0, |at, &piece| Some(std::mem::replace(at, *at + piece as usize)))
            .collect();
        for tensor in layout.tensors.iter().filter(|tensor| tensor.end - tensor.begin >= OWN_SHARD_MIN) {
            prop_assert!(starts.contains(&tensor.begin), "a large tensor is cut from its own start");
        }
        prop_assert_eq!(Cut::choose("x.safetensors", &head, len), (Cut::Safetensors, pieces.clone()));
        let table = table(Cut::Safetensors, &pieces);
        prop_assert_eq!(table.check_against(len as u64), Ok(()));
        prop_assert_eq!(table.check_cut(&head, len), Ok(()));
    }

    #[test]
    fn any_other_cut_is_refused(
        elements in elements(),
        at in any::<usize>(),
        amount in any::<u32>(),
        way in 0..3u8,
    ) {
        let (head, len) = head(&elements);
        let safetensors = Cut::choose("x.safetensors", &head, len);
        let fixed = Cut::choose("x.bin", &head, len);
        prop_assert_eq!(fixed.0, Cut::Fixed);
        for (cut, pieces) in [safetensors, fixed] {
            let other = recut(&pieces, at / 2, amount, way);
            prop_assert_eq!(other.iter().map(|&piece| piece as usize).sum::<usize>(), len);
            if other != pieces {
                prop_assert_eq!(table(cut, &other).check_cut(&head, len), Err(TableError::WrongCut));
            }
        }
    }

    #[test]
    fn rows_that_do_not_add_up_are_refused(lens in prop::collection::vec(1..=SHARD_MAX as u32, 0..20), off in 1..99u64) {
        let sum: u64 = lens.iter().map(|&len| u64::from(len)).sum();
        for cut in [Cut::Fixed, Cut::Safetensors] {
            let wrong = table(cut, &lens).check_against(sum + off);
            prop_assert_eq!(wrong, Err(TableError::Length { sum, len: sum + off }));
        }
    }
}

/// A publisher names the cut in the table, but does not choose it. // I5
#[test]
fn the_rule_follows_from_path_and_bytes() {
    let (head, len) = head(&[100, 200]);
    assert_eq!(Cut::choose("x.safetensors", &head, len).0, Cut::Safetensors);
    assert_eq!(Cut::choose("x.json", &head, len).0, Cut::Fixed);
    assert_eq!(Cut::choose("x.safetensors", b"no header", 9), (Cut::Fixed, vec![9]));
}

/// Sixteen tensors just under 64 KiB and one that fills the shard to the byte, or to one element more.
#[test]
fn joined_tensors_fill_a_shard_to_the_byte() {
    for (last, joined) in [(15, vec![1_048_574]), (16, vec![1_048_576]), (17, vec![1_048_544, 34])] {
        let mut elements = vec![32_767; 16];
        elements.push(last);
        let (head, len) = head(&elements);
        let (_, pieces) = Cut::choose("x.safetensors", &head, len);
        let expected: Vec<u32> = std::iter::once(head.len() as u32).chain(joined).collect();
        assert_eq!(pieces, expected, "a last tensor of {last} elements");
    }
}
