//! A random recipe: a small base of any type, adapters of any rank, scale and weight on any of its modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use potluck_protocol::base::{Architecture, F32Bits, Family, LINEARS};
use potluck_protocol::id::{Digest, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;
use potluck_trainer::base::Base;
use potluck_trainer::lora::adapter::{Adapter, AdapterTensor, Factor};
use potluck_trainer::lora::config::{LoraConfig, Targets};
use potluck_trainer::tensor::HostTensor;
use potluck_trainer::tiny;

use super::draw::Draw;

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
/// With the places of the f16 scales in a block. Q8K's is an f32.
const BLOCKS: [(DType, &[usize]); 11] = [
    (DType::Q4_0, &[0]),
    (DType::Q4_1, &[0, 2]),
    (DType::Q5_0, &[0]),
    (DType::Q5_1, &[0, 2]),
    (DType::Q8_0, &[0]),
    (DType::Q2K, &[80, 82]),
    (DType::Q3K, &[108]),
    (DType::Q4K, &[0, 2]),
    (DType::Q5K, &[0, 2]),
    (DType::Q6K, &[208]),
    (DType::Q8K, &[]),
];

pub struct Case {
    pub base: Base,
    pub adapters: BTreeMap<ManifestId, (Weight, Adapter)>,
    /// The result's type, by its number in the digest.
    pub dtype: usize,
}

impl Case {
    pub fn by_seed(seed: u64) -> Self {
        let mut draw = Draw(seed);
        // Columns in whole blocks of 32 or 256 for quantised types; else any number, so that vectors have ends.
        let unit = match draw.below(24) {
            0 => 256,
            1..=8 => 32,
            _ => 1,
        };
        let base = base(&mut draw, unit);
        let count = draw.below(6);
        let adapters = (0..count).map(|index| {
            let id = ManifestId(Digest::of(format!("{seed} {index}").as_bytes()));
            (id, (weight(&mut draw), adapter(&mut draw, base.architecture())))
        });
        let adapters = adapters.collect();
        Self { base, adapters, dtype: draw.below(3) }
    }
}

fn weight(draw: &mut Draw) -> Weight {
    let bits = draw.bits();
    Weight(match draw.below(6) {
        0 => 1 << 16,
        1 => -(1 << 16),
        // The largest there are, and the smallest.
        2 => (1024 << 16) - (bits % 5) as i32,
        3 => 1 + (bits % 3) as i32,
        _ => ((bits % (4 << 16)) as i32 - (2 << 16)) | 1,
    })
}

fn architecture(draw: &mut Draw, unit: usize) -> Architecture {
    let mut size = |most: usize| (unit * (1 + draw.below((most / unit).max(1)))) as u32;
    let (hidden_size, intermediate_size) = (size(80), size(120));
    let num_key_value_heads = 1 + draw.below(2) as u32;
    let num_attention_heads = num_key_value_heads * (1 + draw.below(2) as u32);
    // `o_proj` has as many columns as all heads together.
    let head_dim = if unit > 1 { unit } else { 2 * (1 + draw.below(6)) } as u32;
    Architecture {
        family: Family::Llama,
        // What the tokenizer knows, at least.
        vocab_size: 258 + draw.below(20) as u32,
        hidden_size,
        intermediate_size,
        num_hidden_layers: 1 + draw.below(if unit < 256 { 2 } else { 1 }) as u32,
        num_attention_heads: if unit < 256 { num_attention_heads } else { num_key_value_heads },
        num_key_value_heads,
        head_dim,
        rms_norm_eps: F32Bits::new(1e-5).expect("finite"),
        rope_theta: F32Bits::new(10_000.0).expect("finite"),
        tie_word_embeddings: draw.below(2) == 0,
    }
}

fn base(draw: &mut Draw, unit: usize) -> Base {
    let architecture = architecture(draw, unit);
    let float = draw.pick(&FLOATS);
    let tensors = architecture.tensors().into_iter().map(|(name, shape)| {
        let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
        let fitting: Vec<_> = BLOCKS.iter().filter(|(dtype, _)| unit.is_multiple_of(dtype.block().0)).collect();
        let bytes = |draw: &mut Draw, dtype: DType, scales: &[usize]| {
            (0..shape.iter().product::<usize>() / dtype.block().0).flat_map(|_| block(draw, dtype, scales)).collect()
        };
        let (dtype, bytes): (DType, Vec<u8>) = if fitting.is_empty() || shape.len() < 2 {
            (float, bytes(draw, float, &[]))
        } else {
            let (dtype, scales) = *draw.pick(&fitting);
            (dtype, bytes(draw, dtype, scales))
        };
        let len = bytes.len();
        (name, HostTensor::new(dtype, shape, Arc::new(bytes), 0..len).expect("whole blocks"))
    });
    let tensors = tensors.collect();
    let tokenizer = tiny::base().expect("built in").tokenizer().clone();
    Base::from_tensors(architecture, tokenizer, tensors).expect("all its tensors")
}

/// The bytes of one block, or of one float: finite, whatever the quants are.
fn block(draw: &mut Draw, dtype: DType, scales: &[usize]) -> Vec<u8> {
    match dtype {
        DType::F32 => draw.value().to_le_bytes().to_vec(),
        DType::F16 => draw.narrow(10, 0..18).to_vec(),
        DType::BF16 => draw.narrow(7, 100..130).to_vec(),
        _ => {
            let mut bytes: Vec<u8> = (0..dtype.block().1).map(|_| draw.bits() as u8).collect();
            for &at in scales {
                bytes[at..at + 2].copy_from_slice(&draw.narrow(10, 0..9));
            }
            if dtype == DType::Q8K {
                bytes[..4].copy_from_slice(&(draw.value() / 256.0).to_le_bytes());
            }
            bytes
        }
    }
}

/// On each module as it falls: some modules are shared, some adapters have nothing in common.
fn adapter(draw: &mut Draw, architecture: &Architecture) -> Adapter {
    let r = 1 + draw.below(if architecture.hidden_size < 256 { 20 } else { 6 });
    let lora_alpha = draw.pick(&[r as f32, 1.0, 3.0, 16.0, -2.0, 0.3]);
    let share = 1 + draw.below(4);
    let (mut tensors, mut modules) = (BTreeMap::new(), Vec::new());
    for layer in 0..architecture.num_hidden_layers {
        for linear in LINEARS {
            if draw.below(4) >= share {
                continue;
            }
            let module = format!("model.layers.{layer}.{linear}");
            let (out, inner) = architecture.module_shape(&module).expect("a module of the base");
            let mut put = |factor: Factor, shape: [usize; 2]| {
                let values = (0..shape[0] * shape[1]).map(|_| draw.value()).collect();
                tensors.insert(factor.peft_name(&module), AdapterTensor { shape, values });
            };
            put(Factor::A, [r, inner as usize]);
            put(Factor::B, [out as usize, r]);
            modules.push(module);
        }
    }
    Adapter { config: LoraConfig::new(r, lora_alpha, Targets::Names(modules)), tensors }
}
