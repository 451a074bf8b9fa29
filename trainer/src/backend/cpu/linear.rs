//! Linear layers with their LoRA pairs, forward and backward, as sums of products.
//!
//! ```text
//! h   = x (scale A)^T                 all pairs of the group side by side: one product
//! y_j = x W_j^T + h_j B_j^T           one product of a longer contraction: [x | h] [W_j | B_j]^T
//! dh  = dy_j (scale B_j)              side by side again
//! dx  = sum_j dy_j W_j + dh A         one product over all layers and pairs of the group
//! dA  = dh^T x        dB_j = dy_j^T h_j        (both hold the scale already)
//! ```
//! `W + s B A` is never formed: rounded to bf16 it would lose most of what an adapter says. A pair with dropout reads
//! an `x` of its own, so it goes by itself.

use super::CpuBackend;
use super::element::{Element, convert};
use super::kernel::factor::{Factor, Orientation, Stored};
use super::kernel::output::Out;
use super::kernel::product::{Product, Term, Values, ValuesMut};
use super::matrix::Matrix;
use super::precision::Precision;
use super::rows::{RowLoop, each};
use crate::backend::rows::dropout::{keep, row_key};
use crate::backend::{Dropout, Linear, LoraGrad, LoraPair, Projected, ProjectedGrad, Result};

type Layer<'a> = Linear<'a, CpuBackend>;

/// The pairs of a group: which layer each belongs to, and where its columns of the joint `h` begin.
struct Places<'a> {
    pairs: Vec<(usize, usize, &'a LoraPair<Matrix>)>,
    rank: usize,
}

impl<'a> Places<'a> {
    fn new(layers: &'a [Layer<'_>]) -> Self {
        let (mut pairs, mut rank) = (Vec::new(), 0);
        for (index, layer) in layers.iter().enumerate() {
            for pair in layer.pairs {
                pairs.push((index, rank, pair));
                rank += pair.a.rows();
            }
        }
        Self { pairs, rank }
    }

    fn of(&self, layer: usize) -> impl Iterator<Item = (usize, &'a LoraPair<Matrix>)> + '_ {
        self.pairs.iter().filter(move |pair| pair.0 == layer).map(|&(_, at, pair)| (at, pair))
    }

    fn any_dropout(&self) -> bool {
        self.pairs.iter().any(|(_, _, pair)| pair.dropout.is_some())
    }
}

/// A matrix of factors (kept in `f32`) in a product.
fn factor(matrix: &Matrix, orientation: Orientation) -> Factor<'_> {
    let stored = match matrix.values() {
        Values::F32(values) => Stored::F32(values),
        Values::Bf16(values) => Stored::Bf16(values),
    };
    let (depth, cols) = match orientation {
        Orientation::RowsAreColumns => (matrix.cols(), matrix.rows()),
        Orientation::RowsAreSteps => (matrix.rows(), matrix.cols()),
    };
    Factor { stored, stride: matrix.cols(), orientation, depth, cols }
}

fn product<'a>(terms: Vec<Term<'a>>, cols: usize, out: Out<'a>) -> Product<'a> {
    Product { terms, cols, scale: 1.0, onto: None, out }
}

