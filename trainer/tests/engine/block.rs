//! Gradients of a whole block, whatever of it is computed again.

use candle_core::Tensor;
use potluck_trainer::backend::{AttentionShape, Backend, LoraGrad, LoraPair, Trains};
use potluck_trainer::lora::attached::{LINEAR_COUNT, Pairs};
use potluck_trainer::model::block::{Block, Layer, Recompute};
use potluck_trainer::model::rope::Angles;

use crate::attention::{attention_auto, own_shape};
use crate::operation::{Input, Operation, check, on_every_backend};
use crate::ops::{rms_norm_auto, rope_auto, swiglu_auto};
use crate::support::{architecture, backend, buffer, noise, read, tensor, weight};

on_every_backend!(a_whole_block, recomputation_changes_no_bit, a_gradient_that_is_not_wanted_changes_no_other);

const HIDDEN: usize = 20;
const R: usize = 3;
const SCALE: f64 = 1.5;
const EPS: f64 = 1e-5;
/// `(out, in)` of the seven linear layers of `support::architecture`.
const LINEAR_SHAPES: [(usize, usize); LINEAR_COUNT] =
    [(24, 20), (8, 20), (8, 20), (20, 24), (26, 20), (26, 20), (20, 26)];

/// The inputs are x, then A and B of each linear layer.
struct WholeBlock {
    linears: Vec<Vec<f64>>,
    norms: [Vec<f64>; 2],
    shape: AttentionShape,
    recompute: Recompute,
    wants_dx: bool,
}

impl WholeBlock {
    fn new(seed: u64) -> Self {
        let linears = LINEAR_SHAPES.iter().enumerate().map(|(i, (out, inner))| {
            noise(seed + i as u64, out * inner).iter().map(|x| x * (3.0 / *inner as f64).sqrt()).collect()
        });
        let norms = [20, 21].map(|i| noise(seed + i, HIDDEN).iter().map(|x| 1.0 + 0.3 * x).collect());
        let shape = own_shape(6, 2, 4, &[5, 3]);
        Self { linears: linears.collect(), norms, shape, recompute: Recompute::None, wants_dx: true }
    }

    /// The output and, given its gradient, the gradients in the inputs.
    fn run<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: Option<&[f64]>) -> (Vec<f64>, Vec<Option<Vec<f64>>>) {
        let rows = self.shape.rows();
        let linears = std::array::from_fn(|i| weight(b, &self.linears[i], LINEAR_SHAPES[i].0, LINEAR_SHAPES[i].1));
        let [input_norm, post_attention_norm] = [0, 1].map(|i| buffer(b, &self.norms[i], 1, HIDDEN));
        let layer = Layer { input_norm, post_attention_norm, linears };
        let pairs: Pairs<B::Buf> = std::array::from_fn(|i| {
            let (out, inner) = LINEAR_SHAPES[i];
            let (a, b) = (buffer(b, &inputs[1 + 2 * i], R, inner), buffer(b, &inputs[2 + 2 * i], out, R));
            vec![LoraPair { a, b, scale: SCALE, dropout: None, trains: Trains::BOTH }]
        });
        let angles = Angles::new(b, &architecture(true), &self.shape).unwrap();
        let block = Block { backend: b, layer: &layer, pairs: &pairs, shape: &self.shape, angles: &angles, eps: EPS };
        let (y, saved) = block.forward(buffer(b, &inputs[0], rows, HIDDEN), None).unwrap();
        let mut grads = vec![None; inputs.len()];
        if let Some(r) = r {
            let mut sink = |linear, _, grad: LoraGrad<B::Buf>| {
                let index = linear as usize;
                grads[1 + 2 * index] = grad.a.map(|a| read(b, &a));
                grads[2 + 2 * index] = grad.b.map(|factor| read(b, &factor));
                Ok(())
            };
            let saved = saved.without(self.recompute);
            let dx = block.backward(buffer(b, r, rows, HIDDEN), saved, self.wants_dx, &mut sink).unwrap();
            grads[0] = dx.map(|dx| read(b, &dx));
        }
        (read(b, &y), grads)
    }
}

impl Operation for WholeBlock {
    const NAME: &'static str = "block";

    fn inputs(&self) -> Vec<Input> {
        let mut shapes = vec![(self.shape.rows(), HIDDEN)];
        shapes.extend(LINEAR_SHAPES.iter().flat_map(|&(out, inner)| [(R, inner), (out, R)]));
        let inputs = shapes
            .iter()
            .enumerate()
            .map(|(i, &(rows, cols))| Input::noise(300 + i as u64, rows, cols, if i == 0 { 1.0 } else { 0.4 }));
        inputs.collect()
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        self.run(b, inputs, None).0
    }

    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        let grads = self.run(b, inputs, Some(r)).1;
        assert!(grads.iter().skip(1).all(Option::is_some));
        grads
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        let angles = Angles::new(&backend::<f64>(), &architecture(true), &self.shape).unwrap();
        let norm = |x: &Tensor, i: usize| rms_norm_auto(x, &tensor(&self.norms[i], 1, HIDDEN), EPS);
        let linear = |x: &Tensor, i: usize| {
            let (out, inner) = LINEAR_SHAPES[i];
            let w = tensor(&self.linears[i], out, inner);
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

fn gradients(block: &WholeBlock, b: &impl Backend) -> Vec<Option<Vec<f64>>> {
    let values: Vec<Vec<f64>> = block.inputs().into_iter().map(|input| input.values).collect();
    block.backward(b, &values, &noise(7, block.shape.rows() * HIDDEN))
}

fn a_whole_block(b: &impl Backend, tolerance: f64) {
    check(&WholeBlock::new(100), b, tolerance);
}

fn recomputation_changes_no_bit(b: &impl Backend, _: f64) {
    let kept = gradients(&WholeBlock::new(100), b);
    for recompute in [Recompute::Selective, Recompute::Full] {
        assert_eq!(gradients(&WholeBlock { recompute, ..WholeBlock::new(100) }, b), kept, "{recompute:?}");
    }
}

fn a_gradient_that_is_not_wanted_changes_no_other(b: &impl Backend, _: f64) {
    let (all, without) =
        (gradients(&WholeBlock::new(100), b), gradients(&WholeBlock { wants_dx: false, ..WholeBlock::new(100) }, b));
    assert!(without[0].is_none());
    assert_eq!(without[1..], all[1..]);
}
