//! The whole model: embedding, blocks, final norm and output projection, forward and backward.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use potluck_protocol::base::{Architecture, Family, LINEARS};

use super::ModelError;
use super::batch::{Batch, Keys, attention_shape};
use super::block::{Block, Layer, Linear, Recompute, Saved};
use super::cache::Cache;
use super::rope::Angles;
use crate::backend::{self, AttentionShape, Backend, BackendError, LoraGrad, Residency, Target};
use crate::lora::attached::Attached;
use crate::tensor::HostTensor;
use crate::weights::Weights;

type Result<T, E = ModelError> = std::result::Result<T, E>;

/// A frozen model on a device.
pub struct Model<B: Backend> {
    backend: B,
    architecture: Architecture,
    embedding: B::Weight,
    layers: Vec<Layer<B>>,
    norm: B::Buf,
    /// `None` where the embedding is the output projection.
    head: Option<B::Weight>,
    stop: Arc<AtomicBool>,
}

/// The geometry of one pass over a batch.
struct Pass<Buf> {
    shape: AttentionShape,
    angles: Angles<Buf>,
}

/// All blocks' forward pass: the last one's output, and what each left behind.
struct Forwarded<Buf> {
    output: Buf,
    saved: Vec<Saved<Buf>>,
}

impl<B: Backend> Model<B> {
    /// Reads every tensor of the architecture; quantised ones stay quantised.
    pub fn load(backend: B, weights: &dyn Weights) -> Result<Self> {
        Self::load_as(backend, weights, Residency::Quantised)
    }

    /// The same, with the choice of how quantised tensors lie in memory.
    pub fn load_as(backend: B, weights: &dyn Weights, residency: Residency) -> Result<Self> {
        let architecture = weights.architecture().clone();
        architecture.check().map_err(|fault| ModelError::Architecture(fault.to_string()))?;
        match architecture.family {
            Family::Llama => {}
        }
        let loader = Loader { weights, architecture: &architecture };
        let matrix = |name: &str| Ok::<_, ModelError>(backend.upload(&loader.tensor(name)?, residency)?);
        let vector = |name: &str| Ok::<_, ModelError>(backend.vector(&loader.tensor(name)?)?);
        let layer = |index: u32| {
            let path = format!("model.layers.{index}");
            let [q, k, v, o, gate, up, down] = LINEARS.map(|linear| matrix(&format!("{path}.{linear}.weight")));
            Ok(Layer {
                input_norm: vector(&format!("{path}.input_layernorm.weight"))?,
                post_attention_norm: vector(&format!("{path}.post_attention_layernorm.weight"))?,
                linears: [q?, k?, v?, o?, gate?, up?, down?],
            })
        };
        let layers = (0..architecture.num_hidden_layers).map(layer).collect::<Result<_>>()?;
        let head = (!architecture.tie_word_embeddings).then(|| matrix("lm_head.weight")).transpose()?;
        let (embedding, norm) = (matrix("model.embed_tokens.weight")?, vector("model.norm.weight")?);
        Ok(Self { backend, architecture, embedding, layers, norm, head, stop: Arc::default() })
    }

