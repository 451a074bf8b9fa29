//! A small valid GGUF file for tests: one block, 32 wide, a vocabulary of 64, linear layers in Q8_0.

/// A metadata value to write.
#[derive(Clone, Copy)]
pub enum Meta {
    U32(u32),
    F32(f32),
    Text(&'static str),
    Tokens,
    Types,
    Merges,
}

/// A row of the table, sizes innermost first.
pub struct Tensor {
    pub name: &'static str,
    pub ne: Vec<u64>,
    pub code: u32,
    pub offset: u64,
}

const METADATA: [(&str, Meta); 16] = [
    ("general.architecture", Meta::Text("llama")),
    ("general.name", Meta::Text("sample")),
    ("llama.block_count", Meta::U32(1)),
    ("llama.context_length", Meta::U32(64)),
    ("llama.embedding_length", Meta::U32(32)),
    ("llama.feed_forward_length", Meta::U32(64)),
    ("llama.attention.head_count", Meta::U32(2)),
    ("llama.attention.head_count_kv", Meta::U32(1)),
    ("llama.attention.layer_norm_rms_epsilon", Meta::F32(1e-5)),
    ("tokenizer.ggml.model", Meta::Text("gpt2")),
    ("tokenizer.ggml.pre", Meta::Text("smollm")),
    ("tokenizer.ggml.tokens", Meta::Tokens),
    ("tokenizer.ggml.token_type", Meta::Types),
    ("tokenizer.ggml.merges", Meta::Merges),
    ("tokenizer.ggml.bos_token_id", Meta::U32(0)),
    ("tokenizer.ggml.eos_token_id", Meta::U32(1)),
];

/// Rows and columns of each tensor: type 0 is F32, 8 is Q8_0.
const TENSORS: [(&str, &[u64], u32); 11] = [
    ("token_embd.weight", &[32, 64], 8),
    ("output_norm.weight", &[32], 0),
    ("blk.0.attn_norm.weight", &[32], 0),
    ("blk.0.attn_q.weight", &[32, 32], 8),
    ("blk.0.attn_k.weight", &[32, 16], 8),
    ("blk.0.attn_v.weight", &[32, 16], 8),
    ("blk.0.attn_output.weight", &[32, 32], 8),
    ("blk.0.ffn_norm.weight", &[32], 0),
    ("blk.0.ffn_gate.weight", &[32, 64], 8),
    ("blk.0.ffn_up.weight", &[32, 64], 8),
    ("blk.0.ffn_down.weight", &[64, 32], 8),
];

pub fn llama() -> Vec<u8> {
    build(&METADATA)
}

/// The same file with one metadata value replaced or added.
pub fn llama_with(key: &'static str, value: Meta) -> Vec<u8> {
    let mut metadata: Vec<_> = METADATA.into_iter().filter(|(name, _)| *name != key).collect();
    metadata.push((key, value));
    build(&metadata)
}

fn build(metadata: &[(&str, Meta)]) -> Vec<u8> {
    let mut offset = 0;
    let tensors: Vec<_> = TENSORS
        .iter()
        .map(|&(name, ne, code)| {
            let begin = offset;
            let elements: u64 = ne.iter().product();
            let bytes = if code == 0 { elements * 4 } else { elements / 32 * 34 };
            offset += bytes.next_multiple_of(32);
            Tensor { name, ne: ne.to_vec(), code, offset: begin }
        })
        .collect();
    file(metadata, &tensors, offset as usize)
}

/// A file with this header and so many bytes of data, small finite numbers in F32 as in Q8_0.
pub fn file(metadata: &[(&str, Meta)], tensors: &[Tensor], data: usize) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    out.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        string(&mut out, key);
        write(&mut out, *value);
    }
    for tensor in tensors {
        string(&mut out, tensor.name);
        out.extend_from_slice(&(tensor.ne.len() as u32).to_le_bytes());
        tensor.ne.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.extend_from_slice(&tensor.code.to_le_bytes());
        out.extend_from_slice(&tensor.offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32), 0);
    let start = out.len();
    // Bytes below 0x30: an f16 or f32 made of them is finite and small.
    out.extend((0..data).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] % 0x30));
    assert_eq!(out.len(), start + data);
    out
}

/// Where the data begins in a file of [`llama`].
pub fn header_len(file: &[u8]) -> usize {
    let gguf = super::Gguf::parse(file).expect("the sample is valid");
    gguf.tensors.iter().map(|tensor| tensor.range.start).min().expect("the sample has tensors")
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write(out: &mut Vec<u8>, value: Meta) {
    let array = |out: &mut Vec<u8>, kind: u32, len: usize| {
        out.extend_from_slice(&9u32.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&(len as u64).to_le_bytes());
    };
    match value {
        Meta::U32(value) => out.extend_from_slice(&[&4u32.to_le_bytes()[..], &value.to_le_bytes()].concat()),
        Meta::F32(value) => out.extend_from_slice(&[&6u32.to_le_bytes()[..], &value.to_le_bytes()].concat()),
        Meta::Text(value) => {
            out.extend_from_slice(&8u32.to_le_bytes());
            string(out, value);
        }
        Meta::Tokens => {
            let tokens = tokens();
            array(out, 8, tokens.len());
            tokens.iter().for_each(|token| string(out, token));
        }
        Meta::Types => {
            array(out, 5, 64);
            (0..64).for_each(|id: i32| out.extend_from_slice(&if id < 2 { 3i32 } else { 1 }.to_le_bytes()));
        }
        Meta::Merges => {
            array(out, 8, 2);
            ["a b", "Ġ a"].iter().for_each(|merge| string(out, merge));
        }
    }
}

/// Two control tokens, letters, digits, `Ġ` (a space), the results of the merges, and what fills up to 64.
fn tokens() -> Vec<String> {
    let mut tokens: Vec<String> = ["<s>", "</s>", "Ġ", "ab", "Ġa", "Ċ", "."].map(str::to_owned).to_vec();
    tokens.extend(('a'..='z').chain('0'..='9').map(String::from));
    let missing = 64 - tokens.len();
    tokens.extend((0..missing).map(|i| format!("[pad{i}]")));
    tokens
}
