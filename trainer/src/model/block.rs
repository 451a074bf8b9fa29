//! One decoder block: forward, what it saves, and backward. No tape: the schedule is written out.
//!
//! ```text
//! n1 = rms_norm(x)        q, k, v = n1 Wq^T, n1 Wk^T, n1 Wv^T (+ LoRA)     rope(q), rope(k)
//! out = attention(q, k, v)                     mid = x + out Wo^T
//! n2 = rms_norm(mid)      gate, up = n2 Wg^T, n2 Wu^T      y = mid + (silu(gate) * up) Wd^T
//! ```
//! Saved for the backward pass: x, q, k, v, out, the log-sum-exp, mid, gate, up and LoRA's `h`; the norms and the
//! product `silu(gate) * up` are cheap and made again.

use super::cache::LayerCache;
use super::rope::Angles;
use crate::backend::{AttentionSaved, AttentionShape, Backend, LoraGrad, LoraPair, Result};

/// The linear layers, in the order of `protocol::base::LINEARS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linear {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

pub const LINEAR_COUNT: usize = 7;

/// The LoRA pairs that act on each linear layer of a block.
pub type Pairs<Buf> = [Vec<LoraPair<Buf>>; LINEAR_COUNT];

/// Frozen weights of one block.
pub struct Layer<B: Backend> {
    pub input_norm: B::Buf,
    pub post_attention_norm: B::Buf,
    pub linears: [B::Weight; LINEAR_COUNT],
}

/// Everything that a block's schedule reads and never changes.
pub struct Block<'a, B: Backend> {
    pub backend: &'a B,
    pub layer: &'a Layer<B>,
    pub pairs: &'a Pairs<B::Buf>,
    pub shape: &'a AttentionShape,
    pub angles: &'a Angles<B::Buf>,
    pub eps: f64,
}

/// What the forward pass leaves for the backward pass.
pub struct Saved<Buf> {
    x: Buf,
    q: Buf,
    k: Buf,
    v: Buf,
    out: Buf,
    lse: Buf,
    mid: Buf,
    gate: Buf,
    up: Buf,
    /// `scale x A^T` of each pair of each linear layer.
    h: [Vec<Buf>; LINEAR_COUNT],
}

/// Takes the gradients of a pair: the linear layer, the pair's index there, the gradients.
pub type Sink<'a, Buf> = dyn FnMut(Linear, usize, LoraGrad<Buf>) -> Result<()> + 'a;

