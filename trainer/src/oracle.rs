//! The readable reference: a Llama decoder on candle's autograd, every operation written out.
//!
//! Goals: to be obviously right, in f32 or f64, with gradients for every weight and for LoRA factors. The explicit
//! schedule is tested against it, and `tiny` is pretrained with it.
//! Non-goals: speed, quantised weights, generation. candle-nn's fused norm, rotary and softmax operations are not used:
//! they cut the gradient without a word.
//!
//! Shapes: `B` rows of `S` tokens, `H` hidden, `V` vocabulary. Formulas: Touvron et al. 2023 (arXiv 2302.13971) as
//! `transformers` computes them in `modeling_llama.py`; rotary positions pair dimension `i` with `i + head_dim / 2`.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor};
use potluck_protocol::base::Architecture;

/// A module's factors, `A: [r, in]` and `B: [out, r]`: its output gains `scale * (x A^T) B^T`.
#[derive(Clone, Debug)]
pub struct Lora {
    /// `[r, in]`
    pub a: Tensor,
    /// `[out, r]`
    pub b: Tensor,
    /// `lora_alpha / r`
    pub scale: f64,
}

/// A decoder over named tensors. Gradients flow to those that are `Var`s.
#[derive(Clone, Debug)]
pub struct Oracle {
    architecture: Architecture,
    /// By Hugging Face name, e.g. `model.layers.0.mlp.up_proj.weight`; all of one dtype.
    weights: BTreeMap<String, Tensor>,
    /// By module, e.g. `model.layers.0.mlp.up_proj`.
    loras: BTreeMap<String, Lora>,
    dtype: DType,
    device: Device,
}

impl Oracle {
    /// Takes the tensors that [`Architecture::tensors`] lists; a missing or misshapen one is an error.
    pub fn new(architecture: Architecture, weights: BTreeMap<String, Tensor>) -> Result<Self> {
        for (name, shape) in architecture.tensors() {
            let found =
                weights.get(&name).map(|tensor| tensor.dims().iter().map(|size| *size as u64).collect::<Vec<_>>());
            if found.as_ref() != Some(&shape) {
                candle_core::bail!("{name} should have shape {shape:?}, found {found:?}");
            }
        }
        let Some(first) = weights.values().next() else { candle_core::bail!("an architecture without tensors") };
        let (dtype, device) = (first.dtype(), first.device().clone());
        Ok(Self { architecture, weights, loras: BTreeMap::new(), dtype, device })
    }

    /// The same decoder with an adapter; it replaces the one it had.
    #[must_use]
    pub fn with_loras(mut self, loras: BTreeMap<String, Lora>) -> Self {
        self.loras = loras;
        self
    }

    /// `[B, S]` ids to `[B, S, V]` logits.
    pub fn logits(&self, ids: &Tensor) -> Result<Tensor> {
        self.head(&self.hidden(ids)?)
    }

    /// `[B, S]` ids to the `[B, S, H]` input of the output projection, after the last norm.
    pub fn hidden(&self, ids: &Tensor) -> Result<Tensor> {
        let mut x = self.embed(ids)?;
        for layer in 0..self.architecture.num_hidden_layers {
            x = self.block(layer, &x)?;
        }
        self.norm(&x, "model.norm.weight")
    }

