//! Makes the weights of the embedded base `tiny`, with candle's autograd, from a seed and `synthetic::corpus`.
//!
//! ```text
//! cargo run --release -p potluck-trainer --example pretrain_tiny -- OUT_FOLDER [STEPS [SEED]]
//! ```
//!
//! writes `tokenizer.json` and `model.safetensors`. The files in `trainer/src/tiny` were made with the
//! defaults; their figures stand in `potluck_trainer::tiny`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what fails here fails the run"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var};
use potluck_trainer::oracle::Oracle;
use potluck_trainer::synthetic::Example;
use potluck_trainer::synthetic::corpus::Corpus;
use potluck_trainer::synthetic::rng::Rng;
use potluck_trainer::tiny;

const STEPS: usize = 6500;
const SEED: u64 = 1;
/// Rows a step.
const ROWS: usize = 32;
/// Batches drawn at once and sorted by length, so that little is padding.
const POOL: usize = 32;
const PEAK_RATE: f64 = 3e-3;
const WARM_UP: usize = 100;
const CLIP: f64 = 1.0;
/// Rows never trained on, by another seed, for the figures.
const TEST_SEED: u64 = u64::MAX;
const TEST_ROWS: usize = 512;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("name the folder to write, see the top of this file")?);
    let steps = args.next().map_or(Ok(STEPS), |text| text.parse())?;
    let seed = args.next().map_or(Ok(SEED), |text| text.parse())?;
    std::fs::create_dir_all(&folder)?;

    std::fs::write(folder.join("tokenizer.json"), tiny::tokenizer_json())?;
    let weights = initial(seed)?;
    train(&weights, steps, seed, &folder)?;
    Ok(())
}

/// Normal values of standard deviation `1 / sqrt(in)`, less for the two that write to the residual; norms are one.
fn initial(seed: u64) -> Result<BTreeMap<String, Var>> {
    let architecture = tiny::architecture();
    let depth = f64::from(2 * architecture.num_hidden_layers).sqrt();
    let mut rng = Rng::new(seed);
    let mut vars = BTreeMap::new();
    for (name, shape) in architecture.tensors() {
        let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
        let deviation = match &*name {
            "model.embed_tokens.weight" => 0.05,
            name if name.contains("o_proj") || name.contains("down_proj") => 1.0 / (shape[1] as f64).sqrt() / depth,
            _ => 1.0 / (*shape.last().unwrap_or(&1) as f64).sqrt(),
        };
        let is_norm = shape.len() == 1;
        let count = shape.iter().product();
        let values: Vec<f32> =
            (0..count).map(|_| if is_norm { 1.0 } else { (deviation * rng.normal()) as f32 }).collect();
        vars.insert(name, Var::from_vec(values, shape, &Device::Cpu)?);
    }
    Ok(vars)
}

fn oracle(weights: &BTreeMap<String, Var>, trained: bool) -> Result<Oracle> {
    let tensor = |var: &Var| if trained { var.as_tensor().clone() } else { var.as_detached_tensor() };
    Oracle::new(tiny::architecture(), weights.iter().map(|(name, var)| (name.clone(), tensor(var))).collect())
}

fn train(weights: &BTreeMap<String, Var>, steps: usize, seed: u64, folder: &Path) -> Result<()> {
    let model = oracle(weights, true)?;
    let mut optimiser = AdamW::new(weights)?;
    let mut corpus = Corpus::new(seed);
    let mut rng = Rng::new(seed);
    let mut batches = Vec::new();
    let (start, mut tokens, mut sum) = (Instant::now(), 0, 0.0);
    for step in 1..=steps {
        if batches.is_empty() {
            batches = pool(&mut corpus, &mut rng);
        }
        let Some(batch) = batches.pop() else { break };
        let (ids, labels) = encode(&batch)?;
        let loss = model.loss(&ids, &labels)?;
        optimiser.step(&loss, rate(step, steps))?;
        tokens += ids.elem_count();
        sum += loss.to_scalar::<f32>()?;
        if step % 100 == 0 {
            let speed = tokens as f64 / start.elapsed().as_secs_f64();
            eprintln!("step {step}  loss {:.3}  {tokens} tokens  {speed:.0} tokens/s", sum / 100.0);
            sum = 0.0;
        }
        if step % 500 == 0 || step == steps {
            eprintln!("step {step}  exact match on new rows {:.1} %", exact_match(&oracle(weights, false)?)?);
            save(weights, folder)?;
        }
    }
    Ok(())
}

/// The weights as they are now; the last call writes the result.
fn save(weights: &BTreeMap<String, Var>, folder: &Path) -> Result<()> {
    let tensors: HashMap<String, Tensor> =
        weights.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors"))
}

