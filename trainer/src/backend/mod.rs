//! The arithmetic that the decoder's schedule is written over: under twenty fused operations on planned buffers.
//!
//! Goals: one schedule for every device and for both float types; no tape; no gradient of a frozen matrix, ever.
//! Non-goals: a general tensor library, broadcasting, more than two dimensions.
//!
//! Every buffer is a row-major matrix. "Rows" are token positions: a batch is its sequences one behind another, without
//! padding. Operations give the same bits on any number of threads.

pub mod candle;
pub mod cpu;
pub mod real;
mod rows;

use std::sync::Arc;

use potluck_protocol::tensor::DType;
use real::Real;

use crate::tensor::HostTensor;

/// A failed operation: wrong shapes or types, or the device's own error.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum BackendError {
    #[error("the tensor library failed: {0}")]
    Candle(#[from] candle_core::Error),
    #[error("{what}: {got} values where {expected} belong")]
    Size { what: &'static str, got: usize, expected: usize },
    #[error("{what} is stored as {dtype:?}; only matrices may be quantised")]
    Quantised { what: &'static str, dtype: DType },
    #[error("{what} is kept as bf16 where f32 belongs")]
    Storage { what: &'static str },
    #[error("a buffer was to change while another one shares its memory")]
    Shared,
    #[error(
        "{bytes} bytes of memory could not be had: {source}; train with --recompute full, or on fewer tokens at once"
    )]
    Memory { bytes: usize, source: std::io::Error },
    #[error("{what} {index} is beyond the last one, {last}")]
    Range { what: &'static str, index: usize, last: usize },
}

/// What an operation gives.
pub type Result<T, E = BackendError> = std::result::Result<T, E>;

/// How quantised weights lie in memory. Plain floats are always widened to the backend's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residency {
    /// As stored: least memory, and each operation widens its matrix. The widening is small beside a training batch,
    /// but not beside a single token.
    #[default]
    Quantised,
    /// Widened once: for generating long texts from small models. The same numbers either way.
    Widened,
}

/// How the rows of attention relate: sequences of queries, each against its own run of keys.
#[derive(Clone, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Divides `heads`; query head `h` reads key head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Elements of a head: columns of its part of `q`, `k` and `v`.
    pub head_dim: usize,
    /// Sequences, one behind another without padding: the queries of each span follow those of the one before, and
    /// together they are all the rows of `q`.
    pub spans: Vec<Span>,
}

/// One sequence of queries. Its query `i < length` (row `query + i`) sees its keys `0 ..= start + i` (rows from `key`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Row of the first query.
    pub query: usize,
    /// Row of the first key. In training, where keys and queries are the same rows, equal to `query`.
    pub key: usize,
    /// Keys before the first query's own.
    pub start: usize,
    /// Queries.
    pub length: usize,
}

impl AttentionShape {
    /// Query heads for each key head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Rows of queries.
    pub fn rows(&self) -> usize {
        self.spans.iter().map(|span| span.length).sum()
    }
}

/// A labelled row of the hidden states: the token that it must predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Row of the hidden states.
    pub row: usize,
    /// The token to predict.
    pub id: u32,
}

/// Losses of labelled rows, and the gradient if it was asked for.
pub struct HeadLoss<Buf> {
    /// `-ln p(target)`, one for each target, in order.
    pub losses: Vec<f64>,
    /// Gradient of `scale * sum(losses)` in the hidden states; zero in rows without a label.
    pub d_hidden: Option<Buf>,
}

/// A pair of LoRA factors on the device, with the factor that the update is multiplied by.
#[derive(Clone)]
pub struct LoraPair<Buf> {
    /// `[r, in]`
    pub a: Buf,
    /// `[out, r]`
    pub b: Buf,
    /// `lora_alpha / r` times the adapter's weight.
    pub scale: f64,
    /// Applied to the pair's input in training.
    pub dropout: Option<Dropout>,
    /// Which factors want a gradient.
    pub trains: Trains,
}

/// Zeroes elements with probability `p` and divides the others by `1 - p`. The element in column `c` of row `i` is
/// dropped if `(splitmix64(splitmix64(key + rows[i]) + c) >> 40) / 2^24 < p` (sums modulo 2^64): the same in every pass,
/// on every backend. A row is named by its sample and position, not by its place in the batch, so that neither packing
/// nor accumulation changes what is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// From 0 to below 1.
    pub p: f32,
    /// Another for each pair and each step.
    pub key: u64,
    /// A name for each row of the pair's input.
    pub rows: Arc<[u64]>,
}