    /// `[B, S]` ids to `[B, S, H]`.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (rows, length) = ids.dims2()?;
        self.weight("model.embed_tokens.weight")?.index_select(&ids.flatten_all()?, 0)?.reshape((rows, length, ()))
    }

    /// One whole block, `[B, S, H]` to `[B, S, H]`.
    pub fn block(&self, layer: u32, x: &Tensor) -> Result<Tensor> {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let normed = self.norm(x, &name("input_layernorm.weight"))?;
        let x = (x + self.attention(&name("self_attn"), &normed)?)?;
        let normed = self.norm(&x, &name("post_attention_layernorm.weight"))?;
        &x + self.mlp(&name("mlp"), &normed)?
    }

    /// `[.., H]` to `[.., V]`.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor> {
        let tied = self.architecture.tie_word_embeddings;
        matmul_rows(hidden, self.weight(if tied { "model.embed_tokens.weight" } else { "lm_head.weight" })?)
    }

    /// Mean cross-entropy in nats over the labelled positions of `[B, S]` ids. A label is `(position in the
    /// flattened ids, token that should follow)`.
    pub fn loss(&self, ids: &Tensor, labels: &[(u32, u32)]) -> Result<Tensor> {
        let (positions, tokens): (Vec<u32>, Vec<u32>) = labels.iter().copied().unzip();
        let hidden = self.hidden(ids)?.flatten_to(1)?;
        let labelled = hidden.index_select(&Tensor::new(positions, &self.device)?, 0)?;
        let tokens = Tensor::new(tokens, &self.device)?.unsqueeze(1)?;
        log_softmax(&self.head(&labelled)?)?.gather(&tokens, 1)?.mean_all()?.neg()
    }

    /// RMSNorm: `x / sqrt(mean(x^2) + eps) * weight`.
    fn norm(&self, x: &Tensor, weight: &str) -> Result<Tensor> {
        let epsilon = f64::from(self.architecture.rms_norm_eps.get());
        let mean_square = (x.sqr()?.sum_keepdim(D::Minus1)? / x.dim(D::Minus1)? as f64)?;
        x.broadcast_div(&(mean_square + epsilon)?.sqrt()?)?.broadcast_mul(self.weight(weight)?)
    }

    /// Causal attention with rotary positions; query heads share key heads in equal groups.
    fn attention(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (rows, length, _) = x.dims3()?;
        let sizes = &self.architecture;
        let (heads, shared, width) =
            (sizes.num_attention_heads as usize, sizes.num_key_value_heads as usize, sizes.head_dim as usize);
        let split = |module: &str, heads: usize| -> Result<Tensor> {
            self.linear(&format!("{name}.{module}"), x)?.reshape((rows, length, heads, width))?.transpose(1, 2)
        };
        let angles = self.angles(length)?;
        let q = rotate(&split("q_proj", heads)?, &angles)?;
        let k = repeat_heads(&rotate(&split("k_proj", shared)?, &angles)?, heads / shared)?;
        let v = repeat_heads(&split("v_proj", shared)?, heads / shared)?;
        let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? / (width as f64).sqrt())?;
        let shares = log_softmax(&scores.broadcast_add(&self.causal_mask(length)?)?)?.exp()?;
        let mixed = shares.matmul(&v.contiguous()?)?.transpose(1, 2)?.reshape((rows, length, heads * width))?;
        self.linear(&format!("{name}.o_proj"), &mixed)
    }

    /// SwiGLU: `down(silu(gate(x)) * up(x))`.
    fn mlp(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let gate = self.linear(&format!("{name}.gate_proj"), x)?.silu()?;
        let up = self.linear(&format!("{name}.up_proj"), x)?;
        self.linear(&format!("{name}.down_proj"), &(gate * up)?)
    }

    fn linear(&self, module: &str, x: &Tensor) -> Result<Tensor> {
        let y = matmul_rows(x, self.weight(&format!("{module}.weight"))?)?;
        match self.loras.get(module) {
            Some(Lora { a, b, scale }) => y + (matmul_rows(&matmul_rows(x, a)?, b)? * *scale)?,
            None => Ok(y),
        }
    }

    /// Cosines and sines of the rotary angles, `[S, head_dim / 2]` each.
    fn angles(&self, length: usize) -> Result<(Tensor, Tensor)> {
        let width = self.architecture.head_dim;
        let theta = f64::from(self.architecture.rope_theta.get());
        let angle = |position: usize, i: u32| position as f64 * theta.powf(-f64::from(2 * i) / f64::from(width));
        let angles: Vec<f64> = (0..length).flat_map(|at| (0..width / 2).map(move |i| angle(at, i))).collect();
        let angles = Tensor::from_vec(angles, (length, width as usize / 2), &self.device)?;
        Ok((angles.cos()?.to_dtype(self.dtype)?, angles.sin()?.to_dtype(self.dtype)?))
    }

    /// `[S, S]`: zero where a position may look, minus infinity ahead of it.
    fn causal_mask(&self, length: usize) -> Result<Tensor> {
        let ahead = |at: usize| (0..length).map(move |other| if other > at { f32::NEG_INFINITY } else { 0.0 });
        let mask: Vec<f32> = (0..length).flat_map(ahead).collect();
        Tensor::from_vec(mask, (length, length), &self.device)?.to_dtype(self.dtype)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        match self.weights.get(name) {
            Some(tensor) => Ok(tensor),
            None => candle_core::bail!("no tensor {name}"),
        }
    }
}

/// `x W^T` over the last dimension: `[.., in]` and `[out, in]` to `[.., out]`.
fn matmul_rows(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let inner = shape.pop().unwrap_or(1);
    shape.push(weight.dim(0)?);
    x.reshape(((), inner))?.matmul(&weight.t()?)?.reshape(shape)
}

/// Rotary positions on `[B, heads, S, head_dim]`.
fn rotate(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (b.broadcast_mul(cos)? + a.broadcast_mul(sin)?)?;
    Tensor::cat(&[first, second], D::Minus1)
}

/// `[B, heads, S, d]` to `[B, heads * times, S, d]`, each head `times` times in a row.
fn repeat_heads(x: &Tensor, times: usize) -> Result<Tensor> {
    if times == 1 {
        return Ok(x.clone());
    }
    let (rows, heads, length, width) = x.dims4()?;
    x.unsqueeze(2)?.expand((rows, heads, times, length, width))?.reshape((rows, heads * times, length, width))
}

/// Over the last dimension; the largest value is taken off first and carries no gradient, as it cancels.
fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

#[cfg(test)]
mod tests;
