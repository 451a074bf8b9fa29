//! The header: metadata and the table of tensors, which must cover the data without overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use potluck_protocol::limits::{TENSOR_NAME_MAX, TENSORS_MAX};
use potluck_protocol::tensor::DType;

use super::cursor::Cursor;
use super::value::Value;
use super::{GgufError, cut};

/// Metadata entries of one file: the fullest in use have about a hundred.
const ENTRIES_MAX: usize = 4096;
/// Bytes of a metadata key.
const KEY_MAX: usize = 1024;
/// `GGML_MAX_DIMS`.
const DIMENSIONS_MAX: usize = 4;
/// Where tensors start, unless `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;

/// The header of a file. Borrows the file's bytes.
#[derive(Clone, Debug)]
pub struct Gguf<'a> {
    /// What the file says of the model, by key, e.g. `llama.block_count`.
    pub metadata: BTreeMap<&'a str, Value<'a>>,
    /// In the order of the file.
    pub tensors: Vec<TensorInfo<'a>>,
}

/// One tensor under its GGUF name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// GGUF's name, e.g. `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// How the elements are stored.
    pub dtype: DType,
    /// Row-major, outermost first: the reverse of ggml's `ne`.
    pub shape: Vec<usize>,
    /// Offsets from the start of the file.
    pub range: Range<usize>,
}

/// A tensor's row of the table before the start of the data is known.
struct Row<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<usize>,
    offset: u64,
}

impl<'a> Gguf<'a> {
    /// Reads the header of a whole file.
    pub fn parse(file: &'a [u8]) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(file);
        if cursor.array::<4>("the magic number").map_err(|_| GgufError::Magic)? != *b"GGUF" {
            return Err(GgufError::Magic);
        }
        let version = cursor.u32("the version")?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version(version));
        }
        let tensors = cursor.count("tensors", TENSORS_MAX)?;
        let entries = cursor.count("metadata entries", ENTRIES_MAX)?;
        let metadata = read_metadata(&mut cursor, entries)?;
        let rows = (0..tensors).map(|_| Row::read(&mut cursor)).collect::<Result<Vec<_>, _>>()?;
        let alignment = alignment(&metadata)?;
        let data = (cursor.position() as u64).next_multiple_of(alignment);
        let tensors = place(rows, data, alignment, file.len())?;
        Ok(Self { metadata, tensors })
    }

    /// The metadata value of a key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }

    /// The value under `key` through `read`, which gives `None` for the wrong type.
    pub fn typed<T>(&self, key: &'static str, read: impl Fn(&Value<'a>) -> Option<T>) -> Result<Option<T>, GgufError> {
        let wrong = || GgufError::Value { key: key.to_owned(), reason: "the value has the wrong type or size" };
        self.get(key).map(|value| read(value).ok_or_else(wrong)).transpose()
    }
}

fn read_metadata<'a>(cursor: &mut Cursor<'a>, entries: usize) -> Result<BTreeMap<&'a str, Value<'a>>, GgufError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..entries {
        let key = cursor.string("a metadata key", KEY_MAX)?;
        let value = Value::read(cursor, key)?;
        if metadata.insert(key, value).is_some() {
            return Err(GgufError::KeyTwice(cut(key)));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<&str, Value>) -> Result<u64, GgufError> {
    let key = "general.alignment";
    match metadata.get(key) {
        None => Ok(ALIGNMENT),
        Some(value) => match value.as_u32() {
            Some(found) if found.is_power_of_two() && (8..=65_536).contains(&found) => Ok(found.into()),
            _ => Err(GgufError::Value { key: key.to_owned(), reason: "not a power of two from 8 to 65536" }),
        },
    }
}

impl<'a> Row<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, GgufError> {
        const WHAT: &str = "the table of tensors";
        let name = cursor.string(WHAT, TENSOR_NAME_MAX)?;
        let wrong = |reason| GgufError::Tensor { name: cut(name), reason };
        let dimensions = cursor.u32(WHAT)? as usize;
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(wrong("it has no or too many dimensions"));
        }
        let mut shape = Vec::with_capacity(dimensions);
        for _ in 0..dimensions {
            shape.push(usize::try_from(cursor.u64(WHAT)?).map_err(|_| wrong("a dimension overflows"))?);
        }
        shape.reverse();
        let code = cursor.u32(WHAT)?;
        let dtype = ggml_type(code).ok_or_else(|| GgufError::TensorType { name: cut(name), code })?;
        Ok(Self { name, dtype, shape, offset: cursor.u64(WHAT)? })
    }

    fn range(&self, data: u64, file_len: usize) -> Result<Range<usize>, GgufError> {
        let wrong = |reason| GgufError::Tensor { name: cut(self.name), reason };
        let bytes = self.dtype.bytes(&self.shape).ok_or_else(|| wrong("its rows are no whole blocks, or too long"))?;
        let begin = data.checked_add(self.offset).and_then(|begin| usize::try_from(begin).ok());
        let range = begin.and_then(|begin| Some(begin..begin.checked_add(bytes)?));
        range.filter(|range| range.end <= file_len).ok_or_else(|| wrong("its data lies beyond the end of the file"))
    }
}

