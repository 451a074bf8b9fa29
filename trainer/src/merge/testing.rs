//! Adapters for the small base, for tests.

use potluck_protocol::base::LINEARS;

use crate::base::small;
use crate::lora::adapter::{Adapter, AdapterTensor, Factor};
use crate::lora::config::{LoraConfig, Targets};

/// Factors for the first so many of the small base's 14 modules.
pub fn adapter(seed: u64, r: usize, lora_alpha: f32, targets: usize) -> Adapter {
    let architecture = small::architecture();
    let paths = (0..2).flat_map(|layer| LINEARS.iter().map(move |linear| format!("model.layers.{layer}.{linear}")));
    let modules: Vec<_> = paths.take(targets).collect();
    let factors = modules.iter().enumerate().flat_map(|(index, module)| {
        let (out, inner) = architecture.module_shape(module).expect("a module of the small base");
        let make = move |factor: Factor, shape: [usize; 2]| {
            let values = small::values(seed ^ (index as u64) << 8 ^ factor as u64, shape[0] * shape[1]);
            (factor.peft_name(module), AdapterTensor { shape, values })
        };
        [make(Factor::A, [r, inner as usize]), make(Factor::B, [out as usize, r])]
    });
    let tensors = factors.collect();
    Adapter { config: LoraConfig::new(r, lora_alpha, Targets::Names(modules)), tensors }
}

/// `scale B A` in f64; empty if the adapter does not have the module.
pub fn dense(adapter: &Adapter, module: &str) -> Vec<f64> {
    let pair = (adapter.factor(module, Factor::A), adapter.factor(module, Factor::B));
    let (Some(a), Some(b)) = pair else { return Vec::new() };
    let ([rank, inner], out) = (a.shape, b.shape[0]);
    let cell = |row: usize, column: usize| -> f64 {
        let terms = (0..rank).map(|k| f64::from(b.values[row * rank + k]) * f64::from(a.values[k * inner + column]));
        adapter.config.scale() * terms.sum::<f64>()
    };
    (0..out)
        .flat_map(|row| (0..inner).map(move |column| (row, column)))
        .map(|(row, column)| cell(row, column))
        .collect()
}
