//! Adapters as objects: normalising, summing, folding.

use std::path::Path;

use potluck_protocol::id::FoldDigest;
use potluck_protocol::tensor::DType;
use potluck_trainer::merge::{fold as folding, sum as summing};
use serde::Serialize;

use super::open;
use crate::failure::{Failure, Outcome};
use crate::service::{Folded, Normalised};
use crate::worker::failures;
use crate::worker::proto::{AdapterSource, BaseSource, FloatType, FoldSource};

#[derive(Serialize)]
pub struct Summed {
    folder: std::path::PathBuf,
    rank: usize,
}

pub fn sum(base: &BaseSource, adapters: &[AdapterSource], out: &Path) -> Outcome<Summed> {
    let base = open::base(base)?;
    let adapters = open::adapters(&base, adapters)?;
    let weighted: Vec<_> = adapters.iter().map(|(adapter, weight)| (*weight, adapter)).collect();
    let summed = summing::sum(&weighted, base.architecture()).map_err(|error| failures::merge(&error))?;
    potluck_trainer::peft::write(out, &summed, "", &[]).map_err(|error| Failure::io(format!("write {}", out.display()), &error))?;
    Ok(Summed { folder: out.to_path_buf(), rank: summed.config.r })
}

/// Rule `fold-f32/1`. // I10
pub fn fold(base: &BaseSource, adapters: &[FoldSource], dtype: FloatType, out: Option<&Path>) -> Outcome<Folded> {
    let base = open::base(base)?;
    let read = |source: &FoldSource| {
        let adapter = potluck_trainer::peft::read(&source.folder, base.architecture());
        Ok((source.weight, adapter.map_err(|error| failures::peft(&source.folder, &error))?))
    };
    let adapters = adapters.iter().map(read).collect::<Outcome<Vec<_>>>()?;
    let weighted: Vec<_> = adapters.iter().map(|(weight, adapter)| (*weight, adapter)).collect();
    let dtype = match dtype {
        FloatType::F32 => DType::F32,
        FloatType::F16 => DType::F16,
        FloatType::Bf16 => DType::BF16,
    };
    let digest = match out {
        Some(out) => folding::to_folder(&base, &weighted, dtype, out),
        None => folding::digest(&base, &weighted, dtype),
    };
    Ok(Folded { digest: FoldDigest(digest.map_err(|error| failures::merge(&error))?) })
}

/// Checks a PEFT folder against its base and writes it in the portable profile.
pub fn normalise(base: &BaseSource, folder: &Path, out: &Path) -> Outcome<Normalised> {
    let base = open::base(base)?;
    let adapter = potluck_trainer::peft::read(folder, base.architecture()).map_err(|error| failures::peft(folder, &error))?;
    potluck_trainer::peft::write(out, &adapter, "", &[]).map_err(|error| Failure::io(format!("write {}", out.display()), &error))?;
    let read = |name: &str| std::fs::read(out.join(name)).map_err(|error| Failure::io(format!("read {}", out.display()), &error));
    let checked = potluck_trainer::peft::check(&read("adapter_config.json")?, &read("adapter_model.safetensors")?, base.architecture())
        .map_err(|error| failures::peft(out, &error))?;
    Ok(Normalised { r: checked.r, target_modules: checked.target_modules })
}