/// Ranges in the file. Tensors follow each other with nothing but padding between them, each name once. // I5
fn place<'a>(mut rows: Vec<Row<'a>>, data: u64, align: u64, file_len: usize) -> Result<Vec<TensorInfo<'a>>, GgufError> {
    rows.sort_by(|a, b| (a.offset, a.name).cmp(&(b.offset, b.name)));
    let (mut tensors, mut names, mut expected) = (Vec::with_capacity(rows.len()), BTreeSet::new(), 0u64);
    for row in rows {
        let wrong = |reason| GgufError::Tensor { name: cut(row.name), reason };
        if row.offset != expected {
            return Err(wrong("its data does not follow the tensor before it: a gap or an overlap"));
        }
        if !names.insert(row.name) {
            return Err(wrong("the name occurs twice"));
        }
        let range = row.range(data, file_len)?;
        expected += (range.len() as u64).next_multiple_of(align);
        tensors.push(TensorInfo { name: row.name, dtype: row.dtype, shape: row.shape, range });
    }
    Ok(tensors)
}

/// `enum ggml_type`.
fn ggml_type(code: u32) -> Option<DType> {
    Some(match code {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        6 => DType::Q5_0,
        7 => DType::Q5_1,
        8 => DType::Q8_0,
        10 => DType::Q2K,
        11 => DType::Q3K,
        12 => DType::Q4K,
        13 => DType::Q5K,
        14 => DType::Q6K,
        15 => DType::Q8K,
        28 => DType::F64,
        30 => DType::BF16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample;
    use super::*;

    #[test]
    fn a_small_file_is_read() {
        let bytes = sample::llama();
        let gguf = Gguf::parse(&bytes).unwrap();
        assert_eq!(gguf.get("general.architecture"), Some(&Value::String("llama")));
        let query = gguf.tensors.iter().find(|tensor| tensor.name == "blk.0.attn_q.weight").unwrap();
        assert_eq!((query.dtype, query.shape.as_slice(), query.range.len()), (DType::Q8_0, &[32, 32][..], 32 * 34));
    }

    #[test]
    fn truncated_gguf_is_refused_at_every_length() {
        let bytes = sample::llama();
        for len in 0..bytes.len() {
            assert!(Gguf::parse(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
        }
    }

    #[test]
    fn oversized_counts_and_lengths_are_refused_before_anything_is_allocated() {
        let head = |tensors: u64, entries: u64, rest: &[u8]| {
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend_from_slice(&tensors.to_le_bytes());
            bytes.extend_from_slice(&entries.to_le_bytes());
            bytes.extend_from_slice(rest);
            bytes
        };
        let string = |text: &[u8], len: u64| [&len.to_le_bytes()[..], text].concat();
        let array = |kind: u32, len: u64| {
            [&string(b"k", 1)[..], &9u32.to_le_bytes(), &kind.to_le_bytes(), &len.to_le_bytes()].concat()
        };
        let cases = [
            (b"GGML\x03\0\0\0".to_vec(), "does not start"),
            (b"GGUF\x00\0\0\x03".to_vec(), "version"),
            (head(u64::MAX, 0, b""), "tensors: 18446744073709551615"),
            (head(0, 1 << 40, b""), "metadata entries"),
            (head(0, 1, &string(b"", u64::MAX)), "a metadata key: 18446744073709551615"),
            (head(0, 1, &string(b"\xff", 1)), "UTF-8"),
            (head(0, 1, &array(0, u64::MAX)), "elements of an array"),
            (head(0, 1, &array(8, 1 << 25)), "ends inside an array"),
            (head(0, 1, &array(9, 1)), "nested"),
            (head(0, 1, &array(77, 1)), "unknown"),
        ];
        for (bytes, expected) in cases {
            let error = Gguf::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn tensors_that_overlap_leave_gaps_or_lie_outside_are_refused() {
        let check = |tensors: &[sample::Tensor], expected: &str| {
            let error = Gguf::parse(&sample::file(&[], tensors, 64)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let tensor = |name, ne: &[u64], code, offset| sample::Tensor { name, ne: ne.to_vec(), code, offset };
        check(&[tensor("a", &[8], 0, 0), tensor("b", &[8], 0, 0)], "overlap");
        check(&[tensor("a", &[8], 0, 32)], "gap");
        check(&[tensor("a", &[8], 0, 0), tensor("a", &[8], 0, 32)], "twice");
        check(&[tensor("a", &[17], 0, 0)], "beyond the end");
        check(&[tensor("a", &[u64::MAX, 2], 0, 0)], "too long");
        check(&[tensor("a", &[8], 2, 0)], "whole blocks");
        check(&[tensor("a", &[8], 4, 0)], "ggml type 4");
        check(&[tensor("a", &[], 0, 0)], "dimensions");
        check(&[tensor("a", &[1, 1, 1, 1, 1], 0, 0)], "dimensions");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Bits flipped, bytes cut, bytes put in: an error or a header whose tensors lie inside the file.
        #[test]
        fn bit_flipped_gguf_gives_an_error_or_a_sound_header(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
            insert in prop::option::of((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..9))),
        ) {
            // Most of the file is weights, in which nothing can go wrong: change the header.
            let mut bytes = sample::llama();
            let header = sample::header_len(&bytes);
            for (at, bit) in flips {
                bytes[at.index(header)] ^= 1 << bit;
            }
            if let Some((at, more)) = insert {
                let at = at.index(header);
                bytes.splice(at..at, more);
            }
            if let Some(at) = cut {
                bytes.truncate(at.index(bytes.len()));
            }
            if let Ok(gguf) = Gguf::parse(&bytes) {
                for tensor in &gguf.tensors {
                    prop_assert!(tensor.range.end <= bytes.len());
                    prop_assert_eq!(tensor.dtype.bytes(&tensor.shape), Some(tensor.range.len()));
                }
                let _ = super::super::architecture(&gguf);
            }
        }
    }
}
