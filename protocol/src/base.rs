//! What a base is: its architecture, and the identity of its weights.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Malformed, Wire};
use crate::id::{BaseId, Digest};
use crate::limits::{DECODE_MAX, HEADS_MAX, HIDDEN_MAX, LAYERS_MAX, TENSORS_MAX, VOCABULARY_MAX};
use crate::tensor::TensorEntry;

/// A finite `f32` by its bits, so that hashed and signed bodies hold no floats. Minus zero is written as zero: the
/// bits of minus zero, of NaN and of the infinities are refused when they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct F32Bits(u32);

impl F32Bits {
    /// `None` for NaN and infinities.
    pub fn new(value: f32) -> Option<Self> {
        value.is_finite().then(|| Self(if value == 0.0 { 0 } else { value.to_bits() }))
    }

    /// The number, with exactly these bits.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl TryFrom<u32> for F32Bits {
    type Error = Malformed;

    fn try_from(bits: u32) -> Result<Self, Malformed> {
        Self::new(f32::from_bits(bits))
            .filter(|value| value.0 == bits)
            .ok_or_else(|| Malformed(format!("{bits:#010x} are not the bits of a finite number, minus zero excluded")))
    }
}

impl From<F32Bits> for u32 {
    fn from(value: F32Bits) -> Self {
        value.0
    }
}

/// Model families that the decoder knows. Further families are further flags (append only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// `LlamaForCausalLM`: RMSNorm before each half, SwiGLU, rotary positions, grouped-query attention, no biases.
    Llama,
}

/// The fields of a Hugging Face `config.json` that change what the model computes, and no others.
///
/// `max_position_embeddings` is left out: files of the same weights differ in it, and it does not change a logit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// Which forward pass the other fields are sizes of.
    pub family: Family,
    /// Tokens: rows of the embedding matrix.
    pub vocab_size: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Width between the linear layers of the MLP.
    pub intermediate_size: u32,
    /// Blocks.
    pub num_hidden_layers: u32,
    /// Query heads.
    pub num_attention_heads: u32,
    /// Heads of keys and values; divides the number of query heads.
    pub num_key_value_heads: u32,
    /// Width of one head, even. Need not be `hidden_size / num_attention_heads`.
    pub head_dim: u32,
    /// Added to the mean square before its root is taken.
    pub rms_norm_eps: F32Bits,
    /// Base of the rotary positions' frequencies.
    pub rope_theta: F32Bits,
    /// The output projection is the embedding matrix.
    pub tie_word_embeddings: bool,
}

/// The seven linear layers of a Llama block, in the order of the forward pass.
pub const LINEARS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

impl Architecture {
    /// `(out, in)` of a block's linear layer, e.g. of `self_attn.q_proj`.
    pub fn linear_shape(&self, linear: &str) -> Option<(u32, u32)> {
        let query = self.num_attention_heads * self.head_dim;
        let value = self.num_key_value_heads * self.head_dim;
        Some(match linear {
            "self_attn.q_proj" => (query, self.hidden_size),
            "self_attn.k_proj" | "self_attn.v_proj" => (value, self.hidden_size),
            "self_attn.o_proj" => (self.hidden_size, query),
            "mlp.gate_proj" | "mlp.up_proj" => (self.intermediate_size, self.hidden_size),
            "mlp.down_proj" => (self.hidden_size, self.intermediate_size),
            _ => return None,
        })
    }

    /// `(out, in)` of the module at a full path, e.g. `model.layers.3.mlp.up_proj`; `None` if this model has none
    /// there.
    pub fn module_shape(&self, module: &str) -> Option<(u32, u32)> {
        let (layer, linear) = module.strip_prefix("model.layers.")?.split_once('.')?;
        let index: u32 = layer.parse().ok()?;
        // One spelling for each layer: no leading zeros or signs.
        (index.to_string() == layer && index < self.num_hidden_layers).then(|| self.linear_shape(linear))?
    }