impl<B: Backend> Block<'_, B> {
    /// With a cache, keys and values are appended to it and read from it.
    pub fn forward(&self, x: B::Buf, cache: Option<&mut LayerCache<B>>) -> Result<(B::Buf, Saved<B::Buf>)> {
        let backend = self.backend;
        let mut h = std::array::from_fn(|_| Vec::new());
        let normed = backend.rms_norm(&x, &self.layer.input_norm, self.eps)?;
        let mut q = self.project(Linear::Query, &normed, &mut h)?;
        let mut k = self.project(Linear::Key, &normed, &mut h)?;
        let v = self.project(Linear::Value, &normed, &mut h)?;
        backend.rope(&mut q, &self.angles.cos, &self.angles.sin, false)?;
        backend.rope(&mut k, &self.angles.cos, &self.angles.sin, false)?;
        let (out, lse) = match cache {
            None => backend.attention(&q, &k, &v, self.shape)?,
            Some(cache) => {
                cache.append(backend, &k, &v, self.shape)?;
                backend.attention(&q, &cache.keys, &cache.values, self.shape)?
            }
        };
        let mut mid = self.project(Linear::Output, &out, &mut h)?;
        backend.add(&mut mid, &x)?;
        let normed = backend.rms_norm(&mid, &self.layer.post_attention_norm, self.eps)?;
        let gate = self.project(Linear::Gate, &normed, &mut h)?;
        let up = self.project(Linear::Up, &normed, &mut h)?;
        let mut y = self.project(Linear::Down, &backend.swiglu(&gate, &up)?, &mut h)?;
        backend.add(&mut y, &mid)?;
        Ok((y, Saved { x, q, k, v, out, lse, mid, gate, up, h }))
    }

    /// Gradients of every pair go to `sink`; returns the gradient in the block's input.
    pub fn backward(&self, dy: B::Buf, saved: Saved<B::Buf>, sink: &mut Sink<'_, B::Buf>) -> Result<B::Buf> {
        let d_mid = self.backward_mlp(dy, &saved, sink)?;
        self.backward_attention(d_mid, &saved, sink)
    }

    fn backward_mlp(&self, dy: B::Buf, saved: &Saved<B::Buf>, sink: &mut Sink<'_, B::Buf>) -> Result<B::Buf> {
        let (backend, norm) = (self.backend, &self.layer.post_attention_norm);
        let product = backend.swiglu(&saved.gate, &saved.up)?;
        let d_product = self.project_grad(Linear::Down, &dy, &product, saved, sink)?;
        let [d_gate, d_up] = backend.swiglu_grad(&d_product, &saved.gate, &saved.up)?;
        let normed = backend.rms_norm(&saved.mid, norm, self.eps)?;
        let mut d_normed = self.project_grad(Linear::Gate, &d_gate, &normed, saved, sink)?;
        backend.add(&mut d_normed, &self.project_grad(Linear::Up, &d_up, &normed, saved, sink)?)?;
        let mut d_mid = backend.rms_norm_grad(&d_normed, &saved.mid, norm, self.eps)?;
        backend.add(&mut d_mid, &dy)?;
        Ok(d_mid)
    }

    fn backward_attention(&self, d_mid: B::Buf, saved: &Saved<B::Buf>, sink: &mut Sink<'_, B::Buf>) -> Result<B::Buf> {
        let (backend, norm) = (self.backend, &self.layer.input_norm);
        let d_out = self.project_grad(Linear::Output, &d_mid, &saved.out, saved, sink)?;
        let Saved { q, k, v, out, lse, .. } = saved;
        let [mut dq, mut dk, dv] = backend.attention_grad(&d_out, &AttentionSaved { q, k, v, out, lse }, self.shape)?;
        backend.rope(&mut dq, &self.angles.cos, &self.angles.sin, true)?;
        backend.rope(&mut dk, &self.angles.cos, &self.angles.sin, true)?;
        let normed = backend.rms_norm(&saved.x, norm, self.eps)?;
        let mut d_normed = self.project_grad(Linear::Query, &dq, &normed, saved, sink)?;
        backend.add(&mut d_normed, &self.project_grad(Linear::Key, &dk, &normed, saved, sink)?)?;
        backend.add(&mut d_normed, &self.project_grad(Linear::Value, &dv, &normed, saved, sink)?)?;
        let mut dx = backend.rms_norm_grad(&d_normed, &saved.x, norm, self.eps)?;
        backend.add(&mut dx, &d_mid)?;
        Ok(dx)
    }

    fn project(&self, linear: Linear, x: &B::Buf, h: &mut [Vec<B::Buf>; LINEAR_COUNT]) -> Result<B::Buf> {
        let index = linear as usize;
        let mut y = self.backend.linear(x, &self.layer.linears[index])?;
        for pair in &self.pairs[index] {
            h[index].push(self.backend.lora(&mut y, x, pair)?);
        }
        Ok(y)
    }

    fn project_grad(
        &self,
        linear: Linear,
        dy: &B::Buf,
        x: &B::Buf,
        saved: &Saved<B::Buf>,
        sink: &mut Sink<'_, B::Buf>,
    ) -> Result<B::Buf> {
        let index = linear as usize;
        let mut dx = self.backend.linear_grad(dy, &self.layer.linears[index])?;
        for (slot, (pair, h)) in self.pairs[index].iter().zip(&saved.h[index]).enumerate() {
            sink(linear, slot, self.backend.lora_grad(&mut dx, dy, x, h, pair)?)?;
        }
        Ok(dx)
    }
}
