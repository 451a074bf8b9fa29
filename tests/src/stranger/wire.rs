//! The section "Encoding": little-endian integers of fixed width, counts before lists, tags before variants.

use super::{Digest, Outcome, rule};

/// Bytes in the making.
#[derive(Clone, Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub fn u32(self, value: u32) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    /// A text too.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }

    pub fn list<T>(self, items: &[T], put: impl Fn(Self, &T) -> Self) -> Self {
        items.iter().fold(self.u64(items.len() as u64), put)
    }

    pub fn digests(self, digests: &[Digest]) -> Self {
        self.list(digests, |out, digest| out.raw(digest))
    }
}

/// Bytes being read; every length is compared with what is there before anything is allocated.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn raw(&mut self, len: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("the bytes end too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        Ok(self.raw(N)?.try_into()?)
    }

    pub fn u8(&mut self) -> Outcome<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Outcome<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Outcome<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn digest(&mut self) -> Outcome<Digest> {
        self.array()
    }

    pub fn signature(&mut self) -> Outcome<[u8; 64]> {
        self.array()
    }

    pub fn flag(&mut self) -> Outcome<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a flag is 0 or 1".into()),
        }
    }

    pub fn bytes(&mut self) -> Outcome<Vec<u8>> {
        let len = self.u64()?;
        Ok(self.raw(len.try_into()?)?.to_vec())
    }

    pub fn text(&mut self) -> Outcome<String> {
        Ok(String::from_utf8(self.bytes()?)?)
    }

    pub fn list<T>(&mut self, read: impl Fn(&mut Self) -> Outcome<T>) -> Outcome<Vec<T>> {
        let count = self.u64()?;
        // Everything has at least a byte.
        rule(count <= self.0.len() as u64, "a list is longer than its bytes")?;
        (0..count).map(|_| read(self)).collect()
    }

    pub fn digests(&mut self) -> Outcome<Vec<Digest>> {
        self.list(Self::digest)
    }

    pub fn end(&self) -> Outcome<()> {
        rule(self.0.is_empty(), "bytes follow the end")
    }
}