    /// Every tensor of a model of this architecture with its shape, under its Hugging Face name, sorted by name.
    pub fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let hidden = u64::from(self.hidden_size);
        let vocabulary = u64::from(self.vocab_size);
        let mut all = vec![
            ("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden]),
            ("model.norm.weight".to_owned(), vec![hidden]),
        ];
        if !self.tie_word_embeddings {
            all.push(("lm_head.weight".to_owned(), vec![vocabulary, hidden]));
        }
        for layer in 0..self.num_hidden_layers {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                all.push((format!("model.layers.{layer}.{norm}.weight"), vec![hidden]));
            }
            for linear in LINEARS {
                if let Some((out, inner)) = self.linear_shape(linear) {
                    all.push((format!("model.layers.{layer}.{linear}.weight"), vec![out.into(), inner.into()]));
                }
            }
        }
        all.sort();
        all
    }

    /// Bounds that keep every product of sizes far from overflow, and the relations that the decoder relies on.
    pub fn check(&self) -> Result<(), Malformed> {
        let bounded = [
            ("vocab_size", self.vocab_size, VOCABULARY_MAX),
            ("hidden_size", self.hidden_size, HIDDEN_MAX),
            ("intermediate_size", self.intermediate_size, HIDDEN_MAX),
            ("num_hidden_layers", self.num_hidden_layers, LAYERS_MAX),
            ("num_attention_heads", self.num_attention_heads, HEADS_MAX),
            ("num_key_value_heads", self.num_key_value_heads, HEADS_MAX),
            ("head_dim", self.head_dim, HEADS_MAX),
        ];
        for (field, value, max) in bounded {
            Malformed::unless((1..=max).contains(&value), || format!("{field} is {value}, not 1 to {max}"))?;
        }
        let grouped = self.num_attention_heads.is_multiple_of(self.num_key_value_heads);
        Malformed::unless(grouped, || "num_attention_heads is no multiple of num_key_value_heads".to_owned())?;
        Malformed::unless(self.head_dim.is_multiple_of(2), || {
            "head_dim is odd, rotary positions need pairs".to_owned()
        })?;
        let positive = self.rms_norm_eps.get() >= 0.0 && self.rope_theta.get() > 0.0;
        Malformed::unless(positive, || "rms_norm_eps or rope_theta is negative".to_owned())
    }
}

/// For people, e.g. `llama, 30 layers of 576, vocabulary 49152`.
impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Family::Llama = self.family;
        write!(f, "llama, {} layers of {}, vocabulary {}", self.num_hidden_layers, self.hidden_size, self.vocab_size)
    }
}

/// What a [`BaseId`] covers: weights, not files. No publisher, time or file layout, so two people who add the same
/// weights from one file or from three have one base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// What the weights are the weights of.
    pub architecture: Architecture,
    /// BLAKE3 of the tokenizer's canonical form.
    pub tokenizer: Digest,
    /// Sorted by name, each name once.
    pub tensors: Vec<TensorEntry>,
}

impl BaseIdentity {
    /// Sorts the table.
    pub fn new(architecture: Architecture, tokenizer: Digest, mut tensors: Vec<TensorEntry>) -> Self {
        tensors.sort();
        Self { architecture, tokenizer, tensors }
    }

    /// The base's id: BLAKE3 of the canonical bytes under their context. An error if the identity breaks its bounds.
    pub fn id(&self) -> Result<BaseId, CodecError> {
        Ok(BaseId(Digest::of_context("potluck 2026 base identity/1", &codec::encode(self)?)))
    }
}

impl Wire for BaseIdentity {
    const NAME: &'static str = "base identity";
    const MAX: usize = DECODE_MAX;

    fn check(&self) -> Result<(), Malformed> {
        self.architecture.check()?;
        Malformed::unless((1..=TENSORS_MAX).contains(&self.tensors.len()), || {
            format!("{} tensors, not 1 to {TENSORS_MAX}", self.tensors.len())
        })?;
        self.tensors.iter().try_for_each(TensorEntry::check)?;
        let sorted = self.tensors.windows(2).all(|pair| pair[0].name < pair[1].name);
        Malformed::unless(sorted, || "the tensor table is not sorted by name, each name once".to_owned())
    }
}