impl CpuBackend {
    pub(super) fn project_group(
        &self,
        x: &Matrix,
        layers: &[Layer<'_>],
        onto: Option<&Matrix>,
    ) -> Result<Projected<Matrix>> {
        let places = Places::new(layers);
        let h = if places.rank == 0 { None } else { Some(self.hidden_of_pairs(x, &places)?) };
        let storage = if onto.is_some() { Precision::F32 } else { self.activations() };
        let new = |layer: &Layer<'_>| Matrix::new(&self.pool, x.rows(), layer.weight.out, storage);
        let mut ys = layers.iter().map(new).collect::<Result<Vec<_>>>()?;
        if self.pool.is_dry() {
            return Ok(Projected { ys, h: h.into_iter().collect() });
        }
        let mut products = Vec::with_capacity(layers.len());
        for (index, (layer, y)) in layers.iter().zip(&mut ys).enumerate() {
            let mut terms = vec![Term { x: x.columns(0), factor: layer.weight.factor(Orientation::RowsAreColumns) }];
            for (at, pair) in places.of(index) {
                let h = h.as_ref().map(|h| h.columns(at));
                terms.extend(h.map(|x| Term { x, factor: factor(&pair.b, Orientation::RowsAreColumns) }));
            }
            let onto = onto.map(|onto| onto.columns(0));
            products.push(Product { terms, cols: layer.weight.out, scale: 1.0, onto, out: y.out()? });
        }
        self.run(x.rows(), &mut products);
        drop(products);
        Ok(Projected { ys, h: h.into_iter().collect() })
    }

    /// `h = scale x A^T` of all pairs, `[rows, sum of ranks]`.
    fn hidden_of_pairs(&self, x: &Matrix, places: &Places<'_>) -> Result<Matrix> {
        let mut h = Matrix::new(&self.pool, x.rows(), places.rank, self.activations())?;
        if places.any_dropout() {
            for &(_, at, pair) in &places.pairs {
                let dropped = self.drop_inputs(x, pair.dropout.as_ref())?;
                let term = Term { x: dropped.columns(0), factor: factor(&pair.a, Orientation::RowsAreColumns) };
                let mut own = product(vec![term], pair.a.rows(), h.out_from(at)?);
                own.scale = pair.scale as f32;
                self.run(x.rows(), &mut [own]);
            }
            return Ok(h);
        }
        let a = self.join(places)?;
        let term = Term { x: x.columns(0), factor: factor(&a, Orientation::RowsAreColumns) };
        self.run(x.rows(), &mut [product(vec![term], places.rank, h.out()?)]);
        Ok(h)
    }

    /// All pairs' `scale A`, one below another.
    fn join(&self, places: &Places<'_>) -> Result<Matrix> {
        let cols = places.pairs.first().map_or(0, |(_, _, pair)| pair.a.cols());
        let mut joined = Matrix::new(&self.pool, places.rank, cols, Precision::F32)?;
        if !self.pool.is_dry() {
            let values = joined.f32_mut("joined factors")?;
            for &(_, at, pair) in &places.pairs {
                let (a, scale) = (pair.a.f32("lora_A")?, pair.scale as f32);
                values[at * cols..].iter_mut().zip(a).for_each(|(to, a)| *to = scale * a);
            }
        }
        Ok(joined)
    }

    pub(super) fn project_group_grad(
        &self,
        dys: &[&Matrix],
        x: &Matrix,
        h: &[Matrix],
        layers: &[Layer<'_>],
        wants_dx: bool,
    ) -> Result<ProjectedGrad<Matrix>> {
        // The residual stream's gradient is kept in f32: narrowed here once rather than by every task that reads it.
        let narrowed = dys.iter().map(|dy| self.as_activations(dy)).collect::<Result<Vec<_>>>()?;
        let dys: Vec<&Matrix> = narrowed.iter().zip(dys).map(|(narrow, dy)| narrow.as_ref().unwrap_or(dy)).collect();
        let dys = &dys[..];
        let places = Places::new(layers);
        let dh = if places.rank == 0 { None } else { Some(self.dh(dys, &places, x.rows())?) };
        let dx = if wants_dx { Some(self.dx(dys, x, dh.as_ref(), layers, &places)?) } else { None };
        let mut pairs: Vec<Vec<LoraGrad<Matrix>>> = layers.iter().map(|_| Vec::new()).collect();
        if let (Some(dh), Some(h)) = (dh, h.first()) {
            let d_as = self.d_as(&dh, x, &places)?;
            let d_bs = self.d_bs(dys, h, &places)?;
            for ((&(layer, _, _), a), b) in places.pairs.iter().zip(d_as).zip(d_bs) {
                pairs[layer].push(LoraGrad { a, b });
            }
        }
        Ok(ProjectedGrad { dx, pairs })
    }

    /// A copy in the activations' type; `None` for what has it already.
    fn as_activations(&self, x: &Matrix) -> Result<Option<Matrix>> {
        if x.storage() == self.activations() {
            return Ok(None);
        }
        let mut out = Matrix::new(&self.pool, x.rows(), x.cols(), self.activations())?;
        match (x.values(), out.values_mut()?) {
            (Values::F32(from), ValuesMut::Bf16(to)) => each(self.instructions, to, x.cols(), &Convert { from }),
            (Values::Bf16(from), ValuesMut::F32(to)) => each(self.instructions, to, x.cols(), &Convert { from }),
            _ => {}
        }
        Ok(Some(out))
    }

    /// `dh = scale dy B` of all pairs, `[rows, sum of ranks]`.
    fn dh(&self, dys: &[&Matrix], places: &Places<'_>, rows: usize) -> Result<Matrix> {
        let mut dh = Matrix::new(&self.pool, rows, places.rank, self.activations())?;
        for &(layer, at, pair) in &places.pairs {
            let term = Term { x: dys[layer].columns(0), factor: factor(&pair.b, Orientation::RowsAreSteps) };
            let mut own = product(vec![term], pair.b.cols(), dh.out_from(at)?);
            own.scale = pair.scale as f32;
            self.run(rows, &mut [own]);
        }
        Ok(dh)
    }

    fn dx(
        &self,
        dys: &[&Matrix],
        x: &Matrix,
        dh: Option<&Matrix>,
        layers: &[Layer<'_>],
        places: &Places<'_>,
    ) -> Result<Matrix> {
        let mut dx = Matrix::new(&self.pool, x.rows(), x.cols(), self.activations())?;
        let own = places.any_dropout();
        let frozen = layers
            .iter()
            .zip(dys)
            .map(|(layer, dy)| Term { x: dy.columns(0), factor: layer.weight.factor(Orientation::RowsAreSteps) });
        let mut terms: Vec<Term<'_>> = frozen.collect();
        if let (Some(dh), false) = (dh, own) {
            terms.extend(
                places.pairs.iter().map(|&(_, at, pair)| Term {
                    x: dh.columns(at),
                    factor: factor(&pair.a, Orientation::RowsAreSteps),
                }),
            );
        }
        self.run(x.rows(), &mut [product(terms, x.cols(), dx.out()?)]);
        if let (Some(dh), true) = (dh, own) {
            for &(_, at, pair) in &places.pairs {
                let mut part = Matrix::new(&self.pool, x.rows(), x.cols(), self.activations())?;
                let term = Term { x: dh.columns(at), factor: factor(&pair.a, Orientation::RowsAreSteps) };
                self.run(x.rows(), &mut [product(vec![term], x.cols(), part.out()?)]);
                self.add_dropped(&mut dx, &part, pair.dropout.as_ref())?;
            }
        }
        Ok(dx)
    }

    /// `dA = dh^T x` of each pair.
    fn d_as(&self, dh: &Matrix, x: &Matrix, places: &Places<'_>) -> Result<Vec<Option<Matrix>>> {
        let wanted = places.pairs.iter().any(|(_, _, pair)| pair.trains.a);
        if !wanted {
            return Ok(places.pairs.iter().map(|_| None).collect());
        }
        let turned = self.transpose(dh)?;
        if places.any_dropout() {
            let one = |&(_, at, pair): &(usize, usize, &LoraPair<Matrix>)| {
                if !pair.trains.a {
                    return Ok(None);
                }
                let dropped = self.drop_inputs(x, pair.dropout.as_ref())?;
                let rows = turned.part(at * turned.cols(), pair.a.rows(), turned.cols())?;
                self.over_rows(&rows, &dropped).map(Some)
            };
            return places.pairs.iter().map(one).collect();
        }
        let all = self.over_rows(&turned, x)?;
        let part = |&(_, at, pair): &(usize, usize, &LoraPair<Matrix>)| {
            pair.trains.a.then(|| all.part(at * all.cols(), pair.a.rows(), all.cols())).transpose()
        };
        places.pairs.iter().map(part).collect()
    }

    /// `turned x`, a contraction over token positions: `[r, rows]` by `[rows, in]`.
    fn over_rows(&self, turned: &Matrix, x: &Matrix) -> Result<Matrix> {
        let mut out = Matrix::new(&self.pool, turned.rows(), x.cols(), Precision::F32)?;
        let term = Term { x: turned.columns(0), factor: factor(x, Orientation::RowsAreSteps) };
        self.run(turned.rows(), &mut [product(vec![term], x.cols(), out.out()?)]);
        Ok(out)
    }

    /// `dB = dy^T h` of each pair, computed as `(h^T dy)^T`. `h` holds the scale already.
    fn d_bs(&self, dys: &[&Matrix], h: &Matrix, places: &Places<'_>) -> Result<Vec<Option<Matrix>>> {
        if !places.pairs.iter().any(|(_, _, pair)| pair.trains.b) {
            return Ok(places.pairs.iter().map(|_| None).collect());
        }
        let turned = self.transpose(h)?;
        let wanted = |pair: &LoraPair<Matrix>| pair.trains.b.then(|| pair.b.shape());
        let new = |&(_, _, pair): &(usize, usize, &LoraPair<Matrix>)| {
            wanted(pair).map(|(out, r)| Matrix::new(&self.pool, out, r, Precision::F32)).transpose()
        };
        let mut d_bs = places.pairs.iter().map(new).collect::<Result<Vec<_>>>()?;
        if self.pool.is_dry() {
            return Ok(d_bs);
        }
        let parts =
            places.pairs.iter().map(|&(_, at, pair)| turned.part(at * turned.cols(), pair.b.cols(), turned.cols()));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let mut runs: Vec<(usize, Vec<Product<'_>>)> = Vec::new();
        for ((&(layer, _, pair), part), d_b) in places.pairs.iter().zip(&parts).zip(&mut d_bs) {
            let Some(d_b) = d_b else { continue };
            let (out, r) = pair.b.shape();
            let term = Term { x: part.columns(0), factor: factor(dys[layer], Orientation::RowsAreSteps) };
            let to = Out::Transposed { values: d_b.f32_mut("the gradient of lora_B")?, stride: r };
            let own = product(vec![term], out, to);
            match runs.iter_mut().find(|(rank, _)| *rank == r) {
                Some((_, products)) => products.push(own),
                None => runs.push((r, vec![own])),
            }
        }
        for (r, mut products) in runs {
            self.run(r, &mut products);
        }
        Ok(d_bs)
    }

    /// Its transpose.
    fn transpose(&self, x: &Matrix) -> Result<Matrix> {
        let (rows, cols) = (x.rows(), x.cols());
        let mut turned = Matrix::new(&self.pool, cols, rows, x.storage())?;
        if !self.pool.is_dry() {
            match (x.values(), turned.values_mut()?) {
                (Values::F32(from), ValuesMut::F32(to)) => each(self.instructions, to, rows, &Turn { from, cols }),
                (Values::Bf16(from), ValuesMut::Bf16(to)) => each(self.instructions, to, rows, &Turn { from, cols }),
                _ => {}
            }
        }
        Ok(turned)
    }

    /// `x` with its dropout applied.
    fn drop_inputs(&self, x: &Matrix, dropout: Option<&Dropout>) -> Result<Matrix> {
        let Some(dropout) = dropout else { return Ok(x.clone()) };
        let mut out = Matrix::new(&self.pool, x.rows(), x.cols(), x.storage())?;
        match (x.values(), out.values_mut()?) {
            (Values::F32(from), ValuesMut::F32(to)) => {
                each(self.instructions, to, x.cols(), &Drop { from, dropout: Some(dropout), add: false });
            }
            (Values::Bf16(from), ValuesMut::Bf16(to)) => {
                each(self.instructions, to, x.cols(), &Drop { from, dropout: Some(dropout), add: false });
            }
            _ => {}
        }
        Ok(out)
    }

    /// `to += dropout(part)`
    fn add_dropped(&self, to: &mut Matrix, part: &Matrix, dropout: Option<&Dropout>) -> Result<()> {
        let cols = to.cols();
        match (part.values(), to.values_mut()?) {
            (Values::F32(from), ValuesMut::F32(to)) => {
                each(self.instructions, to, cols, &Drop { from, dropout, add: true });
            }
            (Values::Bf16(from), ValuesMut::Bf16(to)) => {
                each(self.instructions, to, cols, &Drop { from, dropout, add: true });
            }
            _ => {}
        }
        Ok(())
    }
}

struct Convert<'a, E> {
    from: &'a [E],
}

impl<S: Element, D: Element> RowLoop<&mut [D]> for Convert<'_, S> {
    #[inline(always)]
    fn row(&self, index: usize, to: &mut [D]) {
        convert(&self.from[index * to.len()..], to);
    }
}

struct Turn<'a, E> {
    from: &'a [E],
    cols: usize,
}

impl<E: Element> RowLoop<&mut [E]> for Turn<'_, E> {
    #[inline(always)]
    fn row(&self, index: usize, to: &mut [E]) {
        for (to, row) in to.iter_mut().zip(self.from.chunks_exact(self.cols)) {
            *to = row[index];
        }
    }
}

struct Drop<'a, E> {
    from: &'a [E],
    /// `None` keeps everything.
    dropout: Option<&'a Dropout>,
    add: bool,
}

impl<E: Element> RowLoop<&mut [E]> for Drop<'_, E> {
    #[inline(always)]
    fn row(&self, index: usize, to: &mut [E]) {
        let from = &self.from[index * to.len()..];
        let drawn = self.dropout.map(|dropout| (row_key(dropout.key, dropout.rows[index]), dropout.p));
        let scale = drawn.map_or(1.0, |(_, p)| 1.0 / (1.0 - p));
        for (column, (to, from)) in (0u64..).zip(to.iter_mut().zip(from)) {
            let kept = drawn.is_none_or(|(key, p)| keep(key, column, p));
            let value = if kept { from.widen() * scale } else { 0.0 };
            *to = E::narrow(if self.add { to.widen() + value } else { value });
        }
    }
}
