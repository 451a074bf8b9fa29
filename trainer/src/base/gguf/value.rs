//! Metadata values. Arrays stay bytes of the file until they are asked for, so that a header costs no memory of note.

use super::cursor::Cursor;
use super::{GgufError, cut};

/// Bytes of one string value: the longest in use are chat templates.
const STRING_MAX: usize = 1 << 20;

/// Elements of one array: as many as a vocabulary may have, twice over for merges.
const ELEMENTS_MAX: usize = 1 << 25;

/// What an element of an array is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    U64,
    I64,
    F64,
}

/// A metadata value, integers and floats widened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Of 8 to 64 bits.
    Unsigned(u64),
    /// Of 8 to 64 bits.
    Signed(i64),
    /// Of 32 or 64 bits.
    Float(f64),
    /// One byte, 0 or 1.
    Bool(bool),
    /// UTF-8, checked.
    String(&'a str),
    /// Of any of the scalars, or of strings.
    Array(Array<'a>),
}

/// An array of scalars or strings, checked once and decoded on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    kind: Kind,
    /// Elements.
    pub len: usize,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// Reads the type and then the value, for the key (which error messages name).
    pub fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, GgufError> {
        let code = cursor.u32("a metadata type")?;
        if code != 9 {
            return Kind::from_code(code, key)?.read(cursor, key);
        }
        let kind = Kind::from_code(cursor.u32("an array's type")?, key)?;
        let len = cursor.count("elements of an array", ELEMENTS_MAX)?;
        if len.saturating_mul(kind.least_bytes()) > cursor.remaining() {
            return Err(GgufError::CutOff { what: "an array" });
        }
        let mut end = cursor.clone();
        for _ in 0..len {
            kind.read(&mut end, key)?;
        }
        let bytes = cursor.take(end.position() - cursor.position(), "an array")?;
        Ok(Self::Array(Array { kind, len, bytes }))
    }

    /// As an unsigned number that fits 32 bits.
    pub fn as_u32(&self) -> Option<u32> {
        match *self {
            Self::Unsigned(value) => value.try_into().ok(),
            Self::Signed(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// A float, or an integer of 32 bits.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            _ => self.as_u32().map(f64::from),
        }
    }

    /// `None` if it is no boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// `None` if it is no string.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// `None` if it is no array.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// A short picture for an error message.
    pub fn describe(&self) -> String {
        match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::String(value) => format!("\"{}\"", cut(value)),
            Self::Array(array) => format!("an array of {}", array.len),
        }
    }
}

impl<'a> Array<'a> {
    /// The elements. The bytes were read once before, so that reading them again does not fail.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, mut cursor) = (self.kind, Cursor::new(self.bytes));
        (0..self.len).map_while(move |_| kind.read(&mut cursor, "").ok())
    }

    /// The elements as strings; `None` if they are not.
    pub fn strings(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        (self.kind == Kind::String).then(|| self.iter().filter_map(|value| value.as_str()))
    }
}

impl Kind {
    fn from_code(code: u32, key: &str) -> Result<Self, GgufError> {
        Ok(match code {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return Err(GgufError::Value { key: cut(key), reason: "an unknown or nested type" }),
        })
    }

    /// The fewest bytes that a value takes in the file.
    const fn least_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::String | Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn read<'a>(self, cursor: &mut Cursor<'a>, key: &str) -> Result<Value<'a>, GgufError> {
        const WHAT: &str = "a metadata value";
        Ok(match self {
            Self::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(WHAT)?).into()),
            Self::I8 => Value::Signed(i8::from_le_bytes(cursor.array(WHAT)?).into()),
            Self::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(WHAT)?).into()),
            Self::I16 => Value::Signed(i16::from_le_bytes(cursor.array(WHAT)?).into()),
            Self::U32 => Value::Unsigned(cursor.u32(WHAT)?.into()),
            Self::I32 => Value::Signed(i32::from_le_bytes(cursor.array(WHAT)?).into()),
            Self::U64 => Value::Unsigned(cursor.u64(WHAT)?),
            Self::I64 => Value::Signed(i64::from_le_bytes(cursor.array(WHAT)?)),
            Self::F32 => Value::Float(f32::from_le_bytes(cursor.array(WHAT)?).into()),
            Self::F64 => Value::Float(f64::from_le_bytes(cursor.array(WHAT)?)),
            Self::String => Value::String(cursor.string(WHAT, STRING_MAX)?),
            Self::Bool => match cursor.array::<1>(WHAT)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(GgufError::Value { key: cut(key), reason: "a truth value is neither 0 nor 1" }),
            },
        })
    }
}
