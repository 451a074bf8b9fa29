//! How long the file of factors can be, by what is known before a byte of it is here: rank, modules, and the shapes of the
//! base.

use std::ops::RangeInclusive;

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::SAFETENSORS_HEADER_MAX;

use crate::lora::LoraError;
use crate::lora::adapter::Factor;
use crate::lora::config::{LoraConfig, Targets};

/// Bytes of a header beside its tensors: texts that a writer notes there, blanks to a round length.
const NOTES_MAX: u64 = 64 << 10;

/// Bytes of one tensor's entry beside its name: type, shape, offsets, and what JSON puts around them.
const ENTRY_MAX: u64 = 192;

/// Bytes of the narrowest and the widest type of a factor.
const ELEMENT: RangeInclusive<u64> = 2..=4;

/// The lengths that `adapter_model.safetensors` can have for an adapter of this rank with these modules of a base. An
/// error if the base has none of the modules.
pub fn model_bytes(
    r: usize,
    target_modules: &[String],
    architecture: &Architecture,
) -> Result<RangeInclusive<u64>, LoraError> {
    let targets = Targets::Names(target_modules.to_vec());
    let modules = LoraConfig::new(r, r as f32, targets).modules(architecture)?;
    if modules.is_empty() {
        return Err(LoraError::NoTarget { targets: target_modules.join(",") });
    }
    let (mut elements, mut entries) = (0, 0);
    for (module, (out, inner)) in &modules {
        elements += r as u64 * (*out as u64 + *inner as u64);
        entries +=
            [Factor::A, Factor::B].map(|factor| factor.peft_name(module).len() as u64 + ENTRY_MAX).iter().sum::<u64>();
    }
    let header = 8 + (entries + NOTES_MAX).min(SAFETENSORS_HEADER_MAX as u64);
    Ok(elements * ELEMENT.start()..=header + elements * ELEMENT.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small::architecture;
    use crate::merge::testing::adapter;
    use crate::peft::encode;

    #[test]
    fn every_adapter_that_is_written_has_a_length_that_it_can_have() {
        for (seed, rank) in [(1, 1), (2, 3), (3, 8)] {
            let adapter = adapter(seed, rank, rank as f32, 14);
            let names = adapter.config.target_modules.names();
            let len = encode(&adapter, &architecture()).unwrap().model.len() as u64;
            let modules: std::collections::BTreeSet<_> =
                adapter.tensors.keys().map(|name| Factor::parse(name).unwrap().0.to_owned()).collect();
            let targets = crate::peft::target_modules(&modules, &architecture()).names();
            let can_be = model_bytes(rank, &targets, &architecture()).unwrap();
            assert!(can_be.contains(&len), "{len} of {can_be:?}, {names:?}");
            assert!(*can_be.end() < len + (70 << 10), "no more than a header's notes above it: {can_be:?}");
        }
        let error = model_bytes(1, &["embed_tokens".to_owned()], &architecture()).unwrap_err();
        assert!(matches!(error, LoraError::NoTarget { .. }), "{error}");
    }
}
