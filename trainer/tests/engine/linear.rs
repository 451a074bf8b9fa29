//! Linear layers that read the same rows, with their LoRA pairs, dropout and the residual stream.

use candle_core::{Device, Tensor};
use potluck_trainer::backend::{Backend, Dropout, Linear, LoraPair, Trains};
use potluck_trainer::random::splitmix64;

use crate::operation::{Input, Operation, check, on_every_backend};
use crate::support::{backend, buffer, noise, read, size, tensor, weight};

on_every_backend!(no_pairs, pairs_on_some_layers, dropout, factors_that_are_not_trained, onto_the_residual_stream);

const SCALE: f64 = 1.75;

#[derive(Clone, Copy)]
struct Pair {
    r: usize,
    /// Probability and key.
    dropout: Option<(f32, u64)>,
    trains: Trains,
}

impl Pair {
    const fn new(r: usize) -> Self {
        Self { r, dropout: None, trains: Trains::BOTH }
    }
}

/// A layer's width and its pairs.
type Layer = (usize, Vec<Pair>);

/// The inputs are x, then A and B of each pair of each layer.
struct Project {
    seed: u64,
    rows: usize,
    inner: usize,
    layers: Vec<Layer>,
    onto: bool,
    wants_dx: bool,
}

impl Project {
    fn new(seed: u64, layers: Vec<Layer>) -> Self {
        let (rows, inner) = (size(seed, 1, 9), size(seed + 50, 1, 11));
        Self { seed, rows, inner, layers, onto: false, wants_dx: true }
    }

    fn weight(&self, layer: usize) -> Vec<f64> {
        noise(self.seed + 500 + layer as u64, self.layers[layer].0 * self.inner)
    }

    fn residual(&self) -> Option<Vec<f64>> {
        self.onto.then(|| noise(self.seed + 600, self.rows * self.layers[0].0))
    }

    /// Weights and pairs of each layer on a backend, and x.
    fn load<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> (Vec<Loaded<B>>, B::Buf) {
        let mut factors = inputs[1..].iter();
        let mut factor = |rows, cols| buffer(b, factors.next().unwrap(), rows, cols);
        let layers = self.layers.iter().enumerate().map(|(index, (out, pairs))| {
            let pairs = pairs.iter().map(|pair| LoraPair {
                a: factor(pair.r, self.inner),
                b: factor(*out, pair.r),
                scale: SCALE,
                dropout: pair.dropout.map(|(p, key)| Dropout { p, key, rows: (0..self.rows).map(name).collect() }),
                trains: pair.trains,
            });
            let pairs = pairs.collect();
            (weight(b, &self.weight(index), *out, self.inner), pairs)
        });
        (layers.collect(), buffer(b, &inputs[0], self.rows, self.inner))
    }
}

/// A weight with its pairs.
type Loaded<B> = (<B as Backend>::Weight, Vec<LoraPair<<B as Backend>::Buf>>);

fn applied<B: Backend>(layers: &[Loaded<B>]) -> Vec<Linear<'_, B>> {
    layers.iter().map(|(weight, pairs)| Linear { weight, pairs }).collect()
}

impl Operation for Project {
    const NAME: &'static str = "project";

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = vec![Input::noise(self.seed, self.rows, self.inner, 1.0)];
        for (out, pairs) in &self.layers {
            for pair in pairs {
                let seed = self.seed + 100 + inputs.len() as u64;
                inputs.push(Input::noise(seed, pair.r, self.inner, 1.0));
                inputs.push(Input::noise(seed + 1, *out, pair.r, 1.0));
            }
        }
        inputs
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        let (layers, x) = self.load(b, inputs);
        let onto = self.residual().map(|values| buffer(b, &values, self.rows, self.layers[0].0));
        let projected = b.project(&x, &applied(&layers), onto.as_ref()).unwrap();
        assert_eq!(projected.ys.len(), self.layers.len());
        projected.ys.iter().flat_map(|y| read(b, y)).collect()
    }

    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        let (layers, x) = self.load(b, inputs);
        let h = b.project(&x, &applied(&layers), None).unwrap().h;
        let mut rest = r;
        let dys = self.layers.iter().map(|(out, _)| {
            let part = rest.split_off(..self.rows * out).unwrap();
            buffer(b, part, self.rows, *out)
        });
        let dys: Vec<B::Buf> = dys.collect();
        let dys: Vec<&B::Buf> = dys.iter().collect();
        let grad = b.project_grad(&dys, &x, &h, &applied(&layers), self.wants_dx).unwrap();
        assert_eq!(grad.dx.is_some(), self.wants_dx);
        let mut all = vec![grad.dx.map(|dx| read(b, &dx))];
        assert_eq!(grad.pairs.len(), self.layers.len());
        for ((_, pairs), grads) in self.layers.iter().zip(grad.pairs) {
            assert_eq!(pairs.len(), grads.len());
            for (pair, grad) in pairs.iter().zip(grads) {
                assert_eq!((grad.a.is_some(), grad.b.is_some()), (pair.trains.a, pair.trains.b));
                all.extend([grad.a, grad.b].map(|factor| factor.map(|factor| read(b, &factor))));
            }
        }
        all
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        let x = &inputs[0];
        let mut factors = inputs[1..].chunks(2);
        let times = |x: &Tensor, w: &Tensor| x.matmul(&w.t().unwrap()).unwrap();
        let ys = self.layers.iter().enumerate().map(|(index, (out, pairs))| {
            let mut y = times(x, &tensor(&self.weight(index), *out, self.inner));
            for pair in pairs {
                let factors = factors.next().unwrap();
                let x = (x * mask(pair.dropout, self.rows, self.inner)).unwrap();
                y = (y + times(&(times(&x, &factors[0]) * SCALE).unwrap(), &factors[1])).unwrap();
            }
            if let Some(residual) = self.residual() {
                y = (y + tensor(&residual, self.rows, *out)).unwrap();
            }
            y.flatten_all().unwrap()
        });
        Tensor::cat(&ys.collect::<Vec<_>>(), 0).unwrap()
    }
}