/// Which factors of a pair are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trains {
    /// Whether A gets a gradient.
    pub a: bool,
    /// Whether B gets a gradient.
    pub b: bool,
}

impl Trains {
    /// An ordinary LoRA run.
    pub const BOTH: Self = Self { a: true, b: true };
}

/// Gradients of one application of a [`LoraPair`]; `None` for a factor that is not trained.
pub struct LoraGrad<Buf> {
    /// `[r, in]`
    pub a: Option<Buf>,
    /// `[out, r]`
    pub b: Option<Buf>,
}

/// A linear layer as it is applied: a frozen matrix and the pairs that act beside it.
pub struct Linear<'a, B: Backend + ?Sized> {
    /// `[out, in]`, never trained.
    pub weight: &'a B::Weight,
    /// Their updates are added to the layer's output.
    pub pairs: &'a [LoraPair<B::Buf>],
}

/// What linear layers that read the same rows give.
pub struct Projected<Buf> {
    /// One for each layer, `[rows, out]`.
    pub ys: Vec<Buf>,
    /// What the backward pass needs of the pairs' `x A^T`; how it lies is the backend's own matter.
    pub h: Vec<Buf>,
}

/// Gradients of linear layers that read the same rows.
pub struct ProjectedGrad<Buf> {
    /// `[rows, in]`; `None` if it was not asked for.
    pub dx: Option<Buf>,
    /// One for each pair of each layer, in order.
    pub pairs: Vec<Vec<LoraGrad<Buf>>>,
}

/// One update of AdamW (Loshchilov and Hutter 2019), as `torch.optim.AdamW` computes it.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Learning rate of this update.
    pub lr: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the second moment, against division by zero.
    pub eps: f64,
    /// Share of each parameter, times the rate, that is taken off before the update.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
    /// The gradients are multiplied by this first (clipping).
    pub grad_scale: f64,
}

/// A device. `Buf` is a matrix of `Real`s on it; `Weight` is a frozen matrix, which may stay quantised.
pub trait Backend: Send + Sync {
    /// What is computed in.
    type Real: Real;
    /// A matrix on the device, row-major; its clone may share the memory.
    type Buf: Clone + Send + Sync;
    /// A frozen matrix `[out, in]` in any of the stored types.
    type Weight: Send + Sync;

    /// A frozen matrix `[out, in]`.
    fn upload(&self, tensor: &HostTensor, residency: Residency) -> Result<Self::Weight>;
    /// A matrix from values in row-major order.
    fn buffer(&self, values: Vec<Self::Real>, rows: usize, cols: usize) -> Result<Self::Buf>;
    /// A frozen vector (the weight of a norm) as a matrix of one row.
    fn vector(&self, tensor: &HostTensor) -> Result<Self::Buf>;
    /// The values of a matrix on the host, row-major.
    fn read(&self, x: &Self::Buf) -> Result<Vec<Self::Real>>;

