//! One decoder block: forward, what it saves, and backward. No tape: the schedule is written out.
//!
//! ```text
//! n1 = rms_norm(x)        q, k, v = n1 Wq^T, n1 Wk^T, n1 Wv^T (+ LoRA)     rope(q), rope(k)
//! out = attention(q, k, v)                     mid = x + out Wo^T
//! n2 = rms_norm(mid)      gate, up = n2 Wg^T, n2 Wu^T      y = mid + (silu(gate) * up) Wd^T
//! ```
//! Saved for the backward pass: x, q, k, v, out, the log-sum-exp, mid, gate, up and what each group of linear layers
//! keeps of its LoRA pairs. The norms and the product `silu(gate) * up` are cheap and made again, and [`Recompute`]
//! says what else is. The backward pass frees each of them after its last use.

use super::cache::LayerCache;
use super::rope::Angles;
use crate::backend::Linear as Applied;
use crate::backend::{AttentionSaved, AttentionShape, Backend, BackendError, LoraGrad, Result};
use crate::lora::attached::{LINEAR_COUNT, Pairs};
use crate::names::named;

/// The linear layers, in the order of `protocol::base::LINEARS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linear {
    /// `self_attn.q_proj`
    Query,
    /// `self_attn.k_proj`
    Key,
    /// `self_attn.v_proj`
    Value,
    /// `self_attn.o_proj`
    Output,
    /// `mlp.gate_proj`
    Gate,
    /// `mlp.up_proj`
    Up,
    /// `mlp.down_proj`
    Down,
}

/// Linear layers that read the same rows.
const QKV: [Linear; 3] = [Linear::Query, Linear::Key, Linear::Value];
const GATE_UP: [Linear; 2] = [Linear::Gate, Linear::Up];

/// What the backward pass computes again rather than finding it kept. The gradients' bits do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// Nothing: the fastest.
    #[default]
    None,
    /// `gate` and `up`, about half of what is kept: their two linear layers run twice.
    Selective,
    /// All but each block's input: the least memory. Every linear layer but the last of a block runs twice.
    Full,
}

named!(Recompute { None = "none", Selective = "selective", Full = "full" });

/// Frozen weights of one block.
pub struct Layer<B: Backend> {
    /// Of the RMS norm before attention, `[1, hidden]`.
    pub input_norm: B::Buf,
    /// Of the RMS norm before the MLP, `[1, hidden]`.
    pub post_attention_norm: B::Buf,
    /// By [`Linear`], each `[out, in]`.
    pub linears: [B::Weight; LINEAR_COUNT],
}

/// Everything that a block's schedule reads and never changes.
pub struct Block<'a, B: Backend> {
    /// What computes.
    pub backend: &'a B,
    /// The block's frozen weights.
    pub layer: &'a Layer<B>,
    /// The adapters that act on it.
    pub pairs: &'a Pairs<B::Buf>,
    /// How the rows of attention relate.
    pub shape: &'a AttentionShape,
    /// Cosines and sines of each row's position.
    pub angles: &'a Angles<B::Buf>,
    /// Added to the mean square in both norms.
    pub eps: f64,
}

/// What the forward pass leaves for the backward pass; `None` is computed again.
pub struct Saved<Buf> {
    x: Buf,
    attended: Option<Attended<Buf>>,
    gated: Option<Gated<Buf>>,
    /// Of `Down`'s pairs.
    h: Vec<Buf>,
}

/// The first half of a block.
struct Attended<Buf> {
    heads: Heads<Buf>,
    mid: Buf,
}

struct Heads<Buf> {
    q: Buf,
    k: Buf,
    v: Buf,
    out: Buf,
    lse: Buf,
    /// Of the pairs of [`QKV`].
    h: Vec<Buf>,
    /// Of `Output`'s pairs.
    h_output: Vec<Buf>,
}

