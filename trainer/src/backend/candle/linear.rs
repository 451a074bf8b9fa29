//! Linear layers with their LoRA pairs, one product after another.

use candle_core::Tensor;

use super::host::{Element, update};
use super::product::product;
use super::{CandleBackend, add, same};
use crate::backend::rows::dropout;
use crate::backend::{Dropout, Linear, LoraGrad, LoraPair, Projected, ProjectedGrad, Result};

/// `h` is `scale x A^T` of each pair of each layer, in order, with `x` after dropout.
pub fn project<T: Element>(
    x: &Tensor,
    layers: &[Linear<'_, CandleBackend<T>>],
    onto: Option<&Tensor>,
) -> Result<Projected<Tensor>> {
    let (mut ys, mut hs) = (Vec::with_capacity(layers.len()), Vec::new());
    for layer in layers {
        let y = product::<T>(x, &layer.weight.dense::<T>()?.t()?)?;
        for pair in layer.pairs {
            let h = product::<T>(&drop_inputs::<T>(x, pair.dropout.as_ref())?, &pair.a.t()?)?;
            scale::<T>(&h, pair.scale)?;
            add::<T>(&y, &product::<T>(&h, &pair.b.t()?)?)?;
            hs.push(h);
        }
        ys.push(y);
    }
    if let Some(onto) = onto {
        same("layers of a residual stream", ys.len(), 1)?;
        ys.iter().try_for_each(|y| add::<T>(y, onto))?;
    }
    Ok(Projected { ys, h: hs })
}

pub fn project_grad<T: Element>(
    dys: &[&Tensor],
    x: &Tensor,
    h: &[Tensor],
    layers: &[Linear<'_, CandleBackend<T>>],
    wants_dx: bool,
) -> Result<ProjectedGrad<Tensor>> {
    same("gradients of linear layers", dys.len(), layers.len())?;
    same("saved `x A^T`", h.len(), layers.iter().map(|layer| layer.pairs.len()).sum())?;
    let mut dx = Sum::<T>::new(wants_dx);
    let mut h = h.iter();
    let mut all = Vec::with_capacity(layers.len());
    for (layer, dy) in layers.iter().zip(dys) {
        dx.add(|| product::<T>(dy, &layer.weight.dense::<T>()?))?;
        let pairs = layer.pairs.iter().zip(&mut h);
        all.push(pairs.map(|(pair, h)| pair_grad(dy, x, h, pair, &mut dx)).collect::<Result<_>>()?);
    }
    Ok(ProjectedGrad { dx: dx.total, pairs: all })
}

/// With `dh = scale dy B`: `dA = dh^T drop(x)`, `dB = dy^T h`, and `drop(dh A)` goes to `dx`.
fn pair_grad<T: Element>(
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    pair: &LoraPair<Tensor>,
    dx: &mut Sum<T>,
) -> Result<LoraGrad<Tensor>> {
    let b = pair.trains.b.then(|| product::<T>(&dy.t()?, h)).transpose()?;
    if !pair.trains.a && !dx.wanted {
        return Ok(LoraGrad { a: None, b });
    }
    let dh = product::<T>(dy, &pair.b)?;
    scale::<T>(&dh, pair.scale)?;
    dx.add(|| drop_inputs::<T>(&product::<T>(&dh, &pair.a)?, pair.dropout.as_ref()))?;
    let a = pair.trains.a.then(|| product::<T>(&dh.t()?, &drop_inputs::<T>(x, pair.dropout.as_ref())?)).transpose()?;
    Ok(LoraGrad { a, b })
}

/// A sum of matrices that may not be wanted, in which case none is made.
struct Sum<T> {
    wanted: bool,
    total: Option<Tensor>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Sum<T> {
    fn new(wanted: bool) -> Self {
        Self { wanted, total: None, element: std::marker::PhantomData }
    }

    fn add(&mut self, part: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        if !self.wanted {
            return Ok(());
        }
        let part = part()?;
        match &self.total {
            Some(total) => add::<T>(total, &part),
            None => {
                self.total = Some(part);
                Ok(())
            }
        }
    }
}

/// The input as a pair sees it.
fn drop_inputs<T: Element>(x: &Tensor, by: Option<&Dropout>) -> Result<Tensor> {
    let Some(by) = by else { return Ok(x.clone()) };
    let x = x.copy()?;
    update(&x, |x: &mut [T]| dropout::apply(x, by))?;
    Ok(x)
}

/// `x *= factor`, for the skinny matrices of an adapter.
fn scale<T: Element>(x: &Tensor, factor: f64) -> Result<()> {
    let factor = T::of(factor);
    update(x, |x: &mut [T]| x.iter_mut().for_each(|x| *x *= factor))
}
