//! What the two files say before a value is read: which modules there are, where each factor lies, its rank and scale;
//! all of it held against the architecture. Whoever reads values ([`super::read()`] all at once, [`super::Stored`] one
//! module at a time) goes through here, so that both understand a file alike.

use std::collections::BTreeMap;

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::RANK_MAX;
use potluck_protocol::safetensors::{Layout, TensorView};
use potluck_protocol::tensor::DType;

use super::PeftError;
use super::config::Settings;
use crate::lora::adapter::Factor;
use crate::lora::factors::FactorsError;
use crate::tensor::dequantise;

/// Padding to one rank may make an adapter so many times as large as its file, or this many bytes, so that a small
/// file cannot ask for a large memory.
const PADDING_FACTOR: u64 = 8;
const PADDING_FREE: u64 = 64 << 20;

/// Rows and columns of a module's matrix; `None` if the base has no such module.
type Shapes<'a> = &'a dyn Fn(&str) -> Option<(u64, u64)>;

/// A file's modules, in the portable profile.
#[derive(Debug)]
pub struct Plan {
    /// By path, sorted.
    pub modules: BTreeMap<String, Placed>,
    /// The one rank: the largest.
    pub rank: usize,
}

/// A module's two factors in the file.
#[derive(Debug)]
pub struct Placed {
    pub a: TensorView,
    pub b: TensorView,
    /// What `B A` is multiplied with.
    scale: f64,
}

impl Plan {
    /// Names go through the architecture's own list of modules, so that no name with `..` or of another model passes.
    /// // I6
    pub fn new(config: &[u8], layout: Layout, architecture: &Architecture) -> Result<Self, PeftError> {
        let shapes = |module: &str| {
            let (out, inner) = architecture.module_shape(module)?;
            Some((u64::from(out), u64::from(inner)))
        };
        Self::of(config, layout, &shapes)
    }

    /// The same where no base is at hand: each module has the shape that its own factors give it.
    pub fn apart(config: &[u8], layout: Layout) -> Result<Self, PeftError> {
        let mut own: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for view in &layout.tensors {
            if let (Some((module, factor)), [rows, columns]) = (Factor::parse(&view.name), &view.shape[..]) {
                let shape = own.entry(module.to_owned()).or_default();
                match factor {
                    Factor::A => shape.1 = *columns as u64,
                    Factor::B => shape.0 = *rows as u64,
                }
            }
        }
        Self::of(config, layout, &|module| own.get(module).copied())
    }

    fn of(config: &[u8], layout: Layout, shapes: Shapes<'_>) -> Result<Self, PeftError> {
        let (settings, file) = (Settings::parse(config)?, layout.file_len);
        let modules = pair(layout, &settings, shapes)?;
        let mut rank = 0;
        for (module, placed) in &modules {
            rank = rank.max(placed.check(module, &settings, shapes)?);
        }
        let plan = Self { modules, rank };
        plan.check_padding(file)?;
        Ok(plan)
    }

    fn check_padding(&self, file: usize) -> Result<(), PeftError> {
        let Self { modules, rank } = self;
        let elements = |placed: &Placed| *rank as u64 * (placed.a.shape[1] as u64 + placed.b.shape[0] as u64);
        let padded = 4 * modules.values().map(elements).sum::<u64>();
        let fits = padded <= PADDING_FREE.max(PADDING_FACTOR * file as u64);
        if fits { Ok(()) } else { Err(PeftError::Padding { rank: *rank, padded, file }) }
    }
}

/// Every tensor of the file is a factor of a module that the architecture has, and none lacks its other half.
fn pair(layout: Layout, settings: &Settings, shapes: Shapes<'_>) -> Result<BTreeMap<String, Placed>, PeftError> {
    let mut halves: BTreeMap<String, (Option<TensorView>, Option<TensorView>)> = BTreeMap::new();
    for view in layout.tensors {
        let known = Factor::parse(&view.name).filter(|(module, _)| shapes(module).is_some());
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
        (Some(a), Some(b)) => {
            let scale = settings.scale(&module);
            Ok((module, Placed { a, b, scale }))
        }
        (None, _) => Err(PeftError::Unpaired { module, factor: "lora_A" }),
        (_, None) => Err(PeftError::Unpaired { module, factor: "lora_B" }),
    });
    whole.collect()
}

impl Placed {
    /// The module's rank, if types, shapes and settings agree.
    fn check(&self, module: &str, settings: &Settings, shapes: Shapes<'_>) -> Result<usize, PeftError> {
        for view in [&self.a, &self.b] {
            if !matches!(view.dtype, DType::F32 | DType::F16 | DType::BF16) {
                return Err(PeftError::Type { name: view.name.clone(), dtype: format!("{:?}", view.dtype) });
            }
        }
        let (out, inner) = shapes(module).unwrap_or_default();
        let rank = self.a.shape.first().copied().unwrap_or(0);
        let shape = |view: &TensorView, wanted: [usize; 2], words: String| {
            let wrong = || PeftError::Shape { name: view.name.clone(), found: view.shape.clone(), wanted: words };
            if view.shape == wanted { Ok(()) } else { Err(wrong()) }
        };
        shape(&self.a, [rank, inner as usize], format!("[r, {inner}]"))?;
        if !(1..=RANK_MAX as usize).contains(&rank) {
            return Err(PeftError::RankBounds { module: module.to_owned(), found: rank });
        }
        shape(&self.b, [out as usize, rank], format!("[{out}, {rank}], as lora_A has rank {rank}"))?;
        let wanted = settings.rank(module);
        if rank != wanted {
            return Err(PeftError::Rank { module: module.to_owned(), found: rank, wanted });
        }
        Ok(rank)
    }

    /// What `B A` is multiplied with.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// A with `rank` rows, zeros below the module's own.
    pub fn a(&self, bytes: &[u8], rank: usize) -> Result<Vec<f32>, FactorsError> {
        let mut a = values(&self.a, bytes)?;
        a.resize(rank * self.a.shape[1], 0.0);
        Ok(a)
    }

    /// B with `rank` columns, zeros beside the module's own, and the scale in it.
    pub fn b(&self, bytes: &[u8], rank: usize) -> Result<Vec<f32>, FactorsError> {
        let [out, own] = [self.b.shape[0], self.b.shape[1]];
        let unscaled = values(&self.b, bytes)?;
        let mut b = vec![0.0; out * rank];
        for (padded, row) in b.chunks_exact_mut(rank).zip(unscaled.chunks_exact(own)) {
            for (value, &unscaled) in padded.iter_mut().zip(row) {
                // Rounded once; exact for the usual scales 1 and 2.
                *value = (f64::from(unscaled) * self.scale) as f32;
            }
        }
        finite(b, &self.b)
    }
}

fn values(view: &TensorView, bytes: &[u8]) -> Result<Vec<f32>, FactorsError> {
    let mut values = vec![0.0; view.shape.iter().product()];
    dequantise::sequential(view.dtype, bytes, &mut values);
    finite(values, view)
}

fn finite(values: Vec<f32>, view: &TensorView) -> Result<Vec<f32>, FactorsError> {
    let finite = values.iter().all(|value| value.is_finite());
    finite.then_some(values).ok_or_else(|| FactorsError::NotFinite { name: view.name.clone() })
}