struct Gated<Buf> {
    gate: Buf,
    up: Buf,
    /// Of the pairs of [`GATE_UP`].
    h: Vec<Buf>,
}

impl<Buf> Saved<Buf> {
    /// Lets go of what is to be computed again.
    pub fn without(mut self, recompute: Recompute) -> Self {
        if recompute != Recompute::None {
            self.gated = None;
        }
        if recompute == Recompute::Full {
            self.attended = None;
        }
        self
    }
}

/// Outputs of a group of linear layers, and what the backward pass needs of their pairs.
type Outputs<B, const N: usize> = ([<B as Backend>::Buf; N], Vec<<B as Backend>::Buf>);

/// Takes the gradients of a pair: the linear layer, the pair's index there, the gradients.
pub type Sink<'a, Buf> = dyn FnMut(Linear, usize, LoraGrad<Buf>) -> Result<()> + 'a;

impl<B: Backend> Block<'_, B> {
    /// With a cache, keys and values are appended to it and read from it.
    pub fn forward(&self, x: B::Buf, cache: Option<&mut LayerCache<B>>) -> Result<(B::Buf, Saved<B::Buf>)> {
        let attended = self.attend(&x, cache)?;
        let gated = self.gate(&attended.mid)?;
        let product = self.backend.swiglu(&gated.gate, &gated.up)?;
        let ([y], h) = self.project([Linear::Down], &product, Some(&attended.mid))?;
        Ok((y, Saved { x, attended: Some(attended), gated: Some(gated), h }))
    }

    fn attend(&self, x: &B::Buf, cache: Option<&mut LayerCache<B>>) -> Result<Attended<B::Buf>> {
        let backend = self.backend;
        let normed = backend.rms_norm(x, &self.layer.input_norm, self.eps)?;
        let ([mut q, mut k, v], h) = self.project(QKV, &normed, None)?;
        drop(normed);
        backend.rope(&mut q, &self.angles.cos, &self.angles.sin, false)?;
        backend.rope(&mut k, &self.angles.cos, &self.angles.sin, false)?;
        let (out, lse) = match cache {
            None => backend.attention(&q, &k, &v, self.shape)?,
            Some(cache) => {
                cache.append(backend, &k, &v, self.shape)?;
                backend.attention(&q, &cache.keys, &cache.values, self.shape)?
            }
        };
        let ([mid], h_output) = self.project([Linear::Output], &out, Some(x))?;
        Ok(Attended { heads: Heads { q, k, v, out, lse, h, h_output }, mid })
    }

    fn gate(&self, mid: &B::Buf) -> Result<Gated<B::Buf>> {
        let normed = self.backend.rms_norm(mid, &self.layer.post_attention_norm, self.eps)?;
        let ([gate, up], h) = self.project(GATE_UP, &normed, None)?;
        Ok(Gated { gate, up, h })
    }

    /// Gradients of every pair go to `sink`; returns the gradient in the block's input if it is wanted.
    pub fn backward(
        &self,
        dy: B::Buf,
        saved: Saved<B::Buf>,
        wants_dx: bool,
        sink: &mut Sink<'_, B::Buf>,
    ) -> Result<Option<B::Buf>> {
        let Saved { x, attended, gated, h } = saved;
        let Attended { heads, mid } = attended.map_or_else(|| self.attend(&x, None), Ok)?;
        let gated = gated.map_or_else(|| self.gate(&mid), Ok)?;
        let d_mid = self.backward_mlp(dy, mid, gated, h, sink)?;
        self.backward_attention(d_mid, x, heads, wants_dx, sink)
    }

    fn backward_mlp(
        &self,
        dy: B::Buf,
        mid: B::Buf,
        gated: Gated<B::Buf>,
        h_down: Vec<B::Buf>,
        sink: &mut Sink<'_, B::Buf>,
    ) -> Result<B::Buf> {
        let (backend, norm) = (self.backend, &self.layer.post_attention_norm);
        let Gated { gate, up, h } = gated;
        let product = backend.swiglu(&gate, &up)?;
        let d_product = wanted(self.project_grad([Linear::Down], [&dy], &product, &h_down, true, sink)?)?;
        drop((product, h_down));
        let [d_gate, d_up] = backend.swiglu_grad(&d_product, gate, up)?;
        drop(d_product);
        let normed = backend.rms_norm(&mid, norm, self.eps)?;
        let d_normed = wanted(self.project_grad(GATE_UP, [&d_gate, &d_up], &normed, &h, true, sink)?)?;
        drop((normed, h, d_gate, d_up));
        backend.rms_norm_grad(&d_normed, &mid, norm, self.eps, Some(dy))
    }

    fn backward_attention(
        &self,
        d_mid: B::Buf,
        x: B::Buf,
        heads: Heads<B::Buf>,
        wants_dx: bool,
        sink: &mut Sink<'_, B::Buf>,
    ) -> Result<Option<B::Buf>> {
        let (backend, norm) = (self.backend, &self.layer.input_norm);
        let Heads { q, k, v, out, lse, h, h_output } = heads;
        let reaches = wants_dx || QKV.iter().any(|&linear| !self.pairs[linear as usize].is_empty());
        let d_out = self.project_grad([Linear::Output], [&d_mid], &out, &h_output, reaches, sink)?;
        let Some(d_out) = d_out else { return Ok(None) };
        let saved = AttentionSaved { q: &q, k: &k, v: &v, out: &out, lse: &lse };
        let [mut dq, mut dk, dv] = backend.attention_grad(&d_out, &saved, self.shape)?;
        drop((d_out, q, k, v, out, lse, h_output));
        backend.rope(&mut dq, &self.angles.cos, &self.angles.sin, true)?;
        backend.rope(&mut dk, &self.angles.cos, &self.angles.sin, true)?;
        let normed = backend.rms_norm(&x, norm, self.eps)?;
        let d_normed = self.project_grad(QKV, [&dq, &dk, &dv], &normed, &h, wants_dx, sink)?;
        drop((normed, h, dq, dk, dv));
        d_normed.map(|d_normed| backend.rms_norm_grad(&d_normed, &x, norm, self.eps, Some(d_mid))).transpose()
    }

    fn applied<const N: usize>(&self, group: [Linear; N]) -> [Applied<'_, B>; N] {
        group.map(|linear| {
            let index = linear as usize;
            Applied { weight: &self.layer.linears[index], pairs: &self.pairs[index] }
        })
    }

    /// Each layer's output, and what the backward pass needs of the pairs.
    fn project<const N: usize>(&self, group: [Linear; N], x: &B::Buf, onto: Option<&B::Buf>) -> Result<Outputs<B, N>> {
        let projected = self.backend.project(x, &self.applied(group), onto)?;
        let outputs = |ys: Vec<B::Buf>| BackendError::Size { what: "outputs", got: ys.len(), expected: N };
        Ok((projected.ys.try_into().map_err(outputs)?, projected.h))
    }

    fn project_grad<const N: usize>(
        &self,
        group: [Linear; N],
        dys: [&B::Buf; N],
        x: &B::Buf,
        h: &[B::Buf],
        wants_dx: bool,
        sink: &mut Sink<'_, B::Buf>,
    ) -> Result<Option<B::Buf>> {
        let grad = self.backend.project_grad(&dys, x, h, &self.applied(group), wants_dx)?;
        for (linear, pairs) in group.into_iter().zip(grad.pairs) {
            for (slot, grad) in pairs.into_iter().enumerate() {
                sink(linear, slot, grad)?;
            }
        }
        Ok(grad.dx)
    }
}

/// A gradient that was asked for.
fn wanted<Buf>(dx: Option<Buf>) -> Result<Buf> {
    dx.ok_or(BackendError::Size { what: "gradients in a linear layer's input", got: 0, expected: 1 })
}