/// Warm-up, then a cosine down to a twentieth.
fn rate(step: usize, steps: usize) -> f64 {
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
    PEAK_RATE * (step as f64 / WARM_UP as f64).min(1.0) * (0.05 + 0.95 * cosine)
}

/// The next batches: rows of like length together, in a drawn order.
fn pool(corpus: &mut Corpus, rng: &mut Rng) -> Vec<Vec<Example>> {
    let mut rows: Vec<Example> = corpus.take(ROWS * POOL).collect();
    rows.sort_by_key(|row| row.prompt.len() + row.completion.len());
    let mut batches: Vec<Vec<Example>> = rows.chunks(ROWS).map(<[Example]>::to_vec).collect();
    rng.shuffle(&mut batches);
    batches
}

/// Padded ids `[rows, length]` and the labelled positions: the completion and the end.
fn encode(rows: &[Example]) -> Result<(Tensor, Vec<(u32, u32)>)> {
    let size = |row: &Example| row.prompt.len() + row.completion.len();
    let length = rows.iter().map(size).max().unwrap_or(0);
    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    for row in rows {
        let text: Vec<u32> = row.prompt.bytes().chain(row.completion.bytes()).map(tiny::byte_id).collect();
        let first = ids.len();
        for at in row.prompt.len()..=text.len() {
            labels.push(((first + at - 1) as u32, text.get(at).copied().unwrap_or(tiny::END_ID)));
        }
        ids.extend(&text);
        ids.resize(first + length, tiny::PAD_ID);
    }
    Ok((Tensor::from_vec(ids, (rows.len(), length), &Device::Cpu)?, labels))
}

/// How many in a hundred new rows are continued exactly: with the right text before each position, the most likely
/// token is right at every one, which is what greedy generation needs.
fn exact_match(model: &Oracle) -> Result<f64> {
    let rows: Vec<Example> = Corpus::new(TEST_SEED).take(TEST_ROWS).collect();
    let mut right = 0;
    for batch in rows.chunks(ROWS) {
        let (ids, labels) = encode(batch)?;
        let (_, length) = ids.dims2()?;
        let best = model.logits(&ids)?.argmax(2)?.flatten_all()?.to_vec1::<u32>()?;
        let mut exact = vec![true; batch.len()];
        for (position, token) in labels {
            exact[position as usize / length] &= best[position as usize] == token;
        }
        right += exact.iter().filter(|row| **row).count();
    }
    Ok(100.0 * right as f64 / rows.len() as f64)
}

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with the gradient's norm clipped.
struct AdamW {
    state: Vec<(Var, Tensor, Tensor)>,
    step: i32,
}

impl AdamW {
    const BETA_1: f64 = 0.9;
    const BETA_2: f64 = 0.98;
    const DECAY: f64 = 0.1;

    fn new(weights: &BTreeMap<String, Var>) -> Result<Self> {
        let zeros = |var: &Var| Tensor::zeros(var.shape(), DType::F32, var.device());
        let state = weights.values().map(|var| Ok((var.clone(), zeros(var)?, zeros(var)?))).collect::<Result<_>>()?;
        Ok(Self { state, step: 0 })
    }

    fn step(&mut self, loss: &Tensor, rate: f64) -> Result<()> {
        self.step += 1;
        let gradients = loss.backward()?;
        let mut found = Vec::new();
        let mut squares = 0.0;
        for (var, ..) in &self.state {
            let Some(gradient) = gradients.get(var) else { candle_core::bail!("a weight without a gradient") };
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            found.push(gradient);
        }
        let clip = (CLIP / squares.sqrt()).min(1.0);
        for ((var, first, second), gradient) in self.state.iter_mut().zip(found) {
            let gradient = (gradient * clip)?;
            *first = ((&*first * Self::BETA_1)? + (&gradient * (1.0 - Self::BETA_1))?)?;
            *second = ((&*second * Self::BETA_2)? + (gradient.sqr()? * (1.0 - Self::BETA_2))?)?;
            let mean = (&*first / (1.0 - Self::BETA_1.powi(self.step)))?;
            let spread = ((&*second / (1.0 - Self::BETA_2.powi(self.step)))?.sqrt()? + 1e-8)?;
            // Norm weights are not pulled to zero.
            let decay = if var.rank() > 1 { Self::DECAY } else { 0.0 };
            let kept = (var.as_tensor() * (1.0 - rate * decay))?;
            var.set(&(kept - (mean.div(&spread)? * rate)?)?)?;
        }
        Ok(())
    }
}
