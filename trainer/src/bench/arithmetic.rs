//! The floating-point operations that a LoRA training step is made of, by formula: what its rate is a share of.
//!
//! Counted is what the mathematics asks for, a multiplication and an addition as two, in the matrix products alone; not
//! what an implementation happens to do. So recomputed activations and attention scores do not count, nor does padding,
//! nor do the gradients of frozen matrices, nor the gradient that layer 0 would hand to the frozen embedding.

use potluck_protocol::base::{Architecture, LINEARS};

/// Operations of one step, forward and backward, of sequences of so many tokens, LoRA of rank `r` on all linear
/// layers, each token but a sequence's first labelled. A sequence's last token predicts nothing, so it has no row.
pub fn training_step(architecture: &Architecture, r: usize, sequences: &[usize]) -> u64 {
    let rows = || sequences.iter().map(|&tokens| tokens.saturating_sub(1) as u64);
    let seen = rows().map(|n| n * (n + 1) / 2).sum();
    let layers = u64::from(architecture.num_hidden_layers);
    let linears = linears(architecture, rows().sum(), r as u64);
    let blocks = layers * (linears.all + attention(architecture, seen));
    blocks.saturating_sub(linears.into_embedding) + head(architecture, rows().sum())
}

struct Linears {
    /// Of one block.
    all: u64,
    /// The part of it that only layer 0's input would read.
    into_embedding: u64,
}

/// `y = x W^T` and `dx = dy W`; of the pair `h = x A^T`, `y += h B^T`, `dh = dy B`, `dB`, `dA`, `dx += dh A`.
fn linears(architecture: &Architecture, rows: u64, r: u64) -> Linears {
    let mut sum = Linears { all: 0, into_embedding: 0 };
    for linear in LINEARS {
        let Some((out, inner)) = architecture.linear_shape(linear) else { continue };
        let (out, inner) = (u64::from(out), u64::from(inner));
        let input_gradient = 2 * rows * (out * inner + r * inner);
        sum.all += 2 * rows * out * inner + 2 * rows * r * (2 * inner + 3 * out) + input_gradient;
        if matches!(linear, "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj") {
            sum.into_embedding += input_gradient;
        }
    }
    sum
}

/// `q k^T` and `p v` forward; `dv`, `dp`, `dq`, `dk` backward, over the pairs of a query and a key that it sees.
fn attention(architecture: &Architecture, seen: u64) -> u64 {
    6 * 2 * seen * u64::from(architecture.num_attention_heads) * u64::from(architecture.head_dim)
}

/// The logits of labelled rows, and the gradient in the hidden states.
fn head(architecture: &Architecture, rows: u64) -> u64 {
    2 * 2 * rows * u64::from(architecture.vocab_size) * u64::from(architecture.hidden_size)
}

#[cfg(test)]
mod tests {
    use potluck_protocol::base::{F32Bits, Family};

    use super::*;

    fn llama(hidden: u32, intermediate: u32, layers: u32, heads: [u32; 2], vocab_size: u32) -> Architecture {
        Architecture {
            family: Family::Llama,
            vocab_size,
            hidden_size: hidden,
            intermediate_size: intermediate,
            num_hidden_layers: layers,
            num_attention_heads: heads[0],
            num_key_value_heads: heads[1],
            head_dim: hidden / heads[0],
            rms_norm_eps: F32Bits::new(1e-5).expect("finite"),
            rope_theta: F32Bits::new(1e4).expect("finite"),
            tie_word_embeddings: true,
        }
    }

    /// One layer with every width 1, two rows: each linear costs 2 rows a product.
    #[test]
    fn the_smallest_step_counts_by_hand() {
        let architecture = llama(1, 1, 1, [1, 1], 1);
        let (products, rows) = (7 * 2 + 7 * 6, 2);
        let not_needed = 3 * 2;
        let attention = 6 * 3;
        let expected = 2 * rows * (products - not_needed) + 2 * attention + 2 * 2 * rows;
        assert_eq!(training_step(&architecture, 1, &[3]), expected);
        assert_eq!(training_step(&architecture, 1, &[3, 3]), 2 * expected);
        assert_eq!(training_step(&architecture, 1, &[1]), 0, "a single token predicts nothing");
    }

    /// SmolLM2-135M, r 16, 4 x 512.
    #[test]
    fn a_step_of_smollm2_takes_1_27_teraflop() {
        let smollm2 = llama(576, 1536, 30, [9, 3], 49152);
        let teraflop = training_step(&smollm2, 16, &[512; 4]) as f64 / 1e12;
        assert!((1.25..1.29).contains(&teraflop), "{teraflop}");
    }
}
