//! The header of a safetensors file, read strictly: what two readers could understand differently is refused.
//!
//! Goals: bounded, every tensor in the data section exactly once and without gaps, each name once, no unknown fields.
//! Non-goal: to read the data; callers slice it by the ranges that this module has checked.
//! Format: <https://github.com/huggingface/safetensors>: `u64` little-endian length, JSON of that length, data.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits::{DIMENSIONS_MAX, SAFETENSORS_HEADER_MAX, TENSORS_MAX};
use crate::tensor::{DType, check_name};

/// One tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorView {
    /// As the header states it, e.g. `model.norm.weight`. Each occurs once.
    pub name: String,
    /// One of F64, F32, F16 and BF16.
    pub dtype: DType,
    /// Row-major, outermost first.
    pub shape: Vec<usize>,
    /// Offsets from the start of the *file*.
    pub begin: usize,
    /// Offset behind its last byte.
    pub end: usize,
}

/// The tensors of a file in the order of their data, which they cover exactly once. // I5
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes before the data section: 8 + the JSON's length.
    pub data_start: usize,
    /// Bytes of the whole file.
    pub file_len: usize,
    /// By offset: each begins where the one before ends.
    pub tensors: Vec<TensorView>,
}

/// Why a file is no safetensors file that potluck takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not even the length field is there.
    #[error("the file has {len} bytes, too few for a safetensors header")]
    TooShort {
        /// Bytes that there are.
        len: usize,
    },
    /// The length field promises more than [`SAFETENSORS_HEADER_MAX`].
    #[error("the header is {len} bytes long, at most {SAFETENSORS_HEADER_MAX} are allowed")]
    HeaderTooLong {
        /// Bytes of JSON that it promises.
        len: u64,
    },
    /// The file ends within the header.
    #[error("the header is cut off: {len} bytes promised, the file ends before")]
    HeaderCutOff {
        /// Bytes of JSON that the length field promises.
        len: usize,
    },
    /// No JSON object of tensors: wrong types, unknown fields, or a name twice. The text is the parser's.
    #[error("the header is not valid: {0}")]
    Json(String),
    /// More than [`TENSORS_MAX`].
    #[error("{count} tensors, at most {TENSORS_MAX} are allowed")]
    TooManyTensors {
        /// How many.
        count: usize,
    },
    /// A tensor breaks a rule by itself.
    #[error("`{name}`: {reason}")]
    Tensor {
        /// Its name, cut to 80 characters.
        name: String,
        /// The rule.
        reason: &'static str,
    },
    /// Two tensors overlap, or bytes between them belong to none.
    #[error(
        "`{name}` starts at byte {begin} of the data, {expected} was expected: tensors must follow each other without gap or overlap"
    )]
    Gap {
        /// The tensor behind the gap.
        name: String,
        /// Where it starts, from the start of the data.
        begin: usize,
        /// Where the one before ends.
        expected: usize,
    },
    /// The data ends before or behind the last tensor.
    #[error("the tensors end at byte {tensors}, the file at byte {file}")]
    Length {
        /// Where the last tensor ends, from the start of the file.
        tensors: usize,
        /// Bytes of the file.
        file: usize,
    },
}

impl Layout {
    /// Reads the header from the start of the file. `head` holds at least the header (more does no harm), `file_len`
    /// is the length of the whole file.
    pub fn parse(head: &[u8], file_len: usize) -> Result<Self, LayoutError> {
        let data_start = Self::header_len(head, file_len)?;
        let json = head.get(8..data_start).ok_or(LayoutError::HeaderCutOff { len: data_start - 8 })?;
        let header: Header = serde_json::from_slice(json).map_err(|error| LayoutError::Json(error.to_string()))?;
        if header.tensors.len() > TENSORS_MAX {
            return Err(LayoutError::TooManyTensors { count: header.tensors.len() });
        }
        let mut tensors = header
            .tensors
            .into_iter()
            .map(|(name, info)| info.view(name, data_start))
            .collect::<Result<Vec<_>, _>>()?;
        tensors.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
        check_cover(&tensors, data_start, file_len)?;
        Ok(Self { data_start, file_len, tensors })
    }

