//! Writing an adapter in the portable profile: equal adapters give equal bytes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use potluck_protocol::base::{Architecture, LINEARS};
use potluck_protocol::id::BaseId;
use potluck_protocol::tensor::DType;
use serde_json::json;

use super::{CONFIG_FILE, MODEL_FILE};
use crate::base::safetensors::{Entry, header};
use crate::files::StagedFolder;
use crate::lora::adapter::{Adapter, Factor};
use crate::lora::config::Targets;

/// The contents of the two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `adapter_config.json`
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`
    pub model: Vec<u8>,
}

/// Writes a folder, which appears whole or not at all.
pub fn write(adapter: &Adapter, architecture: &Architecture, folder: &Path) -> io::Result<()> {
    let files = encode(adapter, architecture)?;
    let staged = StagedFolder::create(folder)?;
    staged.write(CONFIG_FILE, &files.config)?;
    staged.write(MODEL_FILE, &files.model)?;
    staged.commit()
}

/// Both files, in f32, with the scale folded into B.
pub fn encode(adapter: &Adapter, architecture: &Architecture) -> io::Result<Files> {
    let scale = adapter.config.scale();
    let entries: Vec<_> = adapter
        .tensors
        .iter()
        .map(|(name, tensor)| Entry { name: name.clone(), dtype: DType::F32, shape: tensor.shape.to_vec() })
        .collect();
    let (mut model, mut modules) = (header(&entries)?, BTreeSet::new());
    for (name, tensor) in &adapter.tensors {
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no factor of an adapter"));
        let (module, factor) = Factor::parse(name).ok_or_else(unknown)?;
        modules.insert(module.to_owned());
        let scale = if factor == Factor::B { scale } else { 1.0 };
        // Minus zero becomes plus zero: a factor has one spelling.
        let scaled = tensor.values.iter().map(|&value| (f64::from(value) * scale) as f32 + 0.0);
        model.extend(scaled.flat_map(f32::to_le_bytes));
    }
    Ok(Files { config: settings(adapter.config.r, &modules, architecture), model })
}

/// The settings of an adapter that names no base.
pub fn settings(r: usize, modules: &BTreeSet<String>, architecture: &Architecture) -> Vec<u8> {
    portable_settings(r, &target_modules(modules, architecture).names(), None)
}

/// `adapter_config.json` in the portable profile, with the keys that PEFT 0.2 and later know, sorted: older readers refuse
/// unknown keys. It follows from rank, modules and base alone, so that nothing in the file of a published adapter is its
/// publisher's own to write: PEFT loads what was checked.
pub fn portable_settings(r: usize, target_modules: &[String], base: Option<&BaseId>) -> Vec<u8> {
    let fields = json!({
        "base_model_name_or_path": base.map(base_name),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": r,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": r,
        "target_modules": target_modules,
        "task_type": "CAUSAL_LM",
    });
    format!("{fields:#}\n").into_bytes()
}

/// What a published adapter calls its base: a name by the form of the hub's, which says which weights it means.
fn base_name(base: &BaseId) -> String {
    format!("base/{:.40}", base.to_string())
}

/// The shortest names that select exactly these modules: `q_proj` for the query projections of all layers, whole paths
/// where only some layers have one. Sorted.
pub fn target_modules(modules: &BTreeSet<String>, architecture: &Architecture) -> Targets {
    let mut names = BTreeSet::new();
    for linear in LINEARS {
        let path = |layer| format!("model.layers.{layer}.{linear}");
        let here: Vec<_> =
            (0..architecture.num_hidden_layers).map(path).filter(|path| modules.contains(path)).collect();
        if here.len() == architecture.num_hidden_layers as usize {
            names.insert(linear.rsplit('.').next().unwrap_or(linear).to_owned());
        } else {
            names.extend(here);
        }
    }
    Targets::Names(names.into_iter().collect())
}