    /// `y_j = x W_j^T + sum of scale (x A^T) B^T` over the pairs of each layer `j`. All layers read the same `x`
    /// (`[rows, in]`). `onto` is added to the only layer's output: the residual stream.
    fn project(
        &self,
        x: &Self::Buf,
        layers: &[Linear<'_, Self>],
        onto: Option<&Self::Buf>,
    ) -> Result<Projected<Self::Buf>>;
    /// Gradients of [`Self::project`], with `dys` those in its outputs. The gradient in `x` is the sum over all layers
    /// and pairs, and is left out where nothing needs it. None of a frozen matrix, ever.
    fn project_grad(
        &self,
        dys: &[&Self::Buf],
        x: &Self::Buf,
        h: &[Self::Buf],
        layers: &[Linear<'_, Self>],
        wants_dx: bool,
    ) -> Result<ProjectedGrad<Self::Buf>>;

    /// `x / sqrt(mean(x^2) + eps) * w` in each row.
    fn rms_norm(&self, x: &Self::Buf, w: &Self::Buf, eps: f64) -> Result<Self::Buf>;
    /// The gradient of [`Self::rms_norm`] in `x`, added to `onto` where that is given, in whose place it may be written.
    fn rms_norm_grad(
        &self,
        dy: &Self::Buf,
        x: &Self::Buf,
        w: &Self::Buf,
        eps: f64,
        onto: Option<Self::Buf>,
    ) -> Result<Self::Buf>;

    /// Rotates each head's halves (Hugging Face's order: `x[i]` with `x[i + head_dim / 2]`) by the row's angles, in
    /// place. `cos` and `sin` are `[rows, head_dim / 2]`; `inverse` rotates back, which is also the gradient.
    fn rope(&self, x: &mut Self::Buf, cos: &Self::Buf, sin: &Self::Buf, inverse: bool) -> Result<()>;

    /// Causal grouped-query attention, scaled by `1 / sqrt(head_dim)`. Returns the output `[rows, heads * head_dim]`
    /// and the log-sum-exp of each row's scaled scores, `[rows, heads]`.
    fn attention(
        &self,
        q: &Self::Buf,
        k: &Self::Buf,
        v: &Self::Buf,
        shape: &AttentionShape,
    ) -> Result<(Self::Buf, Self::Buf)>;
    /// Gradients in `q`, `k` and `v` of [`Self::attention`], where keys and queries are the same rows.
    fn attention_grad(
        &self,
        dout: &Self::Buf,
        saved: &AttentionSaved<'_, Self::Buf>,
        shape: &AttentionShape,
    ) -> Result<[Self::Buf; 3]>;
    /// Writes row `i` of `src` over row `rows[i]` of `dst`; `None` leaves it out.
    fn write_rows(&self, dst: &mut Self::Buf, src: &Self::Buf, rows: &[Option<usize>]) -> Result<()>;

    /// `silu(gate) * up`.
    fn swiglu(&self, gate: &Self::Buf, up: &Self::Buf) -> Result<Self::Buf>;
    /// Gradients of [`Self::swiglu`] in `gate` and `up`, in whose place they may be written.
    fn swiglu_grad(&self, dy: &Self::Buf, gate: Self::Buf, up: Self::Buf) -> Result<[Self::Buf; 2]>;

    /// The rows of a frozen matrix that these ids name.
    fn embed(&self, w: &Self::Weight, ids: &[u32]) -> Result<Self::Buf>;
    /// Some rows of a matrix.
    fn gather(&self, x: &Self::Buf, rows: &[usize]) -> Result<Self::Buf>;

    /// Cross-entropy of `hidden W^T` on labelled rows only, in chunks, so that the logits never exist whole. With
    /// `scale`, also the gradient of `scale * sum(losses)`.
    fn head_loss(
        &self,
        hidden: &Self::Buf,
        w: &Self::Weight,
        targets: &[Target],
        scale: Option<f64>,
    ) -> Result<HeadLoss<Self::Buf>>;
    /// The index of the greatest logit of each row, the lowest among equals.
    fn head_argmax(&self, hidden: &Self::Buf, w: &Self::Weight) -> Result<Vec<u32>>;

    /// A matrix within a flat buffer. It may share its memory: views are let go before the flat buffer changes.
    fn view(&self, flat: &Self::Buf, offset: usize, rows: usize, cols: usize) -> Result<Self::Buf>;
    /// Adds a matrix to the values of a flat buffer from `offset` on.
    fn accumulate(&self, flat: &mut Self::Buf, offset: usize, part: &Self::Buf) -> Result<()>;
    /// Sets every element to zero.
    fn fill_zero(&self, x: &mut Self::Buf) -> Result<()>;
    /// The sum of squares, in `f64` and in a fixed order.
    fn sum_squares(&self, x: &Self::Buf) -> Result<f64>;
    /// One fused update of flat parameters and their two moments.
    fn adamw(&self, state: AdamWState<'_, Self::Buf>, grads: &Self::Buf, step: &AdamWStep) -> Result<()>;
}

/// What attention's forward pass leaves for its backward pass.
pub struct AttentionSaved<'a, Buf> {
    /// Queries behind the rotation, `[rows, heads * head_dim]`.
    pub q: &'a Buf,
    /// Keys behind the rotation, `[rows, kv_heads * head_dim]`.
    pub k: &'a Buf,
    /// Values, `[rows, kv_heads * head_dim]`.
    pub v: &'a Buf,
    /// The output, `[rows, heads * head_dim]`.
    pub out: &'a Buf,
    /// The log-sum-exp of each row's scaled scores, `[rows, heads]`.
    pub lse: &'a Buf,
}

/// Flat parameters and the running means of their gradients and squared gradients.
pub struct AdamWState<'a, Buf> {
    /// What is trained.
    pub params: &'a mut Buf,
    /// Running mean of the gradients.
    pub first: &'a mut Buf,
    /// Running mean of their squares.
    pub second: &'a mut Buf,
}
