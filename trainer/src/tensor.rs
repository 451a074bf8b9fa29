//! A tensor on the host: its type, shape and bytes, borrowed from a mapped file or owned; and what its numbers are
//! ([`dequantise`]).

pub mod dequantise;

use std::io;
use std::sync::Arc;

use potluck_protocol::tensor::DType;

/// Where tensors' bytes lie.
pub trait Source: AsRef<[u8]> + Send + Sync {
    /// Copies the bytes from `at` on. A file is read past its map: mapped pages count as this process's memory once
    /// they are touched, and whoever goes through a whole base would end up holding it.
    fn read_at(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let bytes = at.checked_add(out.len()).and_then(|end| self.as_ref().get(at..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Source for Vec<u8> {}
impl Source for &'static [u8] {}

/// Bytes that several tensors may share (a mapped file) or that one owns.
pub type Bytes = Arc<dyn Source>;

/// One tensor in row-major order; quantised ones keep the blocks of their format.
#[derive(Clone)]
pub struct HostTensor {
    /// How its elements are stored.
    pub dtype: DType,
    /// Outermost first; `[out, in]` for a linear layer.
    pub shape: Vec<usize>,
    source: Bytes,
    range: std::ops::Range<usize>,
}

impl HostTensor {
    /// `None` unless `range` lies in `source` and has exactly the bytes of that type and shape.
    pub fn new(dtype: DType, shape: Vec<usize>, source: Bytes, range: std::ops::Range<usize>) -> Option<Self> {
        let fits = range.end <= (*source).as_ref().len() && dtype.bytes(&shape) == range.end.checked_sub(range.start);
        fits.then_some(Self { dtype, shape, source, range })
    }

    /// An owned tensor of 32-bit floats. `None` unless the shape has as many elements.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Option<Self> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let len = bytes.len();
        Self::new(DType::F32, shape, Arc::new(bytes), 0..len)
    }

    /// The bytes, row-major and little-endian, as their type stores them.
    pub fn bytes(&self) -> &[u8] {
        &(*self.source).as_ref()[self.range.clone()]
    }

    /// Copies the tensor's bytes from `at` on, see [`Source::read_at`].
    pub fn read_at(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let inside = at.checked_add(out.len()).is_some_and(|end| end <= self.range.len());
        if !inside {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read_at(self.range.start + at, out)
    }
}

impl std::fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostTensor({:?} {:?})", self.dtype, self.shape)
    }
}
