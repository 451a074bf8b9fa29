//! Gradients of a whole block, and of a whole model in its adapter.

use candle_core::Tensor;
use potluck_trainer::backend::candle::{CandleBackend, Element};
use potluck_trainer::backend::{AttentionShape, Backend, LoraPair, Residency};
use potluck_trainer::model::block::{Block, LINEAR_COUNT, Layer, Pairs};
use potluck_trainer::model::rope::Angles;

use crate::attention::{attention_auto, own_shape};
use crate::ops::{rms_norm_auto, rope_auto, swiglu_auto};
use crate::support::{Case, architecture, backend, frozen, noise, tensor, weighed, weighed_tensor, wide};

const HIDDEN: usize = 20;
const R: usize = 3;
const SCALE: f64 = 1.5;
const EPS: f64 = 1e-5;
/// `(out, in)` of the seven linear layers of `support::architecture`.
const LINEAR_SHAPES: [(usize, usize); LINEAR_COUNT] =
    [(24, 20), (8, 20), (8, 20), (20, 24), (26, 20), (26, 20), (20, 26)];

struct Frozen {
    linears: Vec<Vec<f64>>,
    norms: [Vec<f64>; 2],
    shape: AttentionShape,
    rows: usize,
}

impl Frozen {
    fn new(seed: u64) -> Self {
        let linears = LINEAR_SHAPES.iter().enumerate().map(|(i, (out, inner))| {
            noise(seed + i as u64, out * inner).iter().map(|x| x * (3.0 / *inner as f64).sqrt()).collect()
        });
        let norms = [20, 21].map(|i| noise(seed + i, HIDDEN).iter().map(|x| 1.0 + 0.3 * x).collect());
        let shape = own_shape(6, 2, 4, 5, &[5, 3]);
        Self { linears: linears.collect(), norms, rows: shape.spans.len() * shape.queries, shape }
    }

    fn layer<T: Element>(&self) -> Layer<CandleBackend<T>> {
        let b = backend::<T>();
        let linears = std::array::from_fn(|i| {
            let (out, inner) = LINEAR_SHAPES[i];
            b.upload(&frozen(&self.linears[i], out, inner), Residency::Quantised).unwrap()
        });
        let [input_norm, post_attention_norm] = [0, 1].map(|i| tensor::<T>(&self.norms[i], 1, HIDDEN));
        Layer { input_norm, post_attention_norm, linears }
    }

    /// Inputs: x, then A and B of each linear layer.
    fn run<T: Element>(&self, inputs: &[Vec<f64>], grad: &[f64]) -> (Tensor, Vec<Vec<f64>>) {
        let b = backend::<T>();
        let pairs: Pairs<Tensor> = std::array::from_fn(|i| {
            let (out, inner) = LINEAR_SHAPES[i];
            let (a, b) = (tensor::<T>(&inputs[1 + 2 * i], R, inner), tensor::<T>(&inputs[2 + 2 * i], out, R));
            vec![LoraPair { a, b, scale: SCALE }]
        });
        let angles = Angles::new(&b, &architecture(true), &self.shape).unwrap();
        let layer = self.layer::<T>();
        let block = Block { backend: &b, layer: &layer, pairs: &pairs, shape: &self.shape, angles: &angles, eps: EPS };
        let (y, saved) = block.forward(tensor::<T>(&inputs[0], self.rows, HIDDEN), None).unwrap();
        let mut grads = vec![Vec::new(); inputs.len()];
        let mut sink = |linear, _, grad: potluck_trainer::backend::LoraGrad<Tensor>| {
            let index = linear as usize;
            grads[1 + 2 * index] = wide(b.read(&grad.a)?);
            grads[2 + 2 * index] = wide(b.read(&grad.b)?);
            Ok(())
        };
        let dx = block.backward(tensor::<T>(grad, self.rows, HIDDEN), saved, &mut sink).unwrap();
        grads[0] = wide(b.read(&dx).unwrap());
        (y, grads)
    }

    fn auto<T: Element>(&self, inputs: &[Tensor]) -> Tensor {
        let angles = Angles::new(&backend::<T>(), &architecture(true), &self.shape).unwrap();
        let norm = |x: &Tensor, i: usize| rms_norm_auto(x, &tensor::<T>(&self.norms[i], 1, HIDDEN), EPS);
        let linear = |x: &Tensor, i: usize| {
            let (out, inner) = LINEAR_SHAPES[i];
            let w = tensor::<T>(&self.linears[i], out, inner);
            let h = (x.matmul(&inputs[1 + 2 * i].t().unwrap()).unwrap() * SCALE).unwrap();
            (x.matmul(&w.t().unwrap()).unwrap() + h.matmul(&inputs[2 + 2 * i].t().unwrap()).unwrap()).unwrap()
        };
        let x = &inputs[0];
        let normed = norm(x, 0);
        let turn = |x: Tensor| rope_auto(&x, &angles.cos, &angles.sin);
        let (q, k, v) = (turn(linear(&normed, 0)), turn(linear(&normed, 1)), linear(&normed, 2));
        let mid = (x + linear(&attention_auto(&q, &k, &v, &self.shape), 3)).unwrap();
        let normed = norm(&mid, 1);
        let product = swiglu_auto(&linear(&normed, 4), &linear(&normed, 5));
        (mid + linear(&product, 6)).unwrap()
    }
}

#[test]
fn a_whole_block() {
    let block = Frozen::new(100);
    let mut r = noise(7, block.rows * HIDDEN);
    // Rows of padding are read by nobody.
    for (row, r) in r.chunks_exact_mut(HIDDEN).enumerate() {
        if row % block.shape.queries >= block.shape.spans[row / block.shape.queries].length {
            r.fill(0.0);
        }
    }
    let mut shapes = vec![(block.rows, HIDDEN)];
    shapes.extend(LINEAR_SHAPES.iter().flat_map(|&(out, inner)| [(R, inner), (out, R)]));
    let inputs = shapes.iter().enumerate().map(|(i, (rows, cols))| {
        let amount = if i == 0 { 1.0 } else { 0.4 };
        noise(300 + i as u64, rows * cols).iter().map(|x| amount * x).collect()
    });
    Case {
        name: "block",
        inputs: inputs.collect(),
        shapes: shapes.clone(),
        loss: &|x| weighed(&block.run::<f64>(x, &r).0, &r),
        single: &|x| block.run::<f32>(x, &r).1,
        double: &|x| block.run::<f64>(x, &r).1,
        auto_single: &|x| weighed_tensor::<f32>(&block.auto::<f32>(x), &r),
        auto_double: &|x| weighed_tensor::<f64>(&block.auto::<f64>(x), &r),
    }
    .check();
}