    /// Once the flag is set, a pass through the model ends before its next block with [`ModelError::Stopped`]: a step over
    /// a large base takes minutes, and whoever wants it to end waits for seconds.
    #[must_use]
    pub fn stopped_by(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// What the model computes on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// All frozen matrices.
    pub fn weights(&self) -> impl Iterator<Item = &B::Weight> {
        let layers = self.layers.iter().flat_map(|layer| &layer.linears);
        std::iter::once(&self.embedding).chain(layers).chain(&self.head)
    }

    /// The shape of the model.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Normalised hidden states of a batch, `[rows, hidden_size]`, each sequence on its own.
    pub fn hidden(&self, batch: &Batch, adapters: &Attached<B>) -> Result<B::Buf> {
        let pass = self.pass(batch, Keys::Own)?;
        let mut x = self.embed(batch)?;
        for index in 0..self.layers.len() {
            x = self.block(index, adapters, &pass)?.forward(x, None)?.0;
        }
        self.final_norm(&x)
    }

    /// The same for tokens that follow what a cache holds. `slots[i]` is the cache's sequence for the batch's `i`.
    pub fn hidden_cached(
        &self,
        batch: &Batch,
        slots: &[usize],
        cache: &mut Cache<B>,
        adapters: &Attached<B>,
    ) -> Result<B::Buf> {
        for (sequence, (&slot, &got)) in slots.iter().zip(batch.lengths()).enumerate() {
            let max = cache.room(slot);
            if got > max {
                return Err(ModelError::Length { sequence, got, max });
            }
        }
        let keys = Keys::Cached { slots, filled: &cache.filled, capacity: cache.capacity };
        let pass = self.pass(batch, keys)?;
        let mut x = self.embed(batch)?;
        for (index, layer_cache) in cache.layers.iter_mut().enumerate() {
            x = self.block(index, adapters, &pass)?.forward(x, Some(layer_cache))?.0;
        }
        for (&slot, &length) in slots.iter().zip(batch.lengths()) {
            cache.filled[slot] += length;
        }
        self.final_norm(&x)
    }

    /// Logits of each row, `[rows, vocab_size]`; for small batches, since they exist whole.
    pub fn logits(&self, hidden: &B::Buf) -> Result<B::Buf> {
        let projection = backend::Linear { weight: self.projection(), pairs: &[] };
        let logits = self.backend.project(hidden, &[projection], None)?.ys.pop();
        Ok(logits.ok_or(BackendError::Size { what: "outputs", got: 0, expected: 1 })?)
    }

    /// The most likely next token of some rows.
    pub fn greedy(&self, hidden: &B::Buf, rows: &[usize]) -> Result<Vec<u32>> {
        Ok(self.backend.head_argmax(&self.backend.gather(hidden, rows)?, self.projection())?)
    }

    /// `-ln p` of each target.
    pub fn losses(&self, batch: &Batch, targets: &[Target], adapters: &Attached<B>) -> Result<Vec<f64>> {
        let hidden = self.hidden(batch, adapters)?;
        Ok(self.backend.head_loss(&hidden, self.projection(), targets, None)?.losses)
    }

    /// `-ln p` of each target; gradients of `scale * sum` in each LoRA pair go to `sink(layer, linear, pair, ..)`.
    pub fn losses_and_gradients(
        &self,
        batch: &Batch,
        targets: &[Target],
        adapters: &Attached<B>,
        training: Training<'_, B::Buf>,
    ) -> Result<Vec<f64>> {
        let pass = self.pass(batch, Keys::Own)?;
        let Forwarded { output: x, saved } =
            self.forward_saved(self.embed(batch)?, adapters, &pass, training.recompute)?;
        let hidden = self.final_norm(&x)?;
        let head = self.backend.head_loss(&hidden, self.projection(), targets, Some(training.scale))?;
        drop(hidden);
        if let Some(d_hidden) = head.d_hidden {
            let dy = self.backend.rms_norm_grad(&d_hidden, &x, &self.norm, self.eps(), None)?;
            drop((d_hidden, x));
            self.backward_saved(dy, saved, adapters, &pass, training.sink)?;
        }
        Ok(head.losses)
    }

    /// All blocks forward.
    fn forward_saved(
        &self,
        mut x: B::Buf,
        adapters: &Attached<B>,
        pass: &Pass<B::Buf>,
        recompute: Recompute,
    ) -> Result<Forwarded<B::Buf>> {
        let mut all = Vec::with_capacity(self.layers.len());
        for index in 0..self.layers.len() {
            let (y, saved) = self.block(index, adapters, pass)?.forward(x, None)?;
            all.push(saved.without(recompute));
            x = y;
        }
        Ok(Forwarded { output: x, saved: all })
    }

    /// All blocks backward, down to the first, whose input nothing trains.
    fn backward_saved(
        &self,
        mut dy: B::Buf,
        saved: Vec<Saved<B::Buf>>,
        adapters: &Attached<B>,
        pass: &Pass<B::Buf>,
        sink: &mut GradientSink<'_, B::Buf>,
    ) -> Result<()> {
        for (index, saved) in saved.into_iter().enumerate().rev() {
            let mut sink = |linear: Linear, pair, grad| sink(index, linear as usize, pair, grad);
            match self.block(index, adapters, pass)?.backward(dy, saved, index > 0, &mut sink)? {
                Some(dx) => dy = dx,
                None => break,
            }
        }
        Ok(())
    }

    /// A block, unless the pass is to end here.
    fn block<'a>(&'a self, index: usize, adapters: &'a Attached<B>, pass: &'a Pass<B::Buf>) -> Result<Block<'a, B>> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ModelError::Stopped);
        }
        Ok(Block {
            backend: &self.backend,
            layer: &self.layers[index],
            pairs: adapters.pairs(index),
            shape: &pass.shape,
            angles: &pass.angles,
            eps: self.eps(),
        })
    }

    fn pass(&self, batch: &Batch, keys: Keys<'_>) -> Result<Pass<B::Buf>> {
        let shape = attention_shape(&self.architecture, batch, keys);
        let angles = Angles::new(&self.backend, &self.architecture, &shape)?;
        Ok(Pass { shape, angles })
    }

    fn embed(&self, batch: &Batch) -> Result<B::Buf> {
        let vocabulary = self.architecture.vocab_size as usize;
        match batch.ids().iter().find(|&&id| id as usize >= vocabulary) {
            Some(&id) => Err(ModelError::Token { id, vocabulary }),
            None => Ok(self.backend.embed(&self.embedding, batch.ids())?),
        }
    }

    fn final_norm(&self, x: &B::Buf) -> Result<B::Buf> {
        Ok(self.backend.rms_norm(x, &self.norm, self.eps())?)
    }

    fn eps(&self) -> f64 {
        self.architecture.rms_norm_eps.get().into()
    }

    fn projection(&self) -> &B::Weight {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Takes a LoRA pair's gradients: layer, linear layer (index in `LINEARS`), index of the pair, gradients.
pub type GradientSink<'a, Buf> = dyn FnMut(usize, usize, usize, LoraGrad<Buf>) -> backend::Result<()> + 'a;

/// What a training pass is asked for.
pub struct Training<'a, Buf> {
    /// The gradients are those of `scale * sum(losses)`.
    pub scale: f64,
    /// What the backward pass computes again.
    pub recompute: Recompute,
    /// Called with the gradients of each pair, from the last block to the first.
    pub sink: &'a mut GradientSink<'a, Buf>,
}

/// Tensors from a source, held against the architecture.
struct Loader<'a> {
    weights: &'a dyn Weights,
    architecture: &'a Architecture,
}

impl Loader<'_> {
    fn tensor(&self, name: &str) -> Result<HostTensor> {
        let source = |source| ModelError::Tensor { name: name.to_owned(), source };
        let tensor = self.weights.tensor(name).map_err(source)?;
        let expected = self.shape(name);
        if tensor.shape != expected {
            return Err(ModelError::Shape { name: name.to_owned(), got: tensor.shape, expected });
        }
        Ok(tensor)
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        let size = |size: u32| size as usize;
        let (vocabulary, hidden) = (size(self.architecture.vocab_size), size(self.architecture.hidden_size));
        let module = name.strip_suffix(".weight").unwrap_or(name);
        match self.architecture.module_shape(module) {
            Some((out, inner)) => vec![size(out), size(inner)],
            None if module.ends_with("norm") => vec![hidden],
            None => vec![vocabulary, hidden],
        }
    }
}
