//! A position in the bytes of a file that never goes past their end.

use super::GgufError;

/// Little-endian reads, each of which names what was read if the file ends before.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], GgufError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(GgufError::CutOff { what })?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(GgufError::CutOff { what })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A `u64` that counts things, at most `max` of them.
    pub fn count(&mut self, what: &'static str, max: usize) -> Result<usize, GgufError> {
        let found = self.u64(what)?;
        if found > max as u64 {
            return Err(GgufError::TooMany { what, found, max: max as u64 });
        }
        Ok(found as usize)
    }

    /// A string with its length before it, of at most `max` bytes.
    pub fn string(&mut self, what: &'static str, max: usize) -> Result<&'a str, GgufError> {
        let len = self.count(what, max)?;
        std::str::from_utf8(self.take(len, what)?).map_err(|_| GgufError::Utf8 { what })
    }
}
