//! From GGUF's names and row order to Hugging Face's.

use std::collections::BTreeMap;

use potluck_protocol::base::Architecture;

use super::header::{Gguf, TensorInfo};
use super::{GgufError, shorten};
use crate::base::stored::Stored;
use crate::tensor::{Bytes, HostTensor};

/// Inside a block, in the order of the forward pass.
const BLOCK: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Every tensor of the file under its Hugging Face name. `file` are the bytes that the header was read from.
pub fn tensors(gguf: &Gguf, file: &Bytes, architecture: &Architecture) -> Result<BTreeMap<String, Stored>, GgufError> {
    let mut all = BTreeMap::new();
    for info in &gguf.tensors {
        let wrong = |reason| GgufError::Tensor { name: shorten(info.name), reason };
        let name = hugging_face_name(info.name).ok_or_else(|| wrong("it is not part of a llama model"))?;
        let tensor = HostTensor::new(info.dtype, info.shape.clone(), file.clone(), info.range.clone());
        let tensor = tensor.ok_or_else(|| wrong("its bytes do not fit its shape"))?;
        all.insert(name, to_stored(info, tensor, architecture)?);
    }
    Ok(all)
}

/// `None` for names of no llama tensor.
fn hugging_face_name(name: &str) -> Option<String> {
    if let Some((_, outside)) = OUTSIDE.iter().find(|(gguf, _)| *gguf == name) {
        return Some((*outside).to_owned());
    }
    let (layer, part) = name.strip_prefix("blk.")?.strip_suffix(".weight")?.split_once('.')?;
    let index: u32 = layer.parse().ok()?;
    let (_, inside) = BLOCK.iter().find(|(gguf, _)| *gguf == part)?;
    (index.to_string() == layer).then(|| format!("model.layers.{index}.{inside}.weight"))
}

fn to_stored(info: &TensorInfo, tensor: HostTensor, architecture: &Architecture) -> Result<Stored, GgufError> {
    let heads = match info.name.rsplit('.').nth(1) {
        Some("attn_q") => architecture.num_attention_heads,
        Some("attn_k") => architecture.num_key_value_heads,
        _ => return Ok(Stored::Plain(tensor)),
    } as usize;
    let rows = architecture.head_dim as usize * heads;
    if tensor.shape.len() == 2 && tensor.shape[0] == rows {
        Ok(Stored::Permuted { tensor, heads })
    } else {
        Err(GgufError::Tensor { name: shorten(info.name), reason: "its rows are not the heads of the metadata" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_block_and_around_it() {
        let check = |gguf, wanted: Option<&str>| assert_eq!(hugging_face_name(gguf).as_deref(), wanted, "{gguf}");
        check("token_embd.weight", Some("model.embed_tokens.weight"));
        check("blk.12.ffn_down.weight", Some("model.layers.12.mlp.down_proj.weight"));
        for wrong in ["blk.01.ffn_up.weight", "blk.0.ffn_up.bias", "rope_freqs.weight", "blk.x.ffn_up.weight", ""] {
            check(wrong, None);
        }
    }
}
