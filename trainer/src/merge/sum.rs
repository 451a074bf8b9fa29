//! The exact sum of weighted adapters as one adapter of their ranks together.
//!
//! `sum_i w_i s_i B_i A_i = [w_1 s_1 B_1, w_2 s_2 B_2, ...] [A_1; A_2; ...]`: stacked, not averaged, so that no cross
//! terms `B_i A_j` appear (PEFT calls this combination `cat`). The only rounding is that of `w s B` to f32.

use std::collections::{BTreeMap, BTreeSet};

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::RANK_MAX;
use potluck_protocol::recipe::Weight;

use super::scale;
use crate::lora::adapter::{Adapter, AdapterTensor, Factor};
use crate::lora::config::LoraConfig;
use crate::peft::target_modules;

/// Why adapters cannot be summed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SumError {
    #[error("there is no adapter to sum")]
    Nothing,
    #[error("the ranks add up to {rank}, at most {RANK_MAX} are allowed: fold the adapters into the base instead")]
    Rank { rank: usize },
    #[error("adapter {index} (from 1): `{module}` does not fit the base, or lacks a factor")]
    Module { index: usize, module: String },
    #[error("`{module}` is not finite in the sum: a weight or scale is too large")]
    NotFinite { module: String },
}

/// The sum, in the portable profile. Modules that some adapters lack get zeros there, as do ranks below the largest.
pub fn sum(inputs: &[(Weight, &Adapter)], architecture: &Architecture) -> Result<Adapter, SumError> {
    let modules = modules(inputs, architecture)?;
    let rank = modules.iter().map(|module| stacked_rank(inputs, module)).max().ok_or(SumError::Nothing)?;
    if rank > RANK_MAX as usize {
        return Err(SumError::Rank { rank });
    }
    let mut tensors = BTreeMap::new();
    for module in &modules {
        let (a, b) = stack(inputs, module, rank, architecture);
        if b.values.iter().any(|value| !value.is_finite()) {
            return Err(SumError::NotFinite { module: module.clone() });
        }
        tensors.insert(Factor::A.peft_name(module), a);
        tensors.insert(Factor::B.peft_name(module), b);
    }
    let target_modules = target_modules(&modules, architecture);
    Ok(Adapter { config: LoraConfig::new(rank, rank as f32, target_modules), tensors })
}

/// Every module that an adapter has, its factors checked against the base.
fn modules(inputs: &[(Weight, &Adapter)], architecture: &Architecture) -> Result<BTreeSet<String>, SumError> {
    let mut modules = BTreeSet::new();
    for (index, (_, adapter)) in inputs.iter().enumerate() {
        for name in adapter.tensors.keys() {
            let module = Factor::parse(name).map_or(name.as_str(), |(module, _)| module);
            if !fits(adapter, module, architecture) {
                return Err(SumError::Module { index: index + 1, module: module.to_owned() });
            }
            modules.insert(module.to_owned());
        }
    }
    Ok(modules)
}

/// Whether the module is one of the base's and its factors have its shapes.
pub(super) fn fits(adapter: &Adapter, module: &str, architecture: &Architecture) -> bool {
    let Some((out, inner)) = architecture.module_shape(module) else { return false };
    let (Some(a), Some(b)) = (adapter.factor(module, Factor::A), adapter.factor(module, Factor::B)) else {
        return false;
    };
    let [rank, columns] = a.shape;
    let whole = |tensor: &AdapterTensor| tensor.shape[0].checked_mul(tensor.shape[1]) == Some(tensor.values.len());
    rank > 0 && columns == inner as usize && b.shape == [out as usize, rank] && whole(a) && whole(b)
}

fn stacked_rank(inputs: &[(Weight, &Adapter)], module: &str) -> usize {
    inputs.iter().filter_map(|(_, adapter)| adapter.factor(module, Factor::A)).map(|a| a.shape[0]).sum()
}

