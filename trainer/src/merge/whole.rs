//! A merge whose result is kept in memory, for adapters that are small.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use potluck_protocol::base::Architecture;

use super::stack::Merged;
use super::{Input, MergeError, MergePlan, Method, ModuleSink, Report};
use crate::lora::adapter::{Adapter, AdapterTensor, Factor};
use crate::lora::config::LoraConfig;
use crate::peft::target_modules;

/// Merges whole.
pub fn merge(inputs: &[Input], architecture: &Architecture, method: Method) -> Result<(Adapter, Report), MergeError> {
    let plan = MergePlan::new(inputs, architecture, method)?;
    let kept = Kept::default();
    let report = plan.run(&kept, &AtomicBool::new(false), &|_| ())?;
    let (rank, mut tensors) = (plan.rank(), BTreeMap::new());
    let modules = kept.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let names = modules.keys().cloned().collect();
    for (module, Merged { a, b }) in modules {
        let (inner, out) = (a.len() / rank, b.len() / rank);
        tensors.insert(Factor::A.peft_name(&module), AdapterTensor { shape: [rank, inner], values: a });
        tensors.insert(Factor::B.peft_name(&module), AdapterTensor { shape: [out, rank], values: b });
    }
    let config = LoraConfig::new(rank, rank as f32, target_modules(&names, architecture));
    Ok((Adapter { config, tensors }, report))
}

#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Merged>>);

impl ModuleSink for Kept {
    fn module(&self, module: &str, a: &[f32], b: &[f32]) -> io::Result<()> {
        let merged = Merged { a: a.to_vec(), b: b.to_vec() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(module.to_owned(), merged);
        Ok(())
    }
}
