//! Reading an adapter: names, ranks and shapes against the architecture, finite values, the scale folded into B.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::{ADAPTER_BYTES_MAX, JSON_MAX, RANK_MAX};
use potluck_protocol::safetensors::{Layout, TensorView};
use potluck_protocol::tensor::DType;

use super::config::Settings;
use super::{CONFIG_FILE, MODEL_FILE, PeftError};
use crate::base::dequantise;
use crate::lora::adapter::{Adapter, AdapterTensor, Factor};
use crate::lora::config::LoraConfig;
use crate::peft::write::target_modules;

/// Padding to one rank may make an adapter so many times as large as its file, or this many bytes, so that a small
/// file cannot ask for a large memory.
const PADDING_FACTOR: u64 = 8;
const PADDING_FREE: u64 = 64 << 20;

/// Files that older PEFT writes instead of safetensors.
const PICKLE_FILE: &str = "adapter_model.bin";

/// Reads a folder that PEFT or potluck wrote, for a base of this architecture.
pub fn read(folder: &Path, architecture: &Architecture) -> Result<Adapter, PeftError> {
    let pickle = folder.join(PICKLE_FILE);
    if !folder.join(MODEL_FILE).exists() && pickle.exists() {
        return Err(PeftError::Pickle { path: pickle });
    }
    let config = read_file(&folder.join(CONFIG_FILE), JSON_MAX as u64)?;
    let model = read_file(&folder.join(MODEL_FILE), ADAPTER_BYTES_MAX)?;
    check(&config, &model, architecture)
}

fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, PeftError> {
    let io = |error| PeftError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > max {
        return Err(PeftError::TooLong { path: path.to_owned(), len, max });
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(max).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The adapter in the portable profile, if the contents of both files fit each other and the architecture. Pure: this
/// is what makes an adapter from the network well-formed. Names go through the architecture's own list of modules, so
/// that no name with `..` or of another model passes.
pub fn check(config: &[u8], model: &[u8], architecture: &Architecture) -> Result<Adapter, PeftError> {
    let settings = Settings::parse(config)?;
    let layout = Layout::parse(model, model.len())?;
    let modules = pair(&layout, architecture)?;
    let mut rank = 0;
    for (module, pair) in &modules {
        rank = rank.max(pair.check(module, &settings, architecture)?);
    }
    check_padding(&modules, rank, model.len())?;
    let mut tensors = BTreeMap::new();
    for (module, pair) in &modules {
        pair.load(module, settings.scale(module), rank, model, &mut tensors)?;
    }
    let target_modules = target_modules(&modules.into_keys().collect::<BTreeSet<_>>(), architecture);
    Ok(Adapter { config: LoraConfig::new(rank, rank as f32, target_modules), tensors })
}

/// The two factors of a module, in the file.
struct Pair<'a> {
    a: &'a TensorView,
    b: &'a TensorView,
}

/// Every tensor of the file is a factor of a module that the architecture has, and none lacks its other half.
fn pair<'a>(layout: &'a Layout, architecture: &Architecture) -> Result<BTreeMap<String, Pair<'a>>, PeftError> {
    let mut halves: BTreeMap<String, (Option<&TensorView>, Option<&TensorView>)> = BTreeMap::new();
    for view in &layout.tensors {
        let known = Factor::parse(&view.name).filter(|(module, _)| architecture.module_shape(module).is_some());
        let (module, factor) = known.ok_or_else(|| PeftError::Name { name: view.name.clone() })?;
        let half = halves.entry(module.to_owned()).or_default();
        match factor {
            Factor::A => half.0 = Some(view),
            Factor::B => half.1 = Some(view),
        }
    }
    if halves.is_empty() {
        return Err(PeftError::Empty);
    }
    let whole = halves.into_iter().map(|(module, half)| match half {
        (Some(a), Some(b)) => Ok((module, Pair { a, b })),
        (None, _) => Err(PeftError::Unpaired { module, factor: "lora_A" }),
        (_, None) => Err(PeftError::Unpaired { module, factor: "lora_B" }),
    });
    whole.collect()
}

fn check_padding(modules: &BTreeMap<String, Pair>, rank: usize, file: usize) -> Result<(), PeftError> {
    let elements = |pair: &Pair| rank as u64 * (pair.a.shape[1] as u64 + pair.b.shape[0] as u64);
    let padded = 4 * modules.values().map(elements).sum::<u64>();
    let fits = padded <= PADDING_FREE.max(PADDING_FACTOR * file as u64);
    if fits { Ok(()) } else { Err(PeftError::Padding { rank, padded, file }) }
}

impl Pair<'_> {
    /// The module's rank, if types, shapes and settings agree.
    fn check(&self, module: &str, settings: &Settings, architecture: &Architecture) -> Result<usize, PeftError> {
        for view in [self.a, self.b] {
            if !matches!(view.dtype, DType::F32 | DType::F16 | DType::BF16) {
                return Err(PeftError::Type { name: view.name.clone(), dtype: format!("{:?}", view.dtype) });
            }
        }
        let (out, inner) = architecture.module_shape(module).unwrap_or_default();
        let rank = self.a.shape.first().copied().unwrap_or(0);
        let shape = |view: &TensorView, wanted: [usize; 2], words: String| {
            let wrong = || PeftError::Shape { name: view.name.clone(), found: view.shape.clone(), wanted: words };
            if view.shape == wanted { Ok(()) } else { Err(wrong()) }
        };
        shape(self.a, [rank, inner as usize], format!("[r, {inner}]"))?;
        if !(1..=RANK_MAX as usize).contains(&rank) {
            return Err(PeftError::RankBounds { module: module.to_owned(), found: rank });
        }
        shape(self.b, [out as usize, rank], format!("[{out}, {rank}], as lora_A has rank {rank}"))?;
        let wanted = settings.rank(module);
        if rank != wanted {
            return Err(PeftError::Rank { module: module.to_owned(), found: rank, wanted });
        }
        Ok(rank)
    }

    /// Both factors with `rank` rows or columns, zeros behind the module's own, and the scale in B.
    fn load(
        &self,
        module: &str,
        scale: f64,
        rank: usize,
        model: &[u8],
        tensors: &mut BTreeMap<String, AdapterTensor>,
    ) -> Result<(), PeftError> {
        let [own, inner] = [self.a.shape[0], self.a.shape[1]];
        let mut a = values(self.a, model)?;
        a.resize(rank * inner, 0.0);
        tensors.insert(Factor::A.peft_name(module), AdapterTensor { shape: [rank, inner], values: a });
        let out = self.b.shape[0];
        let mut b = vec![0.0; out * rank];
        for (padded, row) in b.chunks_exact_mut(rank).zip(values(self.b, model)?.chunks_exact(own)) {
            for (value, &unscaled) in padded.iter_mut().zip(row) {
                // Rounded once; exact for the usual scales 1 and 2.
                *value = (f64::from(unscaled) * scale) as f32;
            }
        }
        if b.iter().any(|value| !value.is_finite()) {
            return Err(PeftError::NotFinite { name: self.b.name.clone() });
        }
        tensors.insert(Factor::B.peft_name(module), AdapterTensor { shape: [out, rank], values: b });
        Ok(())
    }
}

fn values(view: &TensorView, model: &[u8]) -> Result<Vec<f32>, PeftError> {
    let mut values = vec![0.0; view.shape.iter().product()];
    dequantise::sequential(view.dtype, &model[view.begin..view.end], &mut values);
    let finite = values.iter().all(|value| value.is_finite());
    finite.then_some(values).ok_or_else(|| PeftError::NotFinite { name: view.name.clone() })
}
