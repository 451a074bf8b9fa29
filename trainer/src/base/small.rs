//! A small base for tests: two layers, 8 wide, grouped-query attention, values from a counter.

use std::collections::BTreeMap;

use potluck_protocol::base::{Architecture, F32Bits, Family};
use potluck_protocol::tensor::DType;

use super::Base;
use super::config::SpecialTokens;
use super::tokenizer::Tokenizer;
use crate::tensor::HostTensor;

pub const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
    "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
    "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"",
    "fuse_unk":false,"byte_fallback":false,"vocab":{"!":0,"a":1,"b":2,"c":3,"ab":4},"merges":[["a","b"]]}}"#;

pub fn architecture() -> Architecture {
    Architecture {
        family: Family::Llama,
        vocab_size: 6,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 2,
        rms_norm_eps: F32Bits::new(1e-5).expect("finite"),
        rope_theta: F32Bits::new(10_000.0).expect("finite"),
        tie_word_embeddings: true,
    }
}

pub fn tokenizer() -> Tokenizer {
    let special = SpecialTokens { bos: None, eos: vec![0] };
    Tokenizer::from_json(TOKENIZER.as_bytes(), special, 6).expect("valid")
}

/// Pseudo-random values from -0.5 to 0.5 with all bits of an f32 in use.
pub fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f64 / f64::from(1u32 << 31) - 0.5) as f32
    };
    (0..count).map(|_| next()).collect()
}

pub fn tensors() -> BTreeMap<String, HostTensor> {
    let named = architecture().tensors().into_iter().enumerate().map(|(index, (name, shape))| {
        let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
        let values = values(index as u64 + 1, shape.iter().product());
        (name, HostTensor::from_f32(shape, &values).expect("as many values as the shape has"))
    });
    named.collect()
}

pub fn base() -> Base {
    Base::from_tensors(architecture(), tokenizer(), tensors()).expect("valid")
}

/// The bytes of a safetensors file with these tensors.
pub fn safetensors(tensors: &BTreeMap<String, HostTensor>) -> Vec<u8> {
    let entry = |(name, tensor): (&String, &HostTensor)| super::safetensors::Entry {
        name: name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
    };
    let mut file = super::safetensors::header(&tensors.iter().map(entry).collect::<Vec<_>>()).expect("sorted floats");
    tensors.values().for_each(|tensor| file.extend_from_slice(tensor.bytes()));
    file
}

pub fn config() -> String {
    super::config::to_json(&architecture(), &SpecialTokens { bos: None, eos: vec![0] }, None, DType::F32)
}
