//! A tensor on the host: its type, shape and bytes, borrowed from a mapped file or owned.

use std::sync::Arc;

use potluck_protocol::tensor::DType;

/// Bytes that several tensors may share (a mapped file) or that one owns.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// One tensor in row-major order; quantised ones keep the blocks of their format.
#[derive(Clone)]
pub struct HostTensor {
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

    pub fn bytes(&self) -> &[u8] {
        &(*self.source).as_ref()[self.range.clone()]
    }
}

impl std::fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostTensor({:?} {:?})", self.dtype, self.shape)
    }
}
