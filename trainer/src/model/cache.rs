//! Keys and values of the tokens so far, so that a new token costs one row.

use potluck_protocol::base::Architecture;

use crate::backend::real::Real;
use crate::backend::{AttentionShape, Backend, Result};

/// One layer's keys and values: `slots * capacity` rows each.
pub struct LayerCache<B: Backend> {
    /// Behind the rotation, `[slots * capacity, kv_heads * head_dim]`.
    pub keys: B::Buf,
    /// `[slots * capacity, kv_heads * head_dim]`
    pub values: B::Buf,
}

impl<B: Backend> LayerCache<B> {
    /// Writes the batch's new rows behind what each slot holds.
    pub fn append(&mut self, backend: &B, k: &B::Buf, v: &B::Buf, shape: &AttentionShape) -> Result<()> {
        let spans = shape.spans.iter();
        let rows: Vec<Option<usize>> = spans
            .flat_map(|span| {
                let first = span.key + span.start;
                (first..first + span.length).map(Some)
            })
            .collect();
        backend.write_rows(&mut self.keys, k, &rows)?;
        backend.write_rows(&mut self.values, v, &rows)
    }
}

/// Keys and values of several sequences ("slots") in every layer.
pub struct Cache<B: Backend> {
    pub(super) layers: Vec<LayerCache<B>>,
    /// Tokens that each slot holds.
    pub(super) filled: Vec<usize>,
    pub(super) capacity: usize,
}

impl<B: Backend> Cache<B> {
    /// Room for `capacity` tokens in each of `slots` sequences:
    /// `2 * layers * slots * capacity * kv_heads * head_dim` elements.
    pub fn new(backend: &B, architecture: &Architecture, slots: usize, capacity: usize) -> Result<Self> {
        let cols = (architecture.num_key_value_heads * architecture.head_dim) as usize;
        let rows = slots * capacity;
        let empty = || backend.buffer(vec![B::Real::ZERO; rows * cols], rows, cols);
        let layers = (0..architecture.num_hidden_layers).map(|_| Ok(LayerCache { keys: empty()?, values: empty()? }));
        Ok(Self { layers: layers.collect::<Result<_>>()?, filled: vec![0; slots], capacity })
    }

    /// Tokens that a slot can still take.
    pub fn room(&self, slot: usize) -> usize {
        self.capacity - self.filled[slot]
    }
}