/// A row's name: of no order, as in a packed batch.
fn name(row: usize) -> u64 {
    splitmix64(row as u64 + 77)
}

/// The rule as it is documented at `Dropout`, in other words.
fn mask(dropout: Option<(f32, u64)>, rows: usize, cols: usize) -> Tensor {
    let element = |row: usize, column: u64| match dropout {
        None => 1.0,
        Some((p, key)) => {
            let row = splitmix64(key.wrapping_add(name(row)));
            let draw = (splitmix64(row.wrapping_add(column)) / (1 << 40)) as f64 / 16_777_216.0;
            if draw < f64::from(p) { 0.0 } else { 1.0 / (1.0 - f64::from(p)) }
        }
    };
    let values: Vec<f64> = (0..rows).flat_map(|row| (0..cols as u64).map(move |column| element(row, column))).collect();
    Tensor::from_vec(values, (rows, cols), &Device::Cpu).unwrap()
}

fn no_pairs(b: &impl Backend, tolerance: f64) {
    for seed in 0..3 {
        let layers = (0..=seed).map(|i| (size(seed + 60 + i, 1, 11), vec![])).collect();
        check(&Project::new(seed, layers), b, tolerance);
    }
}

fn pairs_on_some_layers(b: &impl Backend, tolerance: f64) {
    for seed in 0..6 {
        let width = |i: u64| size(seed + 60 + i, 1, 11);
        let pair = |i: u64| Pair::new(size(seed + 70 + i, 1, 4));
        let layers = vec![(width(0), vec![pair(0)]), (width(1), vec![]), (width(2), vec![pair(1), pair(2)])];
        check(&Project { wants_dx: seed != 5, ..Project::new(seed, layers) }, b, tolerance);
    }
    // Widths that are no multiple of a vector, and more rows than a block of a kernel is likely to have.
    let wide = Project { rows: 41, inner: 37, ..Project::new(9, vec![(35, vec![Pair::new(5)]), (17, vec![])]) };
    check(&wide, b, tolerance);
}

fn dropout(b: &impl Backend, tolerance: f64) {
    for (seed, p) in [(0, 0.3), (1, 0.5), (2, 0.0)] {
        let dropped = |key| Pair { dropout: Some((p, key)), ..Pair::new(3) };
        let layers = vec![(5, vec![dropped(11)]), (7, vec![dropped(1 << 40), Pair::new(2)]), (4, vec![])];
        check(&Project { rows: 9, inner: 10, ..Project::new(seed, layers) }, b, tolerance);
    }
}

fn factors_that_are_not_trained(b: &impl Backend, tolerance: f64) {
    let trains = |a, b| Pair { trains: Trains { a, b }, dropout: Some((0.2, 3)), ..Pair::new(2) };
    for wants_dx in [true, false] {
        let layers = vec![
            (5, vec![trains(true, false)]),
            (3, vec![trains(false, true), trains(false, false)]),
            (4, vec![trains(true, true)]),
        ];
        check(&Project { wants_dx, ..Project::new(1, layers) }, b, tolerance);
        // A group in which nothing is trained at all.
        let frozen = vec![(5, vec![trains(false, false)]), (6, vec![])];
        check(&Project { wants_dx, ..Project::new(2, frozen) }, b, tolerance);
    }
}

fn onto_the_residual_stream(b: &impl Backend, tolerance: f64) {
    for (seed, pairs) in [(0, vec![]), (1, vec![Pair::new(3)]), (2, vec![Pair::new(1), Pair::new(4)])] {
        check(&Project { onto: true, ..Project::new(seed, vec![(8, pairs)]) }, b, tolerance);
    }
}

#[test]
fn groups_that_do_not_fit_are_errors() {
    let b = backend::<f32>();
    let project = Project::new(0, vec![(2, vec![Pair::new(1)]), (3, vec![])]);
    let values: Vec<Vec<f64>> = project.inputs().into_iter().map(|input| input.values).collect();
    let (layers, x) = project.load(&b, &values);
    let layers = applied(&layers);
    let onto = buffer(&b, &noise(0, project.rows * 2), project.rows, 2);
    assert!(b.project(&x, &layers, Some(&onto)).is_err(), "one residual stream, two layers");
    assert!(b.project_grad(&[&onto], &x, &[], &layers[..1], true).is_err(), "nothing saved of a pair");
    assert!(b.project_grad(&[], &x, &[], &layers[1..], true).is_err(), "a layer without a gradient");
}