/// A's rows one below the other, B's columns one beside the other, both in the order of the inputs.
fn stack(
    inputs: &[(Weight, &Adapter)],
    module: &str,
    rank: usize,
    architecture: &Architecture,
) -> (AdapterTensor, AdapterTensor) {
    let (out, inner) = architecture.module_shape(module).unwrap_or_default();
    let (out, inner) = (out as usize, inner as usize);
    let (mut a, mut b, mut first) = (vec![0.0; rank * inner], vec![0.0; out * rank], 0);
    for (weight, adapter) in inputs {
        let pair = (adapter.factor(module, Factor::A), adapter.factor(module, Factor::B));
        let (Some(own_a), Some(own_b)) = pair else { continue };
        let (own, factor) = (own_a.shape[0], weight.get() * scale(adapter));
        a[first * inner..][..own * inner].copy_from_slice(&own_a.values);
        for (row, own_row) in b.chunks_exact_mut(rank).zip(own_b.values.chunks_exact(own)) {
            for (value, &unscaled) in row[first..].iter_mut().zip(own_row) {
                *value = (factor * f64::from(unscaled)) as f32;
            }
        }
        first += own;
    }
    (AdapterTensor { shape: [rank, inner], values: a }, AdapterTensor { shape: [out, rank], values: b })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::small;
    use crate::merge::testing::{adapter, dense};

    proptest! {
        /// Against the dense sum in f64: mixed ranks, scales, weights and targets.
        #[test]
        fn the_sum_is_exact(
            parts in prop::collection::vec((1usize..5, 1u32..9, -(3i32 << 16)..(3i32 << 16), 1usize..15, any::<u64>()), 1..5),
        ) {
            let architecture = small::architecture();
            let adapters: Vec<_> =
                parts.iter().map(|&(rank, alpha, _, targets, seed)| adapter(seed, rank, alpha as f32, targets)).collect();
            let inputs: Vec<_> = parts.iter().zip(&adapters).map(|(part, adapter)| (Weight(part.2), adapter)).collect();
            let merged = sum(&inputs, &architecture).unwrap();
            for module in modules(&inputs, &architecture).unwrap() {
                let mut wanted = vec![0.0; dense(&merged, &module).len()];
                for (weight, adapter) in &inputs {
                    for (total, part) in wanted.iter_mut().zip(dense(adapter, &module)) {
                        *total += weight.get() * part;
                    }
                }
                let norm = wanted.iter().map(|v| v * v).sum::<f64>().sqrt();
                let error = wanted.iter().zip(dense(&merged, &module)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
                prop_assert!(error <= 1e-6 * norm, "{module}: {error} of {norm}");
            }
        }
    }

    #[test]
    fn a_sum_of_one_is_that_adapter_and_ranks_add() {
        let architecture = small::architecture();
        let (one, two) = (adapter(1, 3, 6.0, 14), adapter(2, 4, 4.0, 2));
        let merged = sum(&[(Weight::ONE, &one)], &architecture).unwrap();
        assert_eq!(
            crate::peft::encode(&merged, &architecture).unwrap(),
            crate::peft::encode(&one, &architecture).unwrap()
        );
        let merged = sum(&[(Weight::ONE, &one), (Weight::ONE, &two)], &architecture).unwrap();
        assert_eq!((merged.config.r, merged.config.lora_alpha), (7, 7.0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let architecture = small::architecture();
        assert_eq!(sum(&[], &architecture), Err(SumError::Nothing));
        let wide = adapter(1, 1000, 1000.0, 1);
        assert_eq!(
            sum(&[(Weight::ONE, &wide), (Weight::ONE, &wide)], &architecture),
            Err(SumError::Rank { rank: 2000 })
        );
        let mut broken = adapter(1, 2, 2.0, 2);
        broken.tensors.pop_last();
        assert!(matches!(sum(&[(Weight::ONE, &broken)], &architecture), Err(SumError::Module { index: 1, .. })));
        let mut huge = adapter(1, 2, 2.0, 1);
        huge.tensors.values_mut().for_each(|tensor| tensor.values.fill(f32::MAX));
        assert!(matches!(sum(&[(Weight(2 << 16), &huge)], &architecture), Err(SumError::NotFinite { .. })));
    }
}