    /// Bytes of length field and JSON together, from the first 8 bytes of the file.
    pub fn header_len(head: &[u8], file_len: usize) -> Result<usize, LayoutError> {
        let Some(first) = head.first_chunk::<8>() else {
            return Err(LayoutError::TooShort { len: head.len() });
        };
        let len = u64::from_le_bytes(*first);
        if len > SAFETENSORS_HEADER_MAX as u64 {
            return Err(LayoutError::HeaderTooLong { len });
        }
        let len = len as usize;
        if 8 + len > file_len {
            return Err(LayoutError::HeaderCutOff { len });
        }
        Ok(8 + len)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&TensorView> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// Tensors sorted by offset must cover `data_start..file_len` exactly once.
fn check_cover(tensors: &[TensorView], data_start: usize, file_len: usize) -> Result<(), LayoutError> {
    let mut expected = data_start;
    for tensor in tensors {
        if tensor.begin != expected {
            return Err(LayoutError::Gap {
                name: tensor.name.clone(),
                begin: tensor.begin - data_start,
                expected: expected - data_start,
            });
        }
        expected = tensor.end;
    }
    if expected == file_len { Ok(()) } else { Err(LayoutError::Length { tensors: expected, file: file_len }) }
}

/// The JSON object, in which `serde_json` alone would let the last of two equal names win.
struct Header {
    tensors: Vec<(String, Info)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Info {
    fn view(self, name: String, data_start: usize) -> Result<TensorView, LayoutError> {
        let wrong = |reason| LayoutError::Tensor { name: name.chars().take(80).collect(), reason };
        check_name(&name).map_err(|_| wrong("this is no tensor name"))?;
        let dtype = match self.dtype.as_str() {
            "F64" => DType::F64,
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            _ => return Err(wrong("the type is not one of F64, F32, F16, BF16")),
        };
        if self.shape.len() > DIMENSIONS_MAX {
            return Err(wrong("too many dimensions"));
        }
        let bytes = dtype.bytes(&self.shape).ok_or_else(|| wrong("the shape overflows"))?;
        let (begin, end) = self.data_offsets;
        if end.checked_sub(begin) != Some(bytes) {
            return Err(wrong("the offsets do not fit type and shape"));
        }
        let shift = |offset: usize| offset.checked_add(data_start).ok_or_else(|| wrong("the offsets overflow"));
        Ok(TensorView { begin: shift(begin)?, end: shift(end)?, dtype, shape: self.shape, name })
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(serde::de::Error::custom(format!("`{name}` occurs twice")));
            }
            if name == "__metadata__" {
                map.next_value::<std::collections::BTreeMap<String, String>>()?;
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        Ok(Header { tensors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str, data: usize) -> Vec<u8> {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn parse(json: &str, data: usize) -> Result<Layout, LayoutError> {
        let bytes = file(json, data);
        Layout::parse(&bytes, bytes.len())
    }

    #[test]
    fn two_tensors_cover_the_data() {
        let json = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let layout = parse(json, 12).expect("valid");
        let names: Vec<_> = layout.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(layout.tensors[1].begin - layout.data_start, 4);
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let cases = [
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
                "twice",
            ),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "gap"),
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8,
                "overlap",
            ),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5, "file at byte"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3, "file at byte"),
            (r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, 8, "not one of"),
            (r#"{"a":{"dtype":"F32","shape":[18446744073709551615,3],"data_offsets":[0,8]}}"#, 8, "overflows"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#, 8, "do not fit"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4, "unknown field"),
            (r#"{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4, "no tensor name"),
            ("[]", 0, "not valid"),
            (r#"{"a":"#, 0, "not valid"),
        ];
        for (json, data, expected) in cases {
            let error = parse(json, data).expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_read() {
        assert!(matches!(Layout::parse(&[0; 7], 7), Err(LayoutError::TooShort { len: 7 })));
        assert!(matches!(Layout::parse(&[255; 64], 64), Err(LayoutError::HeaderTooLong { .. })));
        let mut cut = file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4);
        cut.truncate(20);
        assert!(matches!(Layout::parse(&cut, 20), Err(LayoutError::HeaderCutOff { .. })));
    }
}
