//! Rule `fold-f32/1` a second time, from the words of `docs/protocol.md`: plain loops, none of the crate's merging code.

use std::collections::BTreeMap;

use potluck_protocol::id::ManifestId;
use potluck_protocol::recipe::Weight;
use potluck_trainer::base::Base;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::tensor::dequantise;

/// Bits of the exponent and of the mantissa of F32, F16 and BF16, in the order of their numbers in the digest.
pub const FORMATS: [(u32, u32); 3] = [(8, 23), (5, 10), (8, 7)];

/// The digest, or `None` if something is not finite.
pub fn digest(base: &Base, adapters: &BTreeMap<ManifestId, (Weight, Adapter)>, dtype: usize) -> Option<String> {
    let mut stream = blake3::Hasher::new_derive_key("potluck 2026 fold/1");
    for (name, shape) in base.architecture().tensors() {
        let numbers = [name.len() as u32, dtype as u32, shape.len() as u32].map(u32::to_le_bytes);
        stream.update(&numbers[0]).update(name.as_bytes()).update(&numbers[1]).update(&numbers[2]);
        stream.update(&shape.iter().flat_map(|dimension| dimension.to_le_bytes()).collect::<Vec<u8>>());
        let parts = adapters.values().filter_map(|(weight, adapter)| {
            let name = |letter| format!("base_model.model.{}.lora_{letter}.weight", name.trim_end_matches(".weight"));
            let (a, b) = (adapter.tensors.get(&name("A"))?, adapter.tensors.get(&name("B"))?);
            let scale = f64::from(adapter.config.lora_alpha) / adapter.config.r as f64;
            Some((f64::from(weight.0) / 65536.0 * scale, adapter.config.r, &a.values, &b.values))
        });
        let (parts, columns) = (parts.collect::<Vec<_>>(), *shape.last()? as usize);
        for (at, g) in dequantise::tensor(&base.tensor(&name).ok()?).into_iter().enumerate() {
            let (row, column, mut d) = (at / columns, at % columns, 0f32);
            for (factor, rank, a, b) in &parts {
                for k in 0..*rank {
                    let c = (factor * f64::from(b[row * rank + k])) as f32;
                    let product = c * a[k * columns + column];
                    d += product;
                }
            }
            stream.update(&rounded(g + d, FORMATS[dtype])?);
        }
    }
    Some(stream.finalize().to_hex().to_string())
}

/// The nearest number of a format, ties to even, minus zero as zero; `None` if that is not finite.
fn rounded(value: f32, (exponent_bits, mantissa_bits): (u32, u32)) -> Option<Vec<u8>> {
    if !value.is_finite() {
        return None;
    }
    let largest = (1 << (exponent_bits - 1)) - 1;
    let own = (f64::from(value).to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let exponent = own.max(1 - largest);
    // In steps of the format's last bit, which is exact in f64 before it is rounded.
    let steps = (f64::from(value).abs() / 2f64.powi(exponent - mantissa_bits as i32)).round_ties_even() as u64;
    let bits = (((exponent + largest - 1) as u64) << mantissa_bits) + steps;
    let finite = bits < ((1 << exponent_bits) - 1) << mantissa_bits;
    let sign = u64::from(value < 0.0 && bits > 0) << (exponent_bits + mantissa_bits);
    finite.then(|| (sign | bits).to_le_bytes()[..(1 + exponent_bits + mantissa_bits) as usize / 8].to_vec())
}
